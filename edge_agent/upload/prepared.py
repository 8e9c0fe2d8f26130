"""A file that waits, checked: which segment it is, and that it still is the file that was checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edge_agent.durable import os_error
from edge_agent.errors import IntegrityMismatch, NameInvalid, VideoUnreadable
from edge_agent.segment import MAX_STEM, Segment, SegmentName, video_key
from edge_agent.spool import SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool, stem_of
from edge_agent.store.base import Checksum
from edge_agent.store.checksum import ALGORITHM, crc64nvme
from edge_agent.upload.parts import LARGEST_PUT

# Read once, and sent from memory: a socket's buffer takes as much at once, so nothing can be paced finer anyway.
TINY = 128 << 10


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file it is and in which state: what changes when somebody replaces it or writes to it."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        found = path.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The *segment* that the file *video* was found to be when it had *identity*; of a tiny one its *content* too."""

    segment: Segment
    video: Path
    identity: Identity
    content: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        return video_key(self.segment)

    @property
    def size(self) -> int:
        return self.identity.size

    @property
    def checksum(self) -> Checksum:
        """Of the whole file."""
        return Checksum(ALGORITHM, self.segment.crc64nvme)

    def has_changed(self) -> bool:
        """Whether the file is gone, another one, or was written to since."""
        try:
            return Identity.of(self.video) != self.identity
        except FileNotFoundError:
            return True

    def ensure_unchanged(self) -> None:
        """Raise IntegrityMismatch if the file is not as it was when it was prepared."""
        if self.has_changed():
            raise changed(self.video)


def changed(video: Path) -> IntegrityMismatch:
    """For a file that did not stay as it was: what was sent of it may be a mixture."""
    return IntegrityMismatch("file changed while it was uploaded", where=str(video))


@contextmanager
def file_errors(video: Path) -> Iterator[None]:
    """What the operating system says of one file counts against that file, unless the whole disk is at fault."""
    try:
        yield
    except (PermissionError, IsADirectoryError) as error:
        raise VideoUnreadable(
            error.strerror or str(error), where=str(error.filename or video), fix="let the agent's user read it"
        ) from error
    except OSError as error:
        raise os_error(error, error.filename or video) from error


def prepare(video: Path, spool: Spool, device: str, fields: tuple[str, ...]) -> Prepared:
    """The segment *video* is, with its file's size and checksum.

    A small file is read and compared with its sidecar. A large one is so while it is sent: its parts' checksums make
    the whole's. A file without a sidecar must have a segment's name and be a video; its sidecar is then written beside
    it, so that every later attempt says the same. Raises NameInvalid, VideoUnreadable (also when the file is not what
    its sidecar says), IntegrityMismatch when it changes just now, or SpoolError.
    """
    if video.suffix != VIDEO_SUFFIX:
        raise NameInvalid("is no segment", where=str(video), fix=f"segments end in {VIDEO_SUFFIX}")
    if len(video.name) > MAX_STEM + len(VIDEO_SUFFIX):
        raise NameInvalid("name is too long", where=str(video), fix=f"keep it within {MAX_STEM} characters")
    with file_errors(video):
        known = spool.sidecar(video)
        segment = known or _named(video, device, fields)
        if segment.name.stem != stem_of(video):
            raise NameInvalid(
                f"sidecar is that of {segment.name}", where=str(video), fix="rename the file, or delete its sidecar"
            )
        identity = Identity.of(video)  # before it is read: what is written from here on is a change
        if segment.crc64nvme and segment.size == identity.size > LARGEST_PUT:
            return Prepared(segment, video, identity)
        content = video.read_bytes() if identity.size <= TINY else None
        if content is not None and len(content) != identity.size:
            raise changed(video)
        found = segment.with_file(identity.size, crc64nvme(video if content is None else content).value)
        if segment.crc64nvme and found != segment:
            raise not_as_told(video, segment, found)
        if found != known:
            spool.write_sidecar(video, found)
        return Prepared(found, video, identity, content)


def not_as_told(video: Path, told: Segment, found: Segment) -> VideoUnreadable:
    """For a file that is not what its sidecar says."""
    return VideoUnreadable(
        f"is not the file its sidecar tells of: {found.size} bytes with checksum {found.crc64nvme}, "
        f"not {told.size} with {told.crc64nvme}",
        where=str(video),
        fix=f"look at it; to upload it as it is, delete its {SIDECAR_SUFFIX} file and put it back",
    )


def _named(video: Path, device: str, fields: tuple[str, ...]) -> Segment:
    from edge_agent.upload.probe import describe

    try:
        name = SegmentName.parse(stem_of(video), fields)
    except NameInvalid as error:
        raise NameInvalid(error.what, where=str(video), fix=error.fix) from error
    return describe(video, name, device)
