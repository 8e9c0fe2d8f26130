"""Runs in the guest, as root: a virtual camera, the real agent on it, and the camera's plug pulled twice.

Standard library and the agent alone. What was seen goes to ``seen.json`` in the directory given; the host judges it.
"""

from __future__ import annotations

import grp
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE = 120.0  # seconds; an emulated machine on a busy one
UNBIND, BIND = Path("/sys/bus/platform/drivers/vivid/unbind"), Path("/sys/bus/platform/drivers/vivid/bind")
USER = 1000  # the agent's user: nobody but a member of group video, as on a box
CAMERA = "/dev/video0"

GOOD = {"good": f"v4l2://{CAMERA}?size=320x180&fps=10"}
PORTABLE = {"portable": "opencv://1?size=320x180&fps=10"}
# Each refuses what is asked of it in its own way.
REFUSING = {
    "size": "v4l2:///dev/video1?size=9000x5000",
    "rate": "v4l2:///dev/video2?fps=7",
    "coding": "v4l2:///dev/video3?format=mjpeg",
    "locked": "v4l2:///dev/video4",
    "taken": "v4l2:///dev/video5",
    "absent": "v4l2:///dev/video9",
}

FIND = """
import json
from edge_agent.init.devices import devices
print(json.dumps([[device.url, device.card] for device in devices()]))
"""


def main(out: Path) -> None:
    seen: dict[str, Any] = {"kernel": platform.release(), "python": platform.python_version()}
    _plug_in(cameras=6)
    seen["formats"] = _said("v4l2-ctl", "-d", CAMERA, "--list-formats")
    Path("/dev/video4").chmod(0o600)
    with _in_use("/dev/video5"), Agent(out / "refusing", REFUSING) as agent:
        seen["refused"] = {name: agent.nth("camera_lost", name, 2) for name in REFUSING}
        seen["refused_stems"] = [event["stem"] for event in agent.events("segment_opened")]
        agent.stop()
    with Agent(out / "good", GOOD) as agent:
        _record_and_unplug(agent, seen)
        began = time.monotonic()
        seen["exit_status"] = agent.stop()
        seen["stop_seconds"] = time.monotonic() - began
    seen["events"] = agent.events()
    with Agent(out / "portable", PORTABLE) as agent:
        seen["portable"] = agent.nth("segment_closed", "portable", 1)
        agent.stop()
    seen["devices"] = json.loads(_said(sys.executable, "-c", FIND))
    made = out / "made.yaml"
    options = ["--yes", "--device", "dock7", "--camera", f"cam1={GOOD['good']}"]
    seen["init"] = _said(sys.executable, "-m", "edge_agent.cli", "init", "-c", str(made), *options)
    (out / "seen.json").write_text(json.dumps(seen, indent=1))


def _record_and_unplug(agent: Agent, seen: dict[str, Any]) -> None:
    """The whole course of the good camera; waits for each thing in turn."""
    agent.nth("segment_closed", "good", 1)
    with Path(CAMERA).open("rb", buffering=0):  # the device stays dead while anyone holds it
        _said("v4l2-ctl", "-d", CAMERA, "-c", "disconnect=1")
        agent.nth("camera_lost", "good", 2)
        seen["arrived"] = agent.packets("good")  # nothing comes now: what came by then is in closed segments
        seen["closed"] = len(agent.events("segment_closed", "good"))
    agent.nth("camera_connected", "good", 2)
    closed = len(agent.events("segment_closed", "good"))
    agent.nth("segment_closed", "good", closed + 1)
    lost = len(agent.events("camera_lost", "good"))
    UNBIND.write_text("vivid.0")
    seen["node_gone"] = not Path(CAMERA).exists()
    agent.nth("camera_lost", "good", lost + 2)
    BIND.write_text("vivid.0")
    agent.nth("camera_connected", "good", 3)
    closed = len(agent.events("segment_closed", "good"))
    agent.nth("segment_closed", "good", closed + 1)


class Agent:
    """``edge-agent capture`` as a user of its own, and what it logs."""

    def __init__(self, directory: Path, sources: dict[str, str]) -> None:
        directory.mkdir()
        os.chown(directory, USER, USER)
        self._log = directory / "agent.log"
        self._spool = directory / "spool"
        self._settings = directory / "edge-agent.yaml"
        self._settings.write_text(json.dumps(self._document(sources)))  # JSON is YAML

    def _document(self, sources: dict[str, str]) -> dict[str, Any]:
        tag = {"color": "black", "object": "cup"}
        cameras = {name: {"source": url, "class": tag, "segment_seconds": 2} for name, url in sources.items()}
        return {
            "device": "guest",
            "spool": str(self._spool),
            "disk": {"free": "1MB"},
            "store": {"url": "/nowhere"},
            "log": {"format": "json"},
            "cameras": cameras,
        }

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.cli", "capture", "--config", str(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=USER,
                group=USER,
                extra_groups=[grp.getgrnam("video").gr_gid],
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def events(self, name: str = "", camera: str = "") -> list[dict[str, Any]]:
        """What was logged, in order; all of it, or of one name and camera."""
        lines = self._log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [event for event in events if name in ("", event["event"]) and camera in ("", event.get("camera", ""))]

    def nth(self, name: str, camera: str, count: int) -> dict[str, Any]:
        """The *count*-th such event, from 1."""

        def there() -> list[dict[str, Any]]:
            assert self._process.poll() is None, "the agent ended"
            return self.events(name, camera)[count - 1 : count]

        try:
            return _until(there, f"{count} {name} of {camera}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._log.read_text()[-4000:]}") from error

    def packets(self, camera: str) -> int:
        """How many packets the agent says have come."""
        from edge_agent.control.local import ask

        answer = ask(self._spool / "state" / "agent.sock", {"command": "status"}, timeout=30)
        return int(answer["cameras"][camera]["packets"])

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)


def _plug_in(cameras: int) -> None:
    """Virtual cameras ``/dev/video0`` and up, with the permissions that udev's own rules give them."""
    _said("/lib/systemd/systemd-udevd", "--daemon")
    numbers = ",".join(str(number) for number in range(cameras))
    only_capture = ",".join(["0x1"] * cameras)
    _said("modprobe", "vivid", f"n_devs={cameras}", f"node_types={only_capture}", f"vid_cap_nr={numbers}")
    _said("udevadm", "settle")
    video = grp.getgrnam("video").gr_gid
    _until(lambda: Path(CAMERA).exists() and Path(CAMERA).stat().st_gid == video, "the camera's node")


@contextmanager
def _in_use(device: str) -> Iterator[None]:
    """Another program streams from *device* until it is unplugged, or the block ends."""
    with subprocess.Popen(
        ["v4l2-ctl", "-d", device, "--stream-mmap"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as other:
        yield
        other.kill()


def _said(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{command} failed: {done.stderr}"
    return done.stdout


def _until(probe: Callable[[], T], what: str) -> T:
    deadline = time.monotonic() + PATIENCE
    never = threading.Event()
    while not (found := probe()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain for {what}"
        never.wait(0.1)
    return found


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]))
