"""One segment to the store: checked against its sidecar, never overwriting, proved by checksum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.durable import os_error
from edge_agent.errors import (
    IntegrityMismatch,
    NameInvalid,
    ObjectConflict,
    ObjectExists,
    ObjectNotFound,
    VideoUnreadable,
)
from edge_agent.segment import MAX_STEM, Segment, SegmentName, video_key
from edge_agent.spool import SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool, stem_of
from edge_agent.store.base import Checksum, ObjectInfo, ObjectStore
from edge_agent.store.checksum import crc64nvme

CONTENT_TYPE = "video/mp4"


@contextmanager
def _file_errors(video: Path) -> Iterator[None]:
    """What the operating system says of one file counts against that file, unless the whole disk is at fault."""
    try:
        yield
    except (PermissionError, IsADirectoryError) as error:
        raise VideoUnreadable(
            error.strerror or str(error), where=str(error.filename or video), fix="let the agent's user read it"
        ) from error
    except OSError as error:
        raise os_error(error, error.filename or video) from error


def prepare(video: Path, spool: Spool, device: str, fields: tuple[str, ...]) -> Segment:
    """The segment *video* is, with size and checksum that its file was just found to have.

    A file without a sidecar must have a segment's name and be a video; its sidecar is then written beside it, so that
    every later attempt says the same. Raises NameInvalid, VideoUnreadable (also when the file is not what its sidecar
    says) or SpoolError.
    """
    if video.suffix != VIDEO_SUFFIX:
        raise NameInvalid("is no segment", where=str(video), fix=f"segments end in {VIDEO_SUFFIX}")
    if len(video.name) > MAX_STEM + len(VIDEO_SUFFIX):
        raise NameInvalid("name is too long", where=str(video), fix=f"keep it within {MAX_STEM} characters")
    with _file_errors(video):
        segment = spool.sidecar(video)
        known = segment is not None
        if segment is None:
            segment = _named(video, device, fields)
        if segment.name.stem != stem_of(video):
            raise NameInvalid(
                f"sidecar is that of {segment.name}", where=str(video), fix="rename the file, or delete its sidecar"
            )
        found = segment.with_file(video.stat().st_size, crc64nvme(video).value)
        if known and segment.crc64nvme and (found.size, found.crc64nvme) != (segment.size, segment.crc64nvme):
            raise VideoUnreadable(
                f"is not the file its sidecar tells of: {found.size} bytes with checksum {found.crc64nvme}, "
                f"not {segment.size} with {segment.crc64nvme}",
                where=str(video),
                fix=f"look at it; to upload it as it is, delete its {SIDECAR_SUFFIX} file and put it back",
            )
        if found != segment:
            spool.write_sidecar(video, found)
        return found


def _named(video: Path, device: str, fields: tuple[str, ...]) -> Segment:
    from edge_agent.upload.probe import describe

    try:
        name = SegmentName.parse(stem_of(video), fields)
    except NameInvalid as error:
        raise NameInvalid(error.what, where=str(video), fix=error.fix) from error
    return describe(video, name, device)


def upload(segment: Segment, video: Path, store: ObjectStore, *, perhaps_stored: bool = False) -> ObjectInfo:
    """Store *video* under the segment's key; returns only when the store has exactly these bytes.

    An object that is there already is compared: equal is success. *perhaps_stored* asks first, which spares sending
    again what an earlier attempt delivered. Raises ObjectConflict when the key holds other bytes, IntegrityMismatch
    when what arrived, or the file while it was read, is not what was prepared, and StoreError.
    """
    key = video_key(segment)
    with _file_errors(video):
        before = _identity(video)
        info = _stored(key, segment, store) if perhaps_stored else None
        if info is None:
            info = _put(key, segment, video, store)
        if _identity(video) != before:
            raise IntegrityMismatch("file changed while it was uploaded", where=str(video))
    return info


def _stored(key: str, segment: Segment, store: ObjectStore) -> ObjectInfo | None:
    """The object, if the store proves by a checksum that it is the segment's; None proves nothing."""
    try:
        info = store.head(key)
    except ObjectNotFound:
        return None
    return info if info.size == segment.size and info.checksum == _expected(segment) else None


def _put(key: str, segment: Segment, video: Path, store: ObjectStore) -> ObjectInfo:
    try:
        info = store.put_if_absent(key, video, content_type=CONTENT_TYPE, metadata=segment.to_metadata())
    except ObjectExists as error:
        info = store.head(key)
        if not _same(info, segment, store):
            raise ObjectConflict(
                f"holds {info.size} bytes that are not those of {video.name}",
                where=store.uri(key),
                fix="compare the two; remove the wrong object, then put the file back into ready/",
            ) from error
        return info
    if info.checksum is None:
        info = store.head(key)
    if not _same(info, segment, store):
        raise IntegrityMismatch("stored other bytes than were sent", where=store.uri(key))
    return info


def _same(info: ObjectInfo, segment: Segment, store: ObjectStore) -> bool:
    """Whether the object is the segment's file; its bytes are read when the store has no checksum of our kind."""
    if info.size != segment.size:
        return False
    expected = _expected(segment)
    if info.checksum is not None and info.checksum.algorithm == expected.algorithm:
        return info.checksum == expected
    with store.checkout(info.key) as copy:
        return crc64nvme(copy) == expected


def _expected(segment: Segment) -> Checksum:
    return Checksum("CRC64NVME", segment.crc64nvme)


def _identity(video: Path) -> tuple[int, int, int]:
    found = video.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
