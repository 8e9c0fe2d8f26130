"""Directories where other programs drop videos: each becomes a segment in ``ready/`` once nobody writes to it any more.

It runs beside the upload loop, on the thread of :mod:`edge_agent.upload.errands`. What is taken goes through
:mod:`edge_agent.upload.intake`, which loses and doubles nothing at a crash.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from edge_agent.clock import Clock
from edge_agent.durable import os_error
from edge_agent.errors import EdgeCaptureError, NameInvalid, SpoolError
from edge_agent.segment import ClassTag, SegmentName, Take
from edge_agent.spool import Spool
from edge_agent.upload.drop import Drop
from edge_agent.upload.intake import Intake, Taken
from edge_agent.upload.lease import has_writer
from edge_agent.upload.remux import FORMATS
from edge_agent.upload.schema import printable
from edge_agent.upload.watcher import Watcher

RETRY_SECONDS = 60.0  # after the disk was full or a directory not writable; the copy it costs may be a large one


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one state of a file from another."""

    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was last seen, and since when (monotonic seconds) it has been so."""

    identity: Identity
    since: float


@dataclass(frozen=True, slots=True)
class _Left:
    """A file that could not be taken, as it was then, and when (monotonic seconds) it is tried again unchanged."""

    identity: Identity
    until: float


def seen_now(before: Mapping[str, Seen], found: Mapping[str, Identity], now: float) -> dict[str, Seen]:
    """What is known after a look that *found* these files: one that has changed begins anew. Pure."""
    return {
        name: known if (known := before.get(name)) and known.identity == identity else Seen(identity, now)
        for name, identity in found.items()
    }


def seconds_left(seen: Seen, now: float, settle: float) -> float:
    """Seconds until the file has been as it is for *settle*; an empty one has only been begun. Pure."""
    return settle if not seen.identity.size else max(0.0, seen.since + settle - now)


def name_for(stem: str, mtime: float, drop: Drop, device: str, fields: tuple[str, ...]) -> SegmentName:
    """A segment's name for a file: its own where it spells one, else the drop's class and a take of its *mtime*. Pure.

    *mtime* in seconds since the epoch. Raises NameInvalid where the names together are too long.
    """
    try:
        return SegmentName.parse(stem, fields)
    except NameInvalid:
        start = datetime.fromtimestamp(max(0.0, mtime), UTC)
        return SegmentName(ClassTag(fields, drop.values), str(Take(device, drop.camera, start)))


class Foreign:
    """Takes what is dropped in *drops* over into *spool*. Used by one thread."""

    def __init__(self, drops: Sequence[Drop], spool: Spool, clock: Clock, device: str, fields: tuple[str, ...]) -> None:
        self._drops = drops
        self._clock = clock
        self._device = device
        self._fields = fields
        self._intake = Intake(spool, device, fields)
        self._seen: dict[Drop, dict[str, Seen]] = {drop: {} for drop in drops}
        self._left: dict[Drop, dict[str, _Left]] = {drop: {} for drop in drops}
        self._said: dict[str, str] = {}
        self._watchers: dict[str, Watcher] = {}
        self._log = structlog.get_logger()

    def watch(self, wake: threading.Event) -> None:
        """Set *wake* when something arrives; again after an observer died. Never raises for what the kernel refuses."""
        for drop in self._drops:
            self._watchers.setdefault(drop.path, Watcher(Path(drop.path), wake)).ensure()

    def close(self) -> None:
        """Stop watching; every thread is joined."""
        for watcher in self._watchers.values():
            watcher.close()

    def collect(self) -> float | None:
        """Take what is finished, at most one file that must be copied; seconds until the next look, None: at an event.

        Raises nothing for what one file, one directory or a full disk is at fault for: that is logged once, and tried
        again.
        """
        waits = []
        try:
            for taken in self._intake.resume():
                self._tell(taken)
        except EdgeCaptureError as error:
            self._complain("recording", error)
        if self._intake.pending:
            waits.append(min((drop.settle_seconds for drop in self._drops), default=1.0))
        for drop in self._drops:
            try:
                waits += self._look(drop)
            except EdgeCaptureError as error:
                self._complain(drop.path, error)
        return min(waits, default=None)

    def _look(self, drop: Drop) -> list[float]:
        """Take what is ripe in one directory; after how many seconds what else is there may be so."""
        directory, now = Path(drop.path), self._clock.monotonic()
        try:
            found = dict(_files(directory))
        except OSError as error:
            raise os_error(error, directory) from error
        self._said.pop(drop.path, None)
        known = self._seen[drop] = seen_now(self._seen[drop], found, now)
        refused = self._left[drop] = {
            name: left
            for name, left in self._left[drop].items()
            if found.get(name) == left.identity and now < left.until
        }
        waits = [left.until - now for left in refused.values() if left.until < math.inf]
        for name, seen in sorted(known.items()):
            path = directory / name
            if name in refused:
                continue
            left = seconds_left(seen, now, drop.settle_seconds)
            if left > 0 or has_writer(path):
                waits.append(left or drop.settle_seconds)
                continue
            taken = self._take(drop, path, seen.identity)
            if taken and taken.copied:  # the rest waits until the upload loop has had its turn
                return [0.0]
        return waits

    def _take(self, drop: Drop, path: Path, identity: Identity) -> Taken | None:
        try:
            name = name_for(path.stem, identity.mtime_ns / 1e9, drop, self._device, self._fields)
            taken = self._intake.take(path, name)
        except EdgeCaptureError as error:
            again = self._clock.monotonic() + RETRY_SECONDS if isinstance(error, SpoolError) else math.inf
            self._left[drop][path.name] = _Left(identity, again)
            self._log.warning(
                "foreign_left",
                path=printable(str(path)),
                code=error.code,
                error=printable(str(error)),
                consequence="stays where it is" if again == math.inf else "tried again later",
            )
            return None
        if taken:
            self._tell(taken)
        return taken

    def _tell(self, taken: Taken) -> None:
        event = "foreign_known" if taken.known else "foreign_taken"
        self._log.info(event, stem=taken.stem, path=printable(taken.source), bytes=taken.size)

    def _complain(self, where: str, error: EdgeCaptureError) -> None:
        """Say what is wrong with a directory, once for as long as it stays so."""
        if self._said.get(where) != str(error):
            self._log.warning("foreign_not_read", path=where, code=error.code, error=printable(str(error)))
            self._said[where] = str(error)


def _files(directory: Path) -> Iterator[tuple[str, Identity]]:
    """The videos in *directory*, by the suffix; hidden ones, links, and names that are still a copy's are none."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in FORMATS:
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield entry.name, Identity(found.st_ino, found.st_size, found.st_mtime_ns)
