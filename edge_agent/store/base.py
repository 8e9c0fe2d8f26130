"""The contract every object store keeps. The conformance suite in ``tests/contracts`` holds every adapter to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edge_agent.errors import KeyInvalid

Body = bytes | Path
"""What a put takes: bytes, or the path of a file that is streamed."""

# Keys of these characters need no encoding in URLs, events, XML or on any file system (measured: facts of S3 clients).
_KEY = re.compile(r"[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*")
_METADATA_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_KEY = 1024  # S3: object key names, UTF-8 bytes
MAX_METADATA = 2048  # S3: user-defined metadata, sum of the bytes of keys and values
MAX_PART = 255  # NAME_MAX of the directory adapter, and nobody needs longer parts


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum over the whole object. ``algorithm`` as S3 spells it (``CRC64NVME``); ``value`` is base64."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object without its bytes.

    ``etag`` is opaque, without quotes, and changes whenever the bytes do. ``metadata`` and ``checksum`` are filled by
    every call but ``list``. ``version`` is set only where the store keeps versions.
    """

    key: str
    size: int
    etag: str
    modified: datetime
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksum: Checksum | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes, and what the store says of exactly these bytes."""

    info: ObjectInfo
    body: bytes


class ObjectStore(Protocol):
    """A flat map from safe keys to immutable objects.

    A put is atomic and durable when it returns: readers see the old object or the new one, whole. Every put proves
    end to end that what was stored is what was sent, or raises IntegrityMismatch. Every method may raise KeyInvalid,
    ContainerMissing, CredentialsRefused, StoreUnreachable or StoreThrottled; nothing of the adapter's library leaks.
    Instances may be used by several threads.
    """

    @property
    def name(self) -> str:
        """What events call this store: the bucket, or the directory's last part."""

    def uri(self, key: str) -> str:
        """The object's own URI as manifests carry it: ``s3://bucket/key`` or ``file:///directory/key``."""

    def key_of(self, uri: str) -> str | None:
        """The inverse of :meth:`uri`; None when *uri* is not of this store."""

    def check(self) -> None:
        """Raise the error that would keep a reader of this store from working (no bucket, no rights, no link)."""

    def put(
        self, key: str, body: Body, *, content_type: str = ..., metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store *body* under *key*, replacing what was there."""

    def put_if_absent(
        self, key: str, body: Body, *, content_type: str = ..., metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store *body* unless *key* exists. Raises ObjectExists; of racing callers exactly one succeeds."""

    def put_if_match(
        self, key: str, body: Body, etag: str, *, content_type: str = ..., metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store *body* if *key* still has *etag*. Raises PreconditionFailed, also when the object is gone."""

    def get(self, key: str) -> StoredObject:
        """The object, whole in memory. Raises ObjectNotFound."""

    def head(self, key: str) -> ObjectInfo:
        """What the store knows of *key*. Raises ObjectNotFound."""

    def checkout(self, key: str) -> AbstractContextManager[Path]:
        """The object as a local file to read, for as long as the block lasts. Raises ObjectNotFound."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with *prefix*, in key order (UTF-8 bytes), however many."""

    def delete(self, key: str) -> None:
        """Remove *key*; it is no error if it is not there."""


def check_key(key: str) -> str:
    """*key*, if every store can take it: safe characters, no empty, ``.`` or ``..`` part. Raises KeyInvalid."""
    parts = key.split("/")
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY or any(set(p) <= {"."} or len(p) > MAX_PART for p in parts):
        raise KeyInvalid(
            f"object key {ascii(key)[:120]} cannot be used",
            fix="use parts of letters, digits and . _ = - joined by '/', none of them '.' or '..'",
        )
    return key


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """*metadata* as a dict, if every store can carry it unchanged. Raises KeyInvalid."""
    checked = dict(metadata or {})
    for key, value in checked.items():
        printable = value.isascii() and value.isprintable() and value == value.strip()
        if not _METADATA_KEY.fullmatch(key) or not printable:
            raise KeyInvalid(
                f"object metadata {key!a}: {ascii(value)[:80]} cannot be used",
                fix="use lower-case keys with '-' and printable ASCII values without outer blanks",
            )
    if sum(len(key) + len(value) for key, value in checked.items()) > MAX_METADATA:
        raise KeyInvalid(f"object metadata is over {MAX_METADATA} bytes", fix="store less in it")
    return checked
