"""What S3's replies say of an object. Pure; a reply no object store can have given raises StoreUnreachable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from edge_agent.errors import IntegrityMismatch, StoreUnreachable
from edge_agent.store.base import Body, Checksum, ObjectInfo
from edge_agent.store.checksum import ALGORITHM, chunks_of

Reply = Mapping[str, Any]

OCTETS = "application/octet-stream"
_ALGORITHMS = (ALGORITHM, "CRC32C", "CRC32", "SHA256", "SHA1")


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
    """The checksum over the whole object, ours if there are several; one over the parts (``…-3``) says nothing."""
    for algorithm in _ALGORITHMS:
        value = reply.get(f"Checksum{algorithm}")
        if value and "-" not in value:
            return Checksum(algorithm, str(value))
    return None


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
    if info.checksum is not None and info.checksum.algorithm == found.algorithm and info.checksum != found:
        raise IntegrityMismatch(
            f"what arrived has the checksum {found.value}, the object has {info.checksum.value}", where=where
        )


def verify_put(stored: Checksum | None, sent: Checksum, body: Body, etag: str, where: str) -> None:
    """Raise IntegrityMismatch unless the store proved that it has *body*: by our checksum, else by an MD5 as ETag.

    Servers older than CRC-64/NVME in S3 (2024) ignore it; nearly all of them give the MD5 of a single put as its ETag.
    """
    if stored is not None and stored.algorithm == sent.algorithm:
        if stored != sent:
            raise IntegrityMismatch(f"stored with the checksum {stored.value}, sent with {sent.value}", where=where)
        return
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks_of(body):
        digest.update(chunk)
    if digest.hexdigest() != etag:
        raise IntegrityMismatch(
            "the store does not prove what it stored", where=where, fix=f"use one that keeps {ALGORITHM} checksums"
        )
