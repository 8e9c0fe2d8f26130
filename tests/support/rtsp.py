"""A real RTSP camera on a loopback port, for as long as a block lasts."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has the GObject bindings
SERVER = Path(__file__).with_name("rtsp_server.py")
H264 = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 sliced-threads=false "
    "! rtph264pay name=pay0 pt=96 config-interval=-1"
)


@functools.cache
def missing() -> str:
    """Why no server can be run here; empty when it can."""
    probe = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
        "missing = [n for n in ('videotestsrc', 'x264enc', 'rtph264pay') if not Gst.ElementFactory.find(n)];"
        "raise SystemExit('no ' + ', '.join(missing) if missing else 0)"
    )
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-c", probe],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=60,
            check=False,
        )
    except OSError as error:
        return f"{SYSTEM_PYTHON}: {error.strerror}"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["GStreamer is missing"])[-1]


def clean_environment() -> dict[str, str]:
    """This environment without what points the system's Python at the virtual environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


@dataclass(slots=True)
class Camera:
    """The server's address, and its process: to be stopped, killed and started anew."""

    port: int
    pipelines: tuple[str, ...]
    user: str
    password: str
    process: subprocess.Popen[str] | None = None

    def url(self, number: int = 0, password: str | None = None) -> str:
        login = f"{self.user}:{password or self.password}@" if self.user else ""
        return f"rtsp://{login}127.0.0.1:{self.port}/{number}"

    def start(self) -> None:
        arguments = [SYSTEM_PYTHON, str(SERVER), str(self.port), self.user, self.password, *self.pipelines]
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready", "the RTSP server did not start"

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@contextmanager
def rtsp_camera(*pipelines: str, user: str = "", password: str = "") -> Iterator[Camera]:
    """A running server with *pipelines* at /0, /1, …; skips the test, and says why, where none can be run."""
    if reason := missing():
        pytest.skip(f"no RTSP server: {reason}")
    camera = Camera(free_port(), pipelines or (H264,), user, password)
    camera.start()
    try:
        yield camera
    finally:
        camera.kill()
