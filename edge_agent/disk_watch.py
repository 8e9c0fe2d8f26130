"""The thread that keeps the disk within bounds, and tells the cameras when there is no room."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import structlog

from edge_agent.capture.room import FULL, ROOM
from edge_agent.errors import SpoolError
from edge_agent.quota import shortage
from edge_agent.retention import Retention, Room, Rules

log = structlog.get_logger()

LOOK_SECONDS = 2.0  # how long cameras may go on past a bound: at 10 Mb/s, 2.5 MB each


class Stop:
    """Look no more."""


class DiskWatch:
    """Looks at the disk every LOOK_SECONDS, and at once when a camera found it full.

    ``order`` is given the standing order for all capture processes whenever it changes. Everything but :meth:`run`
    and :meth:`look` may be called from any thread.
    """

    def __init__(self, retention: Retention, order: Callable[[str], None]) -> None:
        self._retention = retention
        self._order = order
        self._inbox: queue.SimpleQueue[str | Rules | Stop] = queue.SimpleQueue()
        self._room: Room | None = None
        self._pauses = 0
        self._fault = ""

    def camera_full(self, camera: str) -> None:
        """*camera*'s process has just run out of space."""
        self._inbox.put(camera)

    def change(self, rules: Rules) -> None:
        """Another policy from now on."""
        self._inbox.put(rules)

    def close(self) -> None:
        """Let :meth:`run` return."""
        self._inbox.put(Stop())

    def status(self) -> dict[str, Any]:
        """What ``edge-agent status`` shows of the running agent."""
        room = self._room
        paused = room is not None and room.paused
        return {"paused": _why(room) if paused and room else None, "pauses": self._pauses, "problem": self._fault}

    def run(self) -> None:
        """Look until :meth:`close`. What the disk refuses is logged and tried again."""
        while True:
            try:
                item = self._inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self.look()
                continue
            if isinstance(item, Stop):
                return
            if isinstance(item, Rules):
                self._retention.rules = item
                self.look()
            else:
                self.look(item)

    def look(self, camera_full: str = "") -> None:
        """Make room, and pass on whether there is some."""
        try:
            room = self._retention.look(camera_full)
        except SpoolError as error:
            if str(error) != self._fault:
                log.error("disk_not_checked", code=error.code, error=str(error))
            self._fault = str(error)
            return
        before, self._room, self._fault = self._room, room, ""
        was_paused = before is not None and before.paused
        if room.paused and not was_paused:
            self._pauses += 1
            log.warning("disk_full", error=_why(room), missing=room.missing)
            self._order(f"{FULL} {_why(room)}")
        elif was_paused and not room.paused:
            log.info("disk_has_room", free=room.disk.free, used=room.disk.used)
            self._order(ROOM)


def _why(room: Room) -> str:
    """The bound that is in the way, in a line for a person."""
    disk, policy = room.disk, room.policy
    if policy.quota is not None and disk.used - policy.quota >= shortage(disk, policy):
        return f"disk full: the spool holds {_mb(disk.used)} of {_mb(policy.quota)} (disk.quota)"
    return f"disk full: {_mb(disk.free)} are free, {_mb(policy.free)} must stay free (disk.free)"


def _mb(size: int) -> str:
    return f"{max(0, size) / 1e6:,.1f} MB"
