"""Whether there is room on the disk to record. The parent measures it; a capture process is told."""

from __future__ import annotations

FULL = "full"
ROOM = "room"


class Room:
    """What the parent last said. Written by one thread, read by another."""

    def __init__(self) -> None:
        self._why = ""

    @property
    def lacking(self) -> str:
        """Why nothing may be recorded; empty while there is room."""
        return self._why

    def obey(self, line: str) -> None:
        """Take an order: ``full <why>`` or ``room``; others are for someone else."""
        order, _, why = line.strip().partition(" ")
        if order == FULL:
            self._why = why or "disk full"
        elif order == ROOM:
            self._why = ""
