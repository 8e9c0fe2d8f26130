"""A finished file from elsewhere becomes a segment in ``ready/``. Every step can be the last: what was begun is ended.

Within one file system the file is renamed to ``recording/<stem>.mp4.taken``, which is one step, and published from
there. From another, or out of another container, ``recording/<stem>.mp4.from`` first says what is being copied; the
copy becomes ``.taken`` once it is whole and durable, then the file is deleted, and then the ``.from``: only what has no
``.from`` any more is published. So at every moment the file is there once, or it is known which of two is to go.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent.durable import fsync_directory, os_errors, write_durably
from edge_agent.errors import SpoolUnusable, VideoUnreadable
from edge_agent.segment import SegmentName, Take
from edge_agent.spool import PART_SUFFIX, VIDEO_SUFFIX, Spool
from edge_agent.store.checksum import crc64nvme
from edge_agent.upload.lease import has_writer
from edge_agent.upload.probe import HAND_MADE_CAMERA, describe
from edge_agent.upload.remux import remux

TAKEN_SUFFIX = ".mp4.taken"
FROM_SUFFIX = ".mp4.from"
_SCRATCH_SUFFIX = ".mp4.copying"
_IN_USE = (TAKEN_SUFFIX, FROM_SUFFIX, PART_SUFFIX)


@dataclass(frozen=True, slots=True)
class Taken:
    """A segment that is in ``ready/`` now, and where it came from.

    ``known``: the spool had it already, byte for byte. ``copied``: more than a name was moved.
    """

    stem: str
    source: str
    size: int
    known: bool = False
    copied: bool = False


class Intake:
    """Takes files over into *spool*, for *device* where a file does not say which. Used by one thread of one process.

    ``pending``: the last :meth:`resume` found files that are being written to again, and left them.
    """

    def __init__(self, spool: Spool, device: str, fields: tuple[str, ...]) -> None:
        self._spool = spool
        self._device = device
        self._fields = fields
        self.pending = False

    def take(self, source: Path, name: SegmentName) -> Taken | None:
        """Publish *source*, which nobody writes to, under *name* or the next one free; None: it changed meanwhile.

        Raises VideoUnreadable when it is no video that the cloud takes, and SpoolError; then *source* is where it was.
        """
        if not os.access(source.parent, os.W_OK | os.X_OK):
            raise SpoolUnusable("files cannot be taken out", where=str(source.parent), fix="let the agent's user write")
        with os_errors(source):
            before = source.stat()
            free = self._free(name, before.st_mtime)
            taken = self._spool.recording / (free.stem + TAKEN_SUFFIX)
            as_it_is = source.suffix.lower() == VIDEO_SUFFIX
            if as_it_is:
                describe(source, free, self._device)
            copied = not (as_it_is and _claimed(source, taken))
            if copied and not self._copy(source, taken, before):
                return None
            done = self._publish(taken)
            return done and replace(done, source=str(source), copied=copied)

    def resume(self) -> Iterator[Taken]:
        """End what a crash interrupted, and what waited for a writer to let go. Raises SpoolError."""
        recording = self._spool.recording
        self.pending = False
        with os_errors(recording):
            if not recording.exists():
                return
            names = sorted(os.listdir(recording))  # noqa: PTH208 (names, not a path for each)
            for name in names:
                if name.endswith(FROM_SUFFIX):
                    self._end_copy(recording / name)
                elif name.endswith(_SCRATCH_SUFFIX):
                    (recording / name).unlink(missing_ok=True)
            for name in names:
                taken = recording / name
                if name.endswith(TAKEN_SUFFIX) and taken.exists() and (done := self._publish(taken)):
                    yield done

    # -- taking ----------------------------------------------------------------------------------------------------

    def _copy(self, source: Path, taken: Path, before: os.stat_result) -> bool:
        """*taken* instead of *source*; False, with nothing done, when *source* changed meanwhile."""
        record = taken.with_name(_stem(taken) + FROM_SUFFIX)
        scratch = taken.with_name(_stem(taken) + _SCRATCH_SUFFIX)
        told = {"path": os.fsencode(source).hex(), "size": before.st_size, "mtime_ns": before.st_mtime_ns}
        write_durably(record, json.dumps(told).encode())
        try:
            self._fill(scratch, source)
            os.utime(scratch, ns=(before.st_atime_ns, before.st_mtime_ns))
            if not _is_still(source, before.st_size, before.st_mtime_ns) or has_writer(source):
                scratch.unlink()
                record.unlink()
                return False
            scratch.replace(taken)
            fsync_directory(taken.parent)
            source.unlink()
        except (OSError, VideoUnreadable):
            self._drop_copy(record)
            raise
        fsync_directory(source.parent)
        record.unlink()
        return True

    def _fill(self, scratch: Path, source: Path) -> None:
        """Write what *source* holds, as an MP4, to *scratch*, durable, and prove it."""
        name = SegmentName.parse(_stem(scratch), self._fields)
        if source.suffix.lower() != VIDEO_SUFFIX:
            remux(source, scratch)
        else:
            with source.open("rb") as read, scratch.open("wb") as written:
                shutil.copyfileobj(read, written, 1 << 20)
                written.flush()
                os.fsync(written.fileno())
            if crc64nvme(scratch) != crc64nvme(source):
                raise VideoUnreadable("copy differs", where=str(source), fix="check both disks")
        describe(scratch, name, self._device)

    def _end_copy(self, record: Path) -> None:
        """Delete the one of two that is to go: the file when its copy is whole and it still is what was copied."""
        if record.with_name(_stem(record) + TAKEN_SUFFIX).exists():
            told = json.loads(record.read_bytes())  # whole or not there: it was written durably
            source = Path(os.fsdecode(bytes.fromhex(told["path"])))
            if _is_still(source, told["size"], told["mtime_ns"]):
                try:
                    source.unlink()
                except OSError:
                    self._drop_copy(record)
                    raise
                fsync_directory(source.parent)
            record.unlink()
        else:
            self._drop_copy(record)

    def _drop_copy(self, record: Path) -> None:
        """Undo: the record goes last, since it says that there is a copy too much."""
        for suffix in (_SCRATCH_SUFFIX, TAKEN_SUFFIX, FROM_SUFFIX):
            with suppress(OSError):
                record.with_name(_stem(record) + suffix).unlink(missing_ok=True)

    # -- publishing ------------------------------------------------------------------------------------------------

    def _publish(self, taken: Path) -> Taken | None:
        """Put *taken* into ``ready/``; None when it waits for its writer, or is no video any more (``failed/``)."""
        if has_writer(taken):  # opened in the moment before it was taken
            self.pending = True
            return None
        name, found = SegmentName.parse(_stem(taken), self._fields), taken.stat()
        if known := self._spool.published(name.stem):
            if _same_bytes(known, taken):  # a second name of it after a crash, or dropped twice
                taken.unlink()
                fsync_directory(taken.parent)
                return Taken(name.stem, str(taken), found.st_size, known=True)
            name = self._free(self._next(name, found.st_mtime), found.st_mtime, published=True)
            taken = taken.replace(taken.with_name(name.stem + TAKEN_SUFFIX))
        try:
            segment = describe(taken, name, self._device)
        except VideoUnreadable as error:  # it was a video when it was looked at
            self._spool.fail(taken.replace(taken.with_name(name.stem + PART_SUFFIX)), str(error))
            return None
        self._spool.finish(taken, segment.with_file(found.st_size, crc64nvme(taken).value))
        return Taken(name.stem, str(taken), found.st_size)

    def _free(self, name: SegmentName, mtime: float, *, published: bool = False) -> SegmentName:
        """*name*, or the next that nobody in ``recording/`` has; with *published*, that nobody in the spool has.

        What is published under the name may be the same file; that is found out when this one is.
        """
        recording = self._spool.recording
        while any((recording / (name.stem + suffix)).exists() for suffix in _IN_USE) or (
            published and self._spool.published(name.stem)
        ):
            name = self._next(name, mtime)
        return name

    def _next(self, name: SegmentName, mtime: float) -> SegmentName:
        """The next millisecond's name; after a hand-made one a take of *mtime* (epoch seconds)."""
        made = name.made_by
        if made is None:
            start = datetime.fromtimestamp(max(0.0, mtime), UTC)
            return SegmentName(name.tag, str(Take(self._device, HAND_MADE_CAMERA, start)))
        return SegmentName(name.tag, str(replace(made, start=made.start + timedelta(milliseconds=1))))


def _claimed(source: Path, taken: Path) -> bool:
    """Rename *source*, in one step; False, with nothing done, when it lies on another file system."""
    try:
        source.replace(taken)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    fsync_directory(taken.parent)
    fsync_directory(source.parent)
    return True


def _stem(path: Path) -> str:
    """The segment stem of a file that is being taken."""
    name = path.name
    for suffix in (TAKEN_SUFFIX, FROM_SUFFIX, _SCRATCH_SUFFIX):
        name = name.removesuffix(suffix)
    return name


def _is_still(source: Path, size: int, mtime_ns: int) -> bool:
    """Whether *source* is there as it was. Not by its inode: some file systems give another at every mount."""
    try:
        found = source.stat()
    except FileNotFoundError:
        return False
    return (found.st_size, found.st_mtime_ns) == (size, mtime_ns)


def _same_bytes(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and crc64nvme(one) == crc64nvme(other)
