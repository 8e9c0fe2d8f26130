"""``edge-agent install`` and ``uninstall`` on an image's root directory, with systemd's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.config import load
from edge_agent.installation import SHIPPED, SPLIT, WHOLE, Footage, Machine, install_plan, require_root, uninstall_plan
from edge_agent.steps import InstallFailed, Remove, Run
from tests.support.agent import ROOT

SETTINGS = Path("etc/edge-agent/edge-agent.yaml")
UNITS = Path("etc/systemd/system")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("systemd-sysusers"), reason="needs root and systemd-sysusers"
)


def _agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root directory of a machine called dock9, with the agent's virtual environment in it."""
    root = tmp_path / "image"
    program = root / "opt" / "edge-agent" / "bin" / "edge-agent"
    program.parent.mkdir(parents=True)
    program.touch()
    (root / "etc").mkdir()
    (root / "etc" / "hostname").write_text("dock9\n")
    return root


def _change(image: Path, command: str, *options: str) -> str:
    place = ("--prefix", "/opt/edge-agent") if command == "install" else ()
    done = _agent(command, "--root", image, *place, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _files(image: Path) -> dict[str, bytes]:
    found = (path for path in image.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(image)): path.read_bytes() for path in found}


def test_a_dry_run_prints_every_step_and_does_none(image: Path) -> None:
    """User, directory, settings, unit and enabling are named; the image is as before."""
    before = _files(image)
    said = _change(image, "install", "--dry-run").splitlines()
    assert [line.split(" ")[:3] for line in said[:-1]] == [
        ["would", "write", "/etc/sysusers.d/edge-agent.conf"],
        ["would", "run", "systemd-sysusers"],
        ["would", "directory", "/etc/edge-agent,"],
        ["would", "write", "/etc/edge-agent/edge-agent.yaml"],
        ["would", "write", "/etc/systemd/system/edge-agent.service"],
        ["would", "run", "systemctl"],
    ]
    assert _files(image) == before


@needs_root
def test_an_image_gets_user_settings_and_an_enabled_unit(image: Path) -> None:
    """The settings are for root and the agent's group alone, name the machine, and pass the check."""
    _change(image, "install")
    settings = image / SETTINGS
    group = int((image / "etc/group").read_text().split("edge-agent:x:")[1].split(":")[0])
    found = settings.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, group, 0o640)
    loaded = load(settings)
    assert (loaded.device, str(loaded.spool)) == ("dock9", "/var/lib/edge-agent/spool")
    assert "edge-agent" in (image / "etc/passwd").read_text()
    assert (image / UNITS / "multi-user.target.wants" / WHOLE[0]).is_symlink()


@needs_root
def test_installing_twice_is_installing_once_and_keeps_settings(image: Path) -> None:
    """What somebody wrote into the settings is still there, and no byte differs after the second time."""
    _change(image, "install")
    (image / SETTINGS).write_text((image / SETTINGS).read_text().replace("dock9", "dock10"))
    before = _files(image)
    said = _change(image, "install")
    assert _files(image) == before
    assert "keep /etc/edge-agent/edge-agent.yaml" in said


@needs_root
def test_split_replaces_the_whole_and_back(image: Path) -> None:
    """There are either both halves or the one unit, never both, enabled and on disk alike."""
    for options, wanted in ((("--split",), SPLIT), ((), WHOLE), (("--split",), SPLIT)):
        _change(image, "install", *options)
        assert {path.name for path in (image / UNITS).glob("*.service")} == set(wanted)
        assert {path.name for path in (image / UNITS / "multi-user.target.wants").iterdir()} == set(wanted)


@needs_root
def test_uninstall_keeps_footage_and_says_where_purge_removes_it(image: Path) -> None:
    """Footage that was not uploaded is counted; after --purge only the image's own files are left."""
    before = {name for name in _files(image) if not name.startswith("etc/")}
    _change(image, "install")
    ready = image / "var/lib/edge-agent/spool/ready"
    ready.mkdir(parents=True)
    (ready / "black_cup_1.mp4").write_bytes(b"footage")
    said = _change(image, "uninstall")
    assert "the footage in /var/lib/edge-agent/spool, 1 segments of it not uploaded" in said
    assert not list((image / UNITS).glob("*.service"))
    assert (ready / "black_cup_1.mp4").exists()
    assert (image / SETTINGS).exists()
    _change(image, "uninstall", "--purge")
    assert {name for name in _files(image) if not name.startswith("etc/")} == before
    assert not (image / "etc/edge-agent").exists()
    assert "edge-agent" not in (image / "etc/passwd").read_text()


