"""What the service manager is told of one agent: that it is ready, how it does, and that it gets on."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from edge_agent import notify
from edge_agent.capture.report import Scalar
from edge_agent.clock import Clock
from edge_agent.spool import VIDEO_SUFFIX

log = structlog.get_logger()

STATUS_SECONDS = 5.0  # how old the line for people may be
PROBLEM_LENGTH = 120  # characters of one camera's problem; the line is one of a terminal

Statuses = Mapping[str, Mapping[str, Scalar]]


def status_line(cameras: Statuses, waiting: int | None) -> str:
    """How the agent does, in one line for ``systemctl status``. Pure; *waiting*: not uploaded yet, None: unknown."""
    parts = []
    if cameras:
        healthy = sum(fields.get("healthy") is True for fields in cameras.values())
        parts.append(f"{healthy} of {len(cameras)} cameras healthy")
    if waiting is not None:
        parts.append(f"{waiting} segments wait for upload" if waiting != 1 else "1 segment waits for upload")
    for name, fields in cameras.items():
        if problem := fields.get("problem"):
            parts.append(f"{name}: {str(problem)[:PROBLEM_LENGTH]}")
    return "; ".join(parts)


class Service:
    """Tells *manager* about the agent. Used by the thread of the agent's loop; :attr:`ready` may be read by any.

    The watchdog is fed by :meth:`turn` alone, so only while the loop turns, and only while nobody is late.
    """

    def __init__(self, manager: notify.Manager, clock: Clock, spool: Path) -> None:
        self._manager = manager
        self._clock = clock
        self._waiting = spool / "ready"
        self._line = ""
        self._line_at: float | None = None
        self._late: Collection[str] = ()
        self._loaded = True
        self.ready = False

    def turn(self, cameras: Statuses, *, unknown: Collection[str], late: Collection[str]) -> None:
        """The loop has turned once. *unknown* children have told no status yet, *late* ones are watched by nobody."""
        if late and set(late) != set(self._late):
            log.error("supervision_stuck", error=f"nothing was heard of {', '.join(late)}; the watchdog is not fed")
        self._late = late
        words = []
        if not self._loaded or (not self.ready and not unknown):
            words.append(notify.READY)
            self._loaded = self.ready = True
        if self._manager.watchdog is not None and not late:
            words.append(notify.WATCHDOG)
        if (line := self._news(cameras)) is not None:
            words.append(notify.status(line))
        if words:
            self._manager.tell(*words)

    def reloading(self) -> None:
        """The settings are read again; the next turn says that this is done."""
        if self.ready:
            self._loaded = False
            self._manager.tell(notify.RELOADING, f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self) -> None:
        """Children are ending."""
        self._manager.tell(notify.STOPPING, notify.status("closing what is open"))

    def _news(self, cameras: Statuses) -> str | None:
        """The line for people, when it is due and another than before."""
        now = self._clock.monotonic()
        if not self._manager.address or (self._line_at is not None and now - self._line_at < STATUS_SECONDS):
            return None
        line = status_line(cameras, self._count())
        if self.ready:  # until then each turn may know more
            self._line_at = now
        before, self._line = self._line, line
        return None if line == before else line

    def _count(self) -> int | None:
        try:
            with os.scandir(self._waiting) as entries:
                return sum(entry.name.endswith(VIDEO_SUFFIX) for entry in entries)
        except OSError:  # the disk's watch tells
            return None
