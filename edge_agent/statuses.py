"""What the capture processes last said of themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import structlog

from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.clock import Clock
from edge_agent.errors import DiskFull

log = structlog.get_logger()

STALE_SECONDS = 4.0  # statuses come every second; a healthy camera's footage is at most 2 s old
# The last word of a process that is done, or of its supervisor, which has told why. No more is to come for now.
_LAST_WORDS = frozenset({"stopped", "hanging", "restarting"})

Status = dict[str, Scalar]


def aged(status: Status, silence: float) -> Status:
    """*status*, which was said *silence* seconds ago, as it is to be taken now. Pure.

    A process that hangs cannot say so: of one that is silent for STALE_SECONDS nobody is told that it is healthy.
    """
    if silence < STALE_SECONDS:
        return dict(status)
    now = {**status, "healthy": False}
    if isinstance(age := status.get("last_durable_age"), (int, float)):
        now["last_durable_age"] = round(age + silence, 1)
    if status.get("state") not in _LAST_WORDS:
        now["problem"] = f"its process has said nothing for {silence:.0f} s"
    return now


@dataclass(slots=True)
class Cameras:
    """What the capture processes last said of themselves. Safe to use from several threads.

    ``on_full`` is called with a camera's name when that camera has found the disk full.
    """

    clock: Clock
    on_full: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _status: dict[str, tuple[Status, float]] = field(default_factory=dict)  # and when it came, in monotonic seconds

    def take(self, event: Event) -> None:
        """Log a fact, keep a status."""
        if event.name == STATUS:
            with self._lock:
                self._status[event.camera] = event.fields, self.clock.monotonic()
        else:
            level = "warning" if "error" in event.fields else "info"
            getattr(log, level)(event.name, camera=event.camera, **event.fields)
            if event.fields.get("code") == DiskFull.__name__:
                self.on_full(event.camera)

    def keep(self, names: Container[str]) -> None:
        """Forget what cameras said that are no more."""
        with self._lock:
            self._status = {name: said for name, said in self._status.items() if name in names}

    def status(self) -> dict[str, Status]:
        """The cameras' statuses, each as old as it is."""
        with self._lock:
            now = self.clock.monotonic()
            return {camera: aged(status, now - at) for camera, (status, at) in self._status.items()}