@needs_root
def test_a_dry_run_of_uninstall_names_what_would_go_and_removes_nothing(image: Path) -> None:
    """Without --purge the unit, with it settings, footage and user, too; the image is as before, to the byte."""
    _change(image, "install")
    (image / "var/lib/edge-agent").mkdir(parents=True)
    before = _files(image)
    unit = [
        f"would run systemctl --root={image} disable {WHOLE[0]}",
        f"would remove {Path('/') / UNITS / WHOLE[0]}",
    ]
    said = _change(image, "uninstall", "--dry-run").splitlines()
    assert said[:2] == unit
    assert [line.split(" ")[0] for line in said[2:]] == ["kept:", "to"]
    assert _change(image, "uninstall", "--purge", "--dry-run").splitlines() == [
        *unit,
        "would remove /var/lib/edge-agent",
        "would remove /etc/edge-agent",
        f"would run userdel --prefix {image} edge-agent",
        "would remove /etc/sysusers.d/edge-agent.conf",
    ]
    assert _files(image) == before
    assert (image / "var/lib/edge-agent").is_dir()
    assert (image / UNITS / "multi-user.target.wants" / WHOLE[0]).is_symlink()


def test_what_would_not_start_is_refused_before_anything_is_done(image: Path) -> None:
    """No agent at the prefix, one below /home, or settings with a fault: one line each, exit status 2."""
    before = _files(image)
    hidden = image / "home/pi/venv/bin/edge-agent"
    hidden.parent.mkdir(parents=True)
    hidden.touch()
    absent = _agent("install", "--root", image, "--prefix", "/opt/other", "--dry-run")
    below_home = _agent("install", "--root", image, "--prefix", "/home/pi/venv", "--dry-run")
    (image / SETTINGS).parent.mkdir(parents=True)
    (image / SETTINGS).write_text("device: dock9\n")
    faulty = _agent("install", "--root", image, "--prefix", "/opt/edge-agent", "--dry-run")
    assert [done.returncode for done in (absent, below_home, faulty)] == [2, 2, 2]
    assert "there is no edge-agent" in absent.stderr
    assert "where a service does not see it" in below_home.stderr
    assert "spool: " in faulty.stderr
    assert not set(_files(image)) - set(before) - {"home/pi/venv/bin/edge-agent", str(SETTINGS)}


def test_nobody_but_root_installs() -> None:
    """Others are refused, in one line that says what to type."""
    with pytest.raises(InstallFailed, match=r"^users and units are root's to change; run: sudo .*--dry-run$"):
        require_root(1000)
    require_root(0)


def test_a_running_machine_starts_what_somebody_has_set_up_and_restarts_what_changed() -> None:
    """With settings there the unit is enabled and started; a unit that differs is restarted; without, neither."""
    settings, unit = Path("/") / SETTINGS, Path("/") / UNITS / WHOLE[0]

    def commands(**files: bytes) -> list[str]:
        known = {"settings": settings, "unit": unit}
        machine = Machine(Path("/"), True, "dock9", {known[name]: content for name, content in files.items()})
        steps = install_plan(machine, Path("/opt/edge-agent"), split=False)
        run = [step.command for step in steps if isinstance(step, Run)]
        return [" ".join(words) for program, *words in run if program == "systemctl"]

    same = (SHIPPED / WHOLE[0]).read_bytes()
    assert commands() == ["daemon-reload", f"enable {WHOLE[0]}"]
    assert commands(settings=b"") == ["daemon-reload", f"enable --now {WHOLE[0]}"]
    assert commands(settings=b"", unit=same) == ["daemon-reload", f"enable --now {WHOLE[0]}"]
    assert commands(settings=b"", unit=b"older")[-1] == f"restart {WHOLE[0]}"


@needs_root
def test_a_spool_on_another_disk_is_opened_to_the_units(image: Path) -> None:
    """A unit may write where the settings say, waits for that disk, and loses the right when they say otherwise."""
    _change(image, "install")
    inside = (image / SETTINGS).read_text()
    (image / SETTINGS).write_text(inside.replace("/var/lib/edge-agent/spool", "/data/spool"))
    _change(image, "install")
    added = image / UNITS / f"{WHOLE[0]}.d" / "edge-agent-places.conf"
    assert 'ReadWritePaths=-"/data/spool"' in added.read_text()
    assert 'RequiresMountsFor="/data/spool"' in added.read_text()
    (image / SETTINGS).write_text(inside)
    _change(image, "install", "--split")
    assert not added.exists()


def test_purge_of_a_spool_elsewhere_removes_what_is_the_agents_alone() -> None:
    """Of a directory that may hold other things only the spool's own directories go."""
    machine = Machine(Path("/"), True, "dock9", {})
    footage = Footage(Path("/data"), Path("/data/state"), 0)
    removed = [step.path for step in uninstall_plan(machine, footage, purge=True) if isinstance(step, Remove)]
    assert Path("/data") not in removed
    assert Path("/data/ready") in removed


def test_every_shipped_file_is_the_one_in_config() -> None:
    """An installed package carries what config/ holds; there is one place to change it."""
    places = {path.name: path for path in (ROOT / "config").rglob("*") if path.is_file()}
    for path in SHIPPED.iterdir():
        assert path.read_bytes() == places[path.name].read_bytes()
    assert {*WHOLE, *SPLIT, "edge-agent.conf", "edge-agent.yaml"} <= {path.name for path in SHIPPED.iterdir()}
