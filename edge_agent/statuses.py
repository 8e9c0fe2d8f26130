"""What the capture processes last said of themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import structlog

from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.errors import DiskFull

log = structlog.get_logger()


@dataclass(slots=True)
class Cameras:
    """What the capture processes last said of themselves. Safe to use from several threads.

    ``on_full`` is called with a camera's name when that camera has found the disk full.
    """

    on_full: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _status: dict[str, dict[str, Scalar]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Log a fact, keep a status."""
        if event.name == STATUS:
            with self._lock:
                self._status[event.camera] = event.fields
        else:
            level = "warning" if "error" in event.fields else "info"
            getattr(log, level)(event.name, camera=event.camera, **event.fields)
            if event.fields.get("code") == DiskFull.__name__:
                self.on_full(event.camera)

    def keep(self, names: Container[str]) -> None:
        """Forget what cameras said that are no more."""
        with self._lock:
            self._status = {name: fields for name, fields in self._status.items() if name in names}

    def status(self) -> dict[str, dict[str, Scalar]]:
        with self._lock:
            return {camera: dict(fields) for camera, fields in self._status.items()}
