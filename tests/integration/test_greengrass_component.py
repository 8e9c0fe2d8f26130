"""The Greengrass component as a nucleus runs it: the recipe's own scripts, the built artifact, the real IPC client."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.component import PATIENCE_SECONDS, place, settings_of_component
from edge_agent.config import Settings
from edge_agent.control.nucleus import Nucleus
from edge_agent.errors import ConfigInvalid
from greengrass import build
from tests.support.agent import segments_in
from tests.support.clock import FakeClock
from tests.support.component import STOP_SECONDS, Deployed
from tests.support.nucleus import FakeNucleus
from tests.support.wait import promised, until

SHADOW = "$aws/things/dock7/shadow/name/capture/"


def _agent(directory: Path, **changes: Any) -> dict[str, Any]:
    """Settings as a deployment brings them: every scalar a string."""
    camera = {
        "source": "synthetic:?size=320x240&fps=25",
        "class": {"color": "yellow", "object": "box"},
        "segment_seconds": "1",
        "audio": "false",
    }
    return {
        "device": "dock7",
        "spool": str(directory / "spool"),
        "store": {"url": str(directory / "store")},
        "cameras": {"cam1": camera},
        "upload": {"rescan_seconds": "1"},
        "control": {"telemetry_seconds": "1"},
        **changes,
    }


class _Shadow:
    """The shadow service behind a nucleus, as far as one box needs it."""

    def __init__(self, nucleus: FakeNucleus) -> None:
        self.desired: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] = []
        self._stamp = 0
        self._version = 1
        self._nucleus = nucleus
        nucleus.on_publish = self._published

    def want(self, desired: dict[str, Any]) -> None:
        self.desired, self._stamp, self._version = desired, int(time.time()), self._version + 1
        self._say("update/delta", {"version": self._version, "state": desired})

    def _published(self, topic: str, payload: bytes) -> None:
        if topic == f"{SHADOW}get":
            token = json.loads(payload)["clientToken"]
            state = {"state": {"desired": self.desired}, "metadata": {"desired": self._stamped(self.desired)}}
            self._say("get/accepted", {"version": self._version, "clientToken": token, **state})
        elif topic == f"{SHADOW}update":
            self.reports.append(json.loads(payload)["state"]["reported"])

    def _stamped(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self._stamped(value) for key, value in node.items()}
        return {"timestamp": self._stamp}

    def _say(self, end: str, document: dict[str, Any]) -> None:
        self._nucleus.deliver(f"{SHADOW}{end}", json.dumps(document).encode())


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    return Deployed.build(tmp_path / "gg")


@pytest.fixture
def nucleus(tmp_path: Path) -> Iterator[FakeNucleus]:
    with FakeNucleus(tmp_path) as running:
        yield running


@pytest.fixture
def _umask() -> Iterator[None]:
    """The process's own, afterwards."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@contextmanager
