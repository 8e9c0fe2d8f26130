"""Whether the store has what we have: whole objects and parts."""

from __future__ import annotations

import base64

from edge_agent.errors import CredentialsRefused, ObjectConflict, ObjectNotFound
from edge_agent.store.base import Checksum, FileSlice, ObjectInfo, ObjectStore, Part
from edge_agent.store.checksum import ALGORITHM, crc64nvme, is_object, is_part
from edge_agent.upload.prepared import Prepared


def stored(prepared: Prepared, store: ObjectStore, part_size: int | None = None) -> ObjectInfo | None:
    """The object, if it is the segment's file, perhaps sent in parts of *part_size*; None when it is not, or absent."""
    try:
        info = store.head(prepared.key)
    except (ObjectNotFound, CredentialsRefused):
        # S3 answers "forbidden" for what is not there to a role that may not list, as a device's; and the reply to a
        # HEAD never says why. The conditional put that follows overwrites nothing, and is told.
        return None
    return info if is_same(info, prepared, store, part_size) else None


def found_instead(prepared: Prepared, store: ObjectStore, part_size: int | None = None) -> ObjectInfo:
    """The object that was there before ours: our own, of an attempt whose reply was lost, or ObjectConflict is raised.

    Raises ObjectNotFound when it is gone again.
    """
    info = store.head(prepared.key)
    if is_same(info, prepared, store, part_size):
        return info
    raise ObjectConflict(
        f"holds {info.size} bytes that are not those of {prepared.video.name}",
        where=store.uri(prepared.key),
        fix="compare the two; remove the wrong object, then put the file back into ready/",
    )


def is_same(info: ObjectInfo, prepared: Prepared, store: ObjectStore, part_size: int | None = None) -> bool:
    """Whether the object is the segment's file; its bytes are read when no checksum the store has can tell."""
    if info.size != prepared.size:
        return False
    told = is_object(info, prepared.video, prepared.checksum, part_size)
    if told is not None:
        return told
    with store.checkout(info.key) as copy:
        return crc64nvme(copy) == prepared.checksum


def fits(part: Part, body: FileSlice, checksum: Checksum) -> bool:
    """Whether the store's *part* is proved to have the bytes of *body*, whose CRC64NVME is *checksum*."""
    if part.size != body.size:
        return False
    if part.checksum is not None and part.checksum.algorithm == checksum.algorithm:
        return part.checksum == checksum
    return is_part(part, body)


def joined(first: Checksum, second: Checksum, size: int) -> Checksum:
    """The CRC64NVME of the bytes of *first* followed by those of *second*, which are *size*."""
    from awscrt.checksums import combine_crc64nvme

    both = combine_crc64nvme(*(int.from_bytes(base64.b64decode(c.value), "big") for c in (first, second)), size)
    return Checksum(ALGORITHM, base64.b64encode(both.to_bytes(8, "big")).decode("ascii"))
