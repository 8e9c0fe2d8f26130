"""The agent as a service of a real systemd: installed, watched, stopped, split in two, uninstalled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.acceptance import container, image
from tests.acceptance.container import Container
from tests.support.wait import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(image.BUILD_SECONDS + 300)]

AGENT = "/opt/edge-agent/bin/edge-agent"
UNIT = "edge-agent.service"
HALVES = ("edge-agent-capture.service", "edge-agent-upload.service")
SETTINGS = "/etc/edge-agent/edge-agent.yaml"
DATA = "/var/lib/edge-agent"
KEY = "/etc/credstore/edge-agent.device.key"
COPY = f"/run/credentials/{UNIT}/device.key"
AS_AGENT = ("setpriv", "--reuid=edge-agent", "--regid=edge-agent", "--clear-groups")
WATCHDOG_SECONDS = 30 + 10 + 5  # of the unit: the watchdog, the end of a process that is stopped, the restart
SECRET = "the device's key"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One boot for all tests, which go on from each other."""
    if reason := container.why_not():
        pytest.skip(reason)
    with container.booted(tmp_path_factory.mktemp("container")) as booted:
        booted.write(SETTINGS, _settings(), "600")
        booted.write(KEY, SECRET, "600")
        yield booted


def _settings(**changes: object) -> str:
    camera = {"source": "synthetic:?size=320x180&fps=10", "class": {"color": "black", "object": "cup"}}
    settings = {
        "device": "guest",
        "spool": f"{DATA}/spool",
        "disk": {"free": "1MB"},
        "store": {"url": f"{DATA}/store"},
        "log": {"format": "json"},
        "cameras": {"cam1": {**camera, "segment_seconds": 2}},
    }
    return json.dumps({**settings, **changes})  # JSON is YAML


def _install(guest: Container, *options: str) -> str:
    return guest.said(AGENT, "install", *options)


def _uploads(guest: Container) -> int:
    report = json.loads(guest.said(AGENT, "status", "--json", "-c", SETTINGS))
    return int(report["upload"].get("counts", {}).get("verified", 0))


def test_install_makes_the_agent_a_service_that_is_ready_and_records(guest: Container) -> None:
    """One command: the unit is enabled, says it is ready only after the first status, and footage is uploaded."""
    dry = _install(guest, "--dry-run")
    assert "would run systemctl enable --now edge-agent.service" in dry
    assert guest.run("systemctl", "cat", UNIT).returncode != 0  # nothing was done
    _install(guest)
    assert guest.shown(UNIT, "ActiveState") == "active"
    assert guest.shown(UNIT, "UnitFileState") == "enabled"
    guest.said("install", "-d", "-o", "edge-agent", f"{DATA}/store")
    until(lambda: "1 of 1 cameras healthy" in guest.shown(UNIT, "StatusText"), "the status line", 30)
    until(lambda: _uploads(guest) >= 1, "an upload", 30)
    assert guest.said("find", DATA, "!", "-user", "edge-agent", "-printf", "%p ") == ""


def test_installing_again_changes_nothing(guest: Container) -> None:
    """Settings stay, units are unchanged, and the process that records is the same."""
    before = guest.shown(UNIT, "MainPID")
    said = _install(guest)
    assert "write" not in said.replace("unchanged", "")
    assert guest.shown(UNIT, "MainPID") == before
    assert json.loads(guest.said("cat", SETTINGS))["device"] == "guest"


def test_the_key_is_readable_for_the_service_alone(guest: Container) -> None:
    """The service has a copy; neither its user nor another reads the original, and another not the copy either."""
    assert guest.said(*AS_AGENT, "cat", COPY) == SECRET
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    for command in ((*AS_AGENT, "cat", KEY), (*nobody, "cat", KEY), (*nobody, "cat", COPY), (*nobody, "cat", SETTINGS)):
        assert guest.run(*command).returncode != 0, command
    assert guest.shown(UNIT, "ExecMainPID") not in ("", "0")


def test_a_service_sees_the_clock_as_the_kernel_does(guest: Container) -> None:
    """The hardening leaves the question whether the clock is synchronised, and the number of the boot."""
    program = "from edge_agent.clock import SystemClock as C; import ctypes; "
    program += "b = ctypes.create_string_buffer(512); print(bool(C().boot_id()), ctypes.CDLL(None).adjtimex(b) >= 0)"
    lines = guest.said("systemctl", "cat", UNIT).splitlines()
    names = ("SystemCall", "Protect", "ProcSubset", "Restrict", "Capability", "NoNew", "User", "MemoryDeny", "Lock")
    hardening = [f"--property={line}" for line in lines if line.startswith(names)]
    asking = (f"{container.PREFIX}/bin/python", "-c", program)
    done = guest.run("systemd-run", "-q", "--pipe", "--wait", *hardening, *asking)
    assert done.stdout.split() == ["True", "True"], done.stderr
    blind = guest.run("systemd-run", "-q", "--pipe", "--wait", *hardening, "--property=ProtectClock=yes", *asking)
    assert blind.stdout.split() == ["True", "False"], "ProtectClock= could be used after all"