def _running(deployed: Deployed, nucleus: FakeNucleus) -> Iterator[subprocess.Popen[str]]:
    """The component's run phase, killed at the end if it is still there."""
    deployed.borrow_environment()
    with deployed.start("run", **nucleus.environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_run_phase_records_obeys_the_shadow_and_stops_in_time(
    tmp_path: Path, deployed: Deployed, nucleus: FakeNucleus
) -> None:
    """From a configuration of strings: segments are stored, a class of the shadow's is recorded, SIGTERM ends it."""
    (tmp_path / "store").mkdir()
    defaults = deployed.recipe["ComponentConfiguration"]["DefaultConfiguration"]
    nucleus.configuration = {"Agent": _agent(tmp_path), **defaults}
    shadow = _Shadow(nucleus)
    uploaded = tmp_path / "spool" / "uploaded"

    def stored() -> set[str]:
        return {str(segment.name.tag) for _, segment in segments_in(uploaded)} if uploaded.exists() else set()

    with _running(deployed, nucleus) as process:
        until(lambda: "yellow_box" in stored(), "a segment of the configured class")
        assert nucleus.states == ["RUNNING"]
        shadow.want({"cameras": {"cam1": {"class": {"color": "blue", "object": "crate"}}}})
        until(lambda: "blue_crate" in stored(), "a segment of the shadow's class")
        until(lambda: "blue" in json.dumps(shadow.reports), "the class to be reported")
        until(lambda: any(topic == "edge/dock7/telemetry" for topic, _ in nucleus.topics), "telemetry")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        took = time.monotonic() - began
    assert process.returncode == 0, output
    assert took < promised(STOP_SECONDS)
    assert nucleus.environment["SVCUID"] not in output
    settings = deployed.work / "edge-agent.yaml"
    assert settings.stat().st_mode & 0o077 == 0
    assert "control_connected" in output


def test_a_bad_configuration_is_told_the_nucleus_and_the_log(
    tmp_path: Path, deployed: Deployed, nucleus: FakeNucleus
) -> None:
    """The component ends with status 2 and ERRORED, with a line for each fault, and never shows a password."""
    cameras = {"cam1": {"source": "rtsp://me:hunter2@10.0.0.1/a", "audio": "maybe", "stall_seconds": "soon"}}
    nucleus.configuration = {"Agent": _agent(tmp_path, cameras=cameras)}
    with _running(deployed, nucleus) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert nucleus.states == ["ERRORED"]
    for setting in ("cameras.cam1.audio", "cameras.cam1.stall_seconds"):
        assert [line for line in output.splitlines() if line.startswith("error: ") and setting in line]
    assert "hunter2" not in output


@pytest.mark.usefixtures("_umask")
def test_the_settings_file_of_the_box_is_used_as_it_is(tmp_path: Path, nucleus: FakeNucleus) -> None:
    """With ConfigFile alone, the file of the box is in force, and found at the one path by every other command."""
    of_box, path = tmp_path / "of-box.yaml", tmp_path / "work" / "edge-agent.yaml"
    place(_agent(tmp_path), of_box)
    nucleus.configuration = {"ConfigFile": str(of_box)}
    assert settings_of_component(nucleus.known, path, SystemClock()).device == "dock7"
    assert path.readlink() == of_box


@pytest.mark.usefixtures("_umask")
def test_a_link_of_its_own_is_refused_in_a_component(tmp_path: Path, nucleus: FakeNucleus) -> None:
    """control.mqtt beside the nucleus's connection would throw it out: that ends the component, in error."""
    mqtt = {"endpoint": "a1b2c3-ats.iot.eu-central-1.amazonaws.com", "certificate": "/c", "private_key": "/k"}
    nucleus.configuration = {"Agent": _agent(tmp_path, control={"mqtt": mqtt})}
    with pytest.raises(ConfigInvalid, match=r"control\.mqtt: the nucleus holds the connection"):
        settings_of_component(nucleus.known, tmp_path / "edge-agent.yaml", SystemClock())
    assert nucleus.states == ["ERRORED"]


@pytest.mark.usefixtures("_umask")
def test_without_the_nucleus_the_last_settings_hold(tmp_path: Path) -> None:
    """A nucleus that is away when the component starts delays recording by half a minute at most."""
    path, clock = tmp_path / "edge-agent.yaml", FakeClock()
    place(_agent(tmp_path), path)
    began = clock.monotonic()
    away = Nucleus(str(tmp_path / "no.socket"), "token", "dock7")
    assert settings_of_component(away, path, clock).device == "dock7"
    assert clock.monotonic() - began == pytest.approx(PATIENCE_SECONDS, abs=0.1)


@pytest.mark.usefixtures("_umask")
def test_the_first_start_waits_for_the_nucleus(tmp_path: Path) -> None:
    """With no settings yet there is nothing to record: the component waits instead of crashing."""
    late = FakeNucleus(tmp_path, configuration={"Agent": _agent(tmp_path)})
    found: list[Settings] = []
    path = tmp_path / "edge-agent.yaml"
    clock = SystemClock()
    thread = threading.Thread(target=lambda: found.append(settings_of_component(late.known, path, clock)))
    thread.start()
    with late:
        thread.join(60)
    assert [settings.device for settings in found] == ["dock7"]


def _wheel(directory: Path) -> tuple[str, str]:
    """A wheel that holds one module; the line that locks it, and one that locks another."""
    directory.mkdir()
    wheel = directory / "locked_thing-1.0-py3-none-any.whl"
    info = "locked_thing-1.0.dist-info"
    files = {
        "locked_thing.py": "WORTH = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: locked-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(text)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]))
    return hashlib.sha256(wheel.read_bytes()).hexdigest(), hashlib.sha256(b"another").hexdigest()


def test_the_install_phase_installs_what_is_locked_once(tmp_path: Path, deployed: Deployed) -> None:
    """A second start, offline, touches nothing; a wheel whose hash is another is refused, and the old ones stay."""
    right, wrong = _wheel(tmp_path / "index")
    locked = deployed.unpacked / "edge-agent" / build.REQUIREMENTS.name
    offline = {"PIP_NO_INDEX": "1"}
    online = {**offline, "PIP_FIND_LINKS": str(tmp_path / "index")}

    def install(digest: str, environment: dict[str, str]) -> int:
        locked.write_text(f"locked-thing==1.0 --hash=sha256:{digest}\n")
        with deployed.start("install", **environment) as process:
            process.communicate(timeout=60)
        return process.returncode

    assert install(right, online) == 0
    assert install(right, offline) == 0
    assert install(wrong, online) != 0
    worth = [str(deployed.work / "venv/bin/python"), "-c", "import locked_thing; print(locked_thing.WORTH)"]
    assert subprocess.run(worth, capture_output=True, text=True, check=True).stdout == "42\n"
