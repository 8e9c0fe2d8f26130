"""What S3's replies say of an object. Pure; a reply no object store can have given raises StoreUnreachable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from edge_agent.errors import IntegrityMismatch, StoreUnreachable
from edge_agent.store.base import Body, Checksum, ObjectInfo, Part
from edge_agent.store.checksum import ALGORITHM, MD5, SHA256, checksums, chunks_of, composite, etag_of_parts, hex_of

Reply = Mapping[str, Any]

OCTETS = "application/octet-stream"
_ALGORITHMS = (ALGORITHM, SHA256, "CRC32C", "CRC32", "SHA1")


def no_store(where: str) -> StoreUnreachable:
    """For a reply that says yes without saying anything an object store would."""
    return StoreUnreachable(
        "something that is no object store answered",
        where=where,
        fix="log in to the network if it asks for that in a browser, and check the endpoint URL and proxy",
    )


def etag_in(reply: Reply) -> str:
    return str(reply["ETag"]).strip('"')


def version_in(reply: Reply) -> str | None:
    """The version, where the bucket keeps versions; what was put before it did has the version ``null``."""
    version = reply.get("VersionId")
    return str(version) if version and version != "null" else None


def checksum_in(reply: Reply) -> Checksum | None:
    """The checksum over the whole object, ours if there are several; else a SHA-256 over its parts' (``…-3``)."""
    found = [Checksum(name, str(value)) for name in _ALGORITHMS if (value := reply.get(f"Checksum{name}"))]
    whole = [checksum for checksum in found if "-" not in checksum.value]
    in_parts = [checksum for checksum in found if checksum.algorithm == SHA256]
    return next(iter(whole + in_parts), None)


def read_algorithm(info: ObjectInfo) -> str:
    """Of which kind a checksum of the object's bytes must be, to be compared with what the store says of them."""
    known = info.checksum is not None and info.checksum.algorithm in (ALGORITHM, SHA256)
    return info.checksum.algorithm if known and info.checksum else ALGORITHM


def date_in(reply: Reply) -> datetime | None:
    """When the store says it answered."""
    try:
        return parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return None


def info_in(reply: Reply, key: str, where: str) -> ObjectInfo:
    """What the reply to a HEAD or GET says of *key*."""
    if "ETag" not in reply or "LastModified" not in reply:
        raise no_store(where)
    return ObjectInfo(
        key=key,
        size=int(reply["ContentLength"]),
        etag=etag_in(reply),
        modified=reply["LastModified"],
        content_type=str(reply.get("ContentType", OCTETS)),
        metadata={name.lower(): value for name, value in reply.get("Metadata", {}).items()},
        checksum=checksum_in(reply),
        version=version_in(reply),
    )


def verify_read(info: ObjectInfo, found: Checksum, where: str) -> None:
    """Raise IntegrityMismatch if the bytes that arrived, with the checksum *found*, are not the object's."""
    stored = info.checksum
    if stored is None or stored.algorithm != found.algorithm or "-" in stored.value:
        return
    if stored != found:
        raise IntegrityMismatch(
            f"what arrived has the checksum {found.value}, the object has {stored.value}", where=where
        )


def verify_put(stored: Checksum | None, sent: Checksum, body: Body, etag: str, where: str) -> None:
    """Raise IntegrityMismatch unless the store proved that it has *body*: by our checksum, else by an MD5 as ETag.

    Servers older than CRC-64/NVME in S3 (2024) ignore it; nearly all of them give the MD5 of a single put as its ETag.
    """
    if stored is not None and stored.algorithm == sent.algorithm:
        if stored != sent:
            raise IntegrityMismatch(f"stored with the checksum {stored.value}, sent with {sent.value}", where=where)
        return
    md5 = sent
    if sent.algorithm != MD5:
        md5, found = checksums(chunks_of(body), MD5, sent.algorithm)
        if found != sent:  # the caller had said what it is, and the store did not compare
            raise IntegrityMismatch(f"sent with the checksum {found.value}, not {sent.value}", where=where)
    if hex_of(md5) != etag:
        raise _unproved(where)


def verify_complete(
    stored: Checksum | None, algorithm: str, parts: Sequence[Part], whole: Checksum, etag: str, where: str
) -> None:
    """Raise IntegrityMismatch unless the store proved that the object is *whole*, or exactly *parts*."""
    expected = whole if algorithm == ALGORITHM else composite(parts)
    if stored is not None and expected is not None and stored.algorithm == expected.algorithm:
        if stored != expected:
            raise IntegrityMismatch(
                f"stored with the checksum {stored.value}, sent with {expected.value}",
                where=where,
                fix="remove the object, it is damaged",
            )
    elif etag_of_parts(parts) != etag:
        raise _unproved(where)


def _unproved(where: str) -> IntegrityMismatch:
    return IntegrityMismatch(
        "the store does not prove what it stored",
        where=where,
        fix="set store.checksum to a kind that it keeps, or use a store that keeps one",
    )
