"""Pictures by what a manifest calls them: a local file where there is one, else the object in its store."""

from __future__ import annotations

import stat
import struct
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from edge_agent.errors import ConfigInvalid, EdgeCaptureError, ObjectConflict, ObjectNotFound, Scope, StoreError
from edge_agent.store.s3 import S3Store
from edge_agent.store.s3_errors import code_of, translated
from edge_agent.store.uri import split_uri

MAX_BYTES = 256_000_000
"""What is read of one picture: far beyond what any service takes, and still no danger to the memory."""

HEAD = 65_536  # bytes: a header lies in them unless a large preview or profile stands before it
THREADS = 8  # at once against one bucket; its client keeps ten connections
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's first bytes say of it: pixels, and ``size`` in bytes of the whole."""

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    size: int


@dataclass(slots=True)
class Pictures:
    """Reads pictures. ``images``: a directory that is looked into first, by the longest tail of the picture's name.

    With it, a bucket that cannot be read at all has no pictures, instead of being the end. ``base`` is what relative
    names are relative to. Threads may share it; ``close()`` lets connections go.
    """

    images: Path | None = None
    base: Path | None = None
    endpoint_url: str | None = None
    _stores: dict[str, S3Store] = field(default_factory=dict)
    _closed: dict[str, EdgeCaptureError] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def local(self, source: str) -> Path | None:
        """The local file that *source* is to be read from; None when it is an object in a bucket."""
        parts = split_uri(source)
        name = unquote(parts.path) if parts.scheme in ("file", "") else parts.path
        tails = [part for part in name.split("/") if part]
        if self.images is not None and ".." not in tails and "\0" not in name:
            for start in range(len(tails)):
                if _is_file(found := self.images.joinpath(*tails[start:])):
                    return found
        if parts.scheme == "file":
            return Path(name)
        if parts.scheme == "" and self.base is not None and ".." not in tails:
            return self.base / name.lstrip("/")
        return None

    def read(self, source: str) -> bytes:
        """The whole picture. Raises ObjectNotFound, ObjectConflict when it is larger than ``MAX_BYTES``, StoreError."""
        return self._read(source, MAX_BYTES)[0]

    def head(self, source: str) -> tuple[bytes, int]:
        """The first bytes of the picture, at least ``HEAD`` if it has as many, and its size. Raises as ``read``."""
        return self._read(source, HEAD)

    def header(self, source: str) -> Header:
        """Raises as ``read``, and ObjectConflict when it is no JPEG or PNG."""
        data, size = self.head(source)
        found = header_of(data, size)
        if found is None and HEAD < size <= MAX_BYTES:
            found = header_of(self.read(source), size)
        if found is None:
            what = "is empty" if not size else "is no JPEG or PNG picture"
            raise ObjectConflict(what, where=source, fix="make it anew")
        return found

    def _read(self, source: str, limit: int) -> tuple[bytes, int]:
        path = self.local(source)
        data, size = _from_file(path, limit) if path is not None else self._from_bucket(source, limit)
        if limit == MAX_BYTES < size:
            raise ObjectConflict(f"has {size:,} bytes", where=source, fix="no picture for labelling is that large")
        return data, size

    def _from_bucket(self, source: str, limit: int) -> tuple[bytes, int]:
        parts = split_uri(source)
        bucket, key = parts.netloc, source.partition("://")[2].partition("/")[2]
        if parts.scheme != "s3" or not bucket or not key:
            raise ConfigInvalid("is no s3://bucket/key and no file", where=source, fix="say where it is: --images DIR")
        if (known := self._closed.get(bucket)) is not None:
            raise self._elsewhere(source, known)
        try:
            return self._ranged(source, bucket, key, limit)
        except EdgeCaptureError as error:
            if self.images is None or error.scope is not Scope.LINK:
                raise
            self._closed[bucket] = error  # the directory is what is looked at; a second question would only take time
            raise self._elsewhere(source, error) from error

    def _elsewhere(self, source: str, error: EdgeCaptureError) -> ObjectNotFound:
        return ObjectNotFound(f"is not in {self.images}, and its bucket cannot be read: {error.what}", where=source)

    def _ranged(self, source: str, bucket: str, key: str, limit: int) -> tuple[bytes, int]:
        client = self.store(bucket).client
        try:
            with translated(source):
                reply = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{limit - 1}")
                with closing(reply["Body"]) as stream:
                    data = stream.read()
        except StoreError as error:
            if code_of(error.__cause__) != "InvalidRange":
                raise
            return b"", 0  # an empty object has no first byte
        whole = reply.get("ContentRange", "").rpartition("/")[2]
        return data, int(whole) if whole.isdecimal() else len(data)

    def store(self, bucket: str) -> S3Store:
        with self._lock:
            if bucket not in self._stores:
                self._stores[bucket] = S3Store(bucket, endpoint_url=self.endpoint_url)
            return self._stores[bucket]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any there can be, a directory that may not be looked into
        return False


def _from_file(path: Path, limit: int) -> tuple[bytes, int]:
    where = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits for ever
            raise ObjectNotFound("is no file", where=where)
        with path.open("rb") as file:
            return file.read(limit), status.st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFound("is not there", where=where) from error
    except (OSError, ValueError) as error:
        raise ObjectConflict(f"cannot be read: {error}", where=where) from error


def header_of(data: bytes, size: int) -> Header | None:
    """What the first bytes *data* of a picture of *size* bytes say; None when they are no JPEG's or PNG's. Pure."""
    if data.startswith(_PNG):
        if len(data) < 24 or data[12:16] != b"IHDR":
            return None
        width, height = struct.unpack(">II", data[16:24])
        return Header("png", width, height, size) if width and height else None
    if not data.startswith(b"\xff\xd8"):
        return None
    import simplejpeg

    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):  # KeyError: it ends before it says its colours
        return None
    return Header("jpeg", width, height, size)
