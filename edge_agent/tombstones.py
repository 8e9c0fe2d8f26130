"""What was deleted without ever having been uploaded: a durable record, one JSON line for each segment.

A line is on the disk *before* its segment is deleted. So a segment that is gone by policy always has its line, and
only the last line's deletion can be unfinished after a crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge_agent.durable import fsync_directory, os_errors, write_durably

FILE_NAME = "tombstones.jsonl"
_FULL_BYTES = 4 << 20  # about 15,000 lines; then the file before it is let go, its sums are carried on


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One lost segment. ``file`` is its name in ``ready/``; moments are ISO 8601; frames are 0 where nobody knew."""

    stem: str
    file: str
    bytes: int
    frames: int
    seconds: float
    dropped_at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Losses:
    """Sums over all tombstones there ever were."""

    segments: int = 0
    frames: int = 0
    bytes: int = 0

    def plus(self, stone: Tombstone) -> Losses:
        return Losses(self.segments + 1, self.frames + stone.frames, self.bytes + stone.bytes)


_STONE = frozenset(field.name for field in fields(Tombstone))


class Tombstones:
    """The file in the state *directory*. One writer, any number of readers; methods raise SpoolError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._before = directory / "tombstones.1.jsonl"

    def add(self, stone: Tombstone) -> None:
        """Durable on return."""
        with os_errors(self.path):
            if self.path.exists() and self.path.stat().st_size > _FULL_BYTES:
                self._begin_anew()
            with self.path.open("ab") as file:
                torn = file.tell() and not self._ends_whole()
                file.write(b"\n" * bool(torn) + json.dumps(asdict(stone)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            fsync_directory(self.path.parent)

    def last(self) -> Tombstone | None:
        return next(iter(self.recent(1)), None)

    def recent(self, limit: int) -> list[Tombstone]:
        """Up to *limit* of the last ones, newest first."""
        return list(self._stones(self.path))[: -limit - 1 : -1]

    def stems(self) -> frozenset[str]:
        """The segments that lately went; those of long ago are only in the sums."""
        return frozenset(stone.stem for path in (self._before, self.path) for stone in self._stones(path))

    def losses(self) -> Losses:
        """Everything that ever went."""
        losses = Losses()
        for document in _documents(self.path):
            if "before" in document:
                losses = Losses(**document["before"])
        for stone in self._stones(self.path):
            losses = losses.plus(stone)
        return losses

    def _stones(self, path: Path) -> Iterator[Tombstone]:
        for document in _documents(path):
            if document.keys() >= _STONE:
                yield Tombstone(**{name: document[name] for name in _STONE})

    def _begin_anew(self) -> None:
        """Sums into a new file, whose first line they are; the old one stays until the next time."""
        sums = json.dumps({"before": asdict(self.losses())}).encode() + b"\n"
        self._before.unlink(missing_ok=True)
        os.link(self.path, self._before)
        write_durably(self.path, sums)

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of *path* that are whole; a line that a power cut tore had deleted nothing yet."""
    with os_errors(path):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document
