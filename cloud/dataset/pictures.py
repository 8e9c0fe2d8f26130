"""Pictures by what a manifest calls them: a local file where there is one, else the object in its store."""

from __future__ import annotations

import stat
import struct
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from edge_agent.errors import (
    ConfigInvalid,
    ContainerMissing,
    CredentialsRefused,
    EdgeCaptureError,
    ObjectConflict,
    ObjectNotFound,
    StoreError,
    StoreUnreachable,
)
from edge_agent.store.s3 import S3Store
from edge_agent.store.s3_errors import code_of, translated
from edge_agent.store.uri import split_uri

MAX_BYTES = 256_000_000
"""What is read of one picture: far beyond what any service takes, and still no danger to the memory."""

HEAD = 65_536  # bytes: a header lies in them unless a large preview or profile stands before it
THREADS = 8  # at once against one bucket; its client keeps ten connections
AHEAD = 8 * THREADS  # asked for before the first answer is used: memory does not grow with the manifest
_PNG = b"\x89PNG\r\n\x1a\n"
_TYPES = {b"\xff\xd8\xff": "image/jpeg", _PNG: "image/png", b"GIF8": "image/gif", b"BM": "image/bmp"}


NOT_FOR_US = (ContainerMissing, CredentialsRefused)
"""What asking a bucket again does not change."""
CLOSED = (*NOT_FOR_US, StoreUnreachable)  # who looks at pictures does so without a network, too


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's first bytes say of it: pixels, and ``size`` in bytes of the whole."""

    kind: Literal["jpeg", "png", "other"]
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
    closes: tuple[type[EdgeCaptureError], ...] = CLOSED
    _stores: dict[str, S3Store] = field(default_factory=dict)
    _closed: dict[str, EdgeCaptureError] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def local(self, source: str) -> Path | None:
        """The local file that *source* is to be read from; None when it is an object in a bucket."""
        parts = split_uri(source)
        name = unquote(parts.path) if parts.scheme == "file" else parts.path
        tails = [part for part in name.split("/") if part]
        if self.images is not None and ".." not in tails:
            for start in range(len(tails)):
                if is_file(found := self.images.joinpath(*tails[start:])):
                    return found
        if parts.scheme == "file":
            return Path(name)
        if parts.scheme == "" and self.base is not None:
            return self.base / name
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
        with self.asking(source, bucket):
            return self._ranged(source, bucket, key, limit)

    @contextmanager
    def asking(self, source: str, bucket: str) -> Generator[None, None, None]:
        """What is read of *bucket* while the block lasts. Raises ObjectNotFound where ``images`` is to do without it.

        It is to when the first answer is one of ``closes``. A bucket that has answered before is one that is only away
        for a while: that is an error, as without ``images``.
        """
        if (known := self._closed.get(bucket)) is not None:
            raise self._elsewhere(source, known)
        try:
            yield
        except EdgeCaptureError as error:
            if self.images is None or not isinstance(error, self.closes) or bucket in self._answered:
                raise
            self._closed[bucket] = error  # the directory is what is looked at; a second question would only take time
            raise self._elsewhere(source, error) from error
        self._answered.add(bucket)

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


def is_file(path: Path) -> bool:
    """Whether a file is there that this user may look at; never an error."""
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


def media_type(picture: bytes) -> str | None:
    """What *picture* is by its first bytes, if a browser may be shown it; None for anything else (SVG has scripts)."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((name for head, name in _TYPES.items() if picture.startswith(head)), None)


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


def shown_header_of(picture: bytes) -> Header | None:
    """As :func:`header_of`, and of what a browser shows besides, though no labelling service takes it. Pure."""
    try:
        match media_type(picture):
            case "image/gif":
                width, height = struct.unpack_from("<HH", picture, 6)
            case "image/bmp":
                old = struct.unpack_from("<I", picture, 14) == (12,)  # of OS/2, with two bytes a number
                width, height = map(abs, struct.unpack_from("<HH" if old else "<ii", picture, 18))
            case "image/webp":
                width, height = _webp_size(picture)
            case _:
                return header_of(picture, len(picture))
    except struct.error:  # it ends before it says so
        return None
    return Header("other", width, height, len(picture)) if width and height else None


def _webp_size(picture: bytes) -> tuple[int, int]:
    """Of the three kinds there are: https://developers.google.com/speed/webp/docs/riff_container."""
    if picture[12:16] == b"VP8X":
        width, more, height, most = struct.unpack_from("<HBHB", picture, 24)
        return width + (more << 16) + 1, height + (most << 16) + 1
    if picture[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", picture, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", picture, 26)
    return width & 0x3FFF, height & 0x3FFF
