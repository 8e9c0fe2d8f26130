"""The local page on a loopback port, over a fake agent on a real local socket, and what calls it."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.control import local
from edge_agent.control.web.job import WebJob
from edge_agent.control.web.server import serve_on
from tests.support.asking import Served

JPEG = base64.b64decode(
    "/9j/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJDRENDg8QEBEQCgwSExIQEw8QEBD/2Q=="
)
RECORDING = {"state": "recording", "healthy": True, "segment": "s", "tag": "yellow_box", "seconds": 3.2, "gate": "open"}


@dataclass
class FakeAgent:
    """Answers on the local socket as the agent does: statuses, one picture for each camera that is there, log lines."""

    cameras: dict[str, dict[str, Any]] = field(default_factory=lambda: {"cam1": dict(RECORDING)})
    lines: list[dict[str, Any]] = field(default_factory=list)
    looked_at: int = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"command": "status"}:
                return {"cameras": self.cameras, "disk": {}, "captures": True, "uploads": True}
            case {"command": "snapshot", "camera": camera} if camera in self.cameras and "after" not in request:
                self.looked_at += 1
                return {"number": self.looked_at, "jpeg": base64.b64encode(JPEG).decode(), "age": 0.1}
            case {"command": "logs"}:
                return {"number": len(self.lines), "lines": self.lines}
        return {}


@dataclass(frozen=True)
class Site(Served):
    """A page that is being served."""

    state: Path
    agent: FakeAgent

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def job_for(root: Path, **changes: Any) -> WebJob:
    """A page for cam1 and cam2 of dock7, its spool and state under *root*."""
    given: dict[str, Any] = {
        "device": "dock7",
        "fields": ("color", "object"),
        "cameras": {"cam1": {"color": "yellow", "object": "box"}, "cam2": None},
        "classes": ("yellow_box", "blue_crate"),
        "spool": str(root / "spool"),
        "state": str(root / "state"),
        "host": "127.0.0.1",
        "port": 8080,
    }
    return WebJob(**{**given, **changes})


@contextmanager
def page(root: Path, **changes: Any) -> Iterator[Site]:
    """A page on a free loopback port, whatever address *changes* give it: one that is none asks for the token."""
    job, agent, stop = job_for(root, **changes), FakeAgent(), threading.Event()
    for name in ("recording", "ready", "uploaded", "failed"):
        (Path(job.spool) / name).mkdir(parents=True)
    Path(job.state).mkdir(parents=True)
    with (
        local.serve(Path(job.state) / local.SOCKET_NAME, agent.answer),
        socket.create_server(("127.0.0.1", 0)) as sock,
    ):
        run = threading.Thread(target=asyncio.run, args=(serve_on(sock, job, SystemClock(), stop),))
        run.start()
        try:
            yield Site(sock.getsockname()[1], Path(job.state), agent)
        finally:
            stop.set()
            run.join()