def test_a_reload_takes_changed_settings_over_without_a_restart(guest: Container) -> None:
    """`systemctl reload` adds a camera; the agent stays the same process."""
    before = guest.shown(UNIT, "MainPID")
    camera = {"source": "v4l2:///dev/video9", "class": {"color": "black", "object": "cup"}}
    settings = json.loads(_settings())
    settings["cameras"]["cam2"] = camera
    guest.said("sh", "-c", f"cat > {SETTINGS}", given=json.dumps(settings))
    guest.said("systemctl", "reload", UNIT)
    line = "of 2 cameras healthy"
    until(lambda: line in guest.shown(UNIT, "StatusText"), "the second camera", 30)
    until(lambda: "cam2: v4l2:///dev/video9: no such device" in guest.shown(UNIT, "StatusText"), "its problem", 30)
    assert (guest.shown(UNIT, "MainPID"), guest.shown(UNIT, "ActiveState")) == (before, "active")


def test_a_parent_that_hangs_is_restarted_by_the_watchdog(guest: Container) -> None:
    """Stopped with SIGSTOP, the service is ended, started anew and ready again, within the watchdog's time."""
    before = guest.shown(UNIT, "MainPID")
    guest.said("systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    until(lambda: guest.shown(UNIT, "NRestarts") != "0", "the restart", WATCHDOG_SECONDS + 30)
    until(lambda: guest.shown(UNIT, "ActiveState") == "active", "ready again", 60)
    assert guest.shown(UNIT, "MainPID") != before
    assert "Watchdog timeout" in guest.said("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")


def test_a_stop_takes_less_than_five_seconds_and_leaves_whole_segments(guest: Container) -> None:
    """SIGTERM ends the service cleanly; nothing is left in recording/."""
    until(lambda: guest.said("ls", f"{DATA}/spool/recording"), "a segment that is open", 30)
    began = time.monotonic()
    guest.said("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 5
    assert (guest.shown(UNIT, "Result"), guest.shown(UNIT, "ExecMainStatus")) == ("success", "0")
    assert guest.run("sh", "-c", f"ls {DATA}/spool/recording/*.part").stdout == ""


def test_split_in_two_the_cameras_have_no_network_and_the_network_no_cameras(guest: Container) -> None:
    """The halves replace the whole, share its spool, and footage still arrives."""
    before = _uploads(guest)
    _install(guest, "--split")
    assert [guest.shown(unit, "ActiveState") for unit in HALVES] == ["active", "active"]
    assert guest.shown(UNIT, "LoadState") == "not-found"
    until(lambda: _uploads(guest) > before, "an upload", 30)
    capture, upload = (guest.shown(unit, "MainPID") for unit in HALVES)
    own = guest.said("readlink", "/proc/1/ns/net")
    assert guest.said("readlink", f"/proc/{capture}/ns/net") != own
    assert guest.said("readlink", f"/proc/{upload}/ns/net") == own
    assert guest.run("ls", f"/proc/{upload}/root/dev/kmsg").returncode != 0


def test_a_spool_elsewhere_is_made_and_written_to(guest: Container) -> None:
    """Named in the settings, a directory outside the service's own becomes the agent's with the next install."""
    guest.said("sh", "-c", f"cat > {SETTINGS}", given=_settings(spool="/data/spool"))
    _install(guest, "--split")
    until(lambda: guest.run("sh", "-c", "ls /data/spool/uploaded/*.mp4").stdout, "footage in the other place", 30)
    guest.said("sh", "-c", f"cat > {SETTINGS}", given=_settings())
    _install(guest, "--split")


def test_uninstall_keeps_footage_and_purge_does_not(guest: Container) -> None:
    """Units go, footage stays and it is said where; then settings, footage and user go, too."""
    said = guest.said(AGENT, "uninstall")
    assert f"footage in {DATA}/spool" in said
    assert [guest.shown(unit, "LoadState") for unit in HALVES] == ["not-found", "not-found"]
    assert guest.said("ls", f"{DATA}/spool/uploaded")
    guest.said(AGENT, "uninstall", "--purge")
    for gone in (DATA, "/etc/edge-agent", "/etc/sysusers.d/edge-agent.conf"):
        assert guest.run("ls", "-d", gone).returncode != 0, gone
    assert guest.run("id", "edge-agent").returncode != 0
