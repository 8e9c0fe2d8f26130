"""The contract every object store keeps. The conformance suite in ``tests/contracts`` holds every adapter to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from edge_agent.errors import KeyInvalid


@dataclass(frozen=True, slots=True)
class FileSlice:
    """*size* bytes of the file *path* from *offset* on, streamed.

    ``pace`` is called with each number of bytes (at most ``BLOCK``) just before they are handed to the network, and
    may block, which limits the bandwidth, or raise an error of ours, which ends the call with that error at once. What
    is sent again is paced again. A file that ends too early raises IntegrityMismatch.
    """

    path: Path
    offset: int
    size: int
    pace: Callable[[int], object] | None = None


BLOCK = 64 * 1024  # bytes; a paced stream at 64 KiB/s still moves every second

Body = bytes | Path | FileSlice
"""What a put takes: bytes, or a file, or a part of one, that is streamed."""

# Keys of these characters need no encoding in URLs, events, XML or on any file system (measured: facts of S3 clients).
_KEY = re.compile(r"[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*")
_METADATA_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_KEY = 1024  # S3: object key names, UTF-8 bytes
MAX_METADATA = 2048  # S3: user-defined metadata, sum of the bytes of keys and values
MAX_PART = 255  # NAME_MAX of the directory adapter, and nobody needs longer parts


ChecksumName = Literal["crc64nvme", "sha256", "md5"]
"""How an S3 store is asked to verify what it is sent; the later ones are for servers that lack the earlier."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum over the whole object. ``algorithm`` as S3 spells it (``CRC64NVME``); ``value`` is base64.

    A ``SHA256`` of an object that was stored in parts is one over the checksums of its N parts: it ends in ``-N``.
    """

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object without its bytes.

    ``etag`` is opaque, without quotes, and changes whenever the bytes do. ``metadata`` and ``checksum`` are filled by
    every call but ``list``, and by ``complete_multipart`` the checksum alone. ``checksum`` is of the kind the store
    keeps of this object, None when it keeps none. ``version`` is set only where the store keeps versions.
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


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart upload that the store has. ``checksum`` where the store keeps one of each part."""

    number: int
    size: int
    etag: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime


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
        self,
        key: str,
        body: Body,
        *,
        content_type: str = ...,
        metadata: Mapping[str, str] | None = None,
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        """Store *body* unless *key* exists. Raises ObjectExists; of racing callers exactly one succeeds.

        *checksum* is what the caller knows of the body, which spares reading it once more: other bytes are not stored
        and raise IntegrityMismatch.
        """

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

    # -- multipart: an object that is sent in parts, which a crash or a lost link does not undo ---------------------

    def create_multipart(self, key: str, *, content_type: str = ..., metadata: Mapping[str, str] | None = None) -> str:
        """Begin to store *key* in parts; the upload's id. Nothing can be seen of it before it is completed."""

    def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, *, checksum: Checksum | None = None
    ) -> Part:
        """Store part *number* (1 to 10,000), replacing an earlier try. Raises UploadGone, IntegrityMismatch.

        Every part but the last is 5 MiB to 5 GiB. *checksum* is as in :meth:`put_if_absent`.
        """

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """The parts the store has, by number. Raises UploadGone."""

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
        """Make *parts* the object *key* unless it exists; *checksum*, CRC64NVME, is of the whole object.

        *parts* are as the store told them, in the order of their numbers. Where the store keeps a CRC64NVME of the
        whole, that is the proof; elsewhere it is that the object consists of exactly these parts, so a part that was
        listed must have been compared with the file (``checksum.is_part``). Raises ObjectExists, UploadGone (also
        after a completion whose reply was lost), IntegrityMismatch.
        """

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Give the upload and its parts up; no error if it is gone."""

    def list_multiparts(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Every pending upload whose key starts with *prefix*."""


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
