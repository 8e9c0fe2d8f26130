"""What the S3 client library is given to send: it reads a body to sign it, reads it again to send it, and rewinds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from edge_agent.errors import EdgeCaptureError, IntegrityMismatch
from edge_agent.store.base import BLOCK, Body, Checksum, FileSlice
from edge_agent.store.checksum import CHUNK, READ, checksums, ended

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Stopped(BaseException):
    """Carries an error out through the library, which would take any Exception for trouble on the line and retry."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Slice(io.RawIOBase):
    """*size* bytes of the open file *descriptor* from *offset* on; ends early, and says no more, where it fails.

    Native code that signs passes no error on: sending will meet it again.
    """

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._position)]
        try:
            got = os.preadv(self._descriptor, [wanted], self._offset + self._position) if wanted else 0
        except OSError:
            return 0
        self._position += got
        return got


class FileBody:
    """A part of an open file as the library reads it. ``pace`` is called for what is read to be sent, and only then.

    ``readinto1`` is what awscrt's signer prefers to ``read``, and calls for every 4 KiB: 262,144 times a GiB.
    """

    def __init__(
        self, descriptor: int, path: Path, offset: int, size: int, pace: Callable[[int], object] | None
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._offset = offset
        self._size = size
        self._pace = pace
        self._position = 0
        self._sending = False
        self._signed = io.BufferedReader(_Slice(descriptor, offset, size), READ)
        self.readinto1 = self._signed.readinto1

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Whatever rewinds is not sending yet: the library does so after signing, and before it tries again."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        self._sending = False
        self._signed.seek(self._position)
        return self._position

    def send(self) -> None:
        """From here on reading is sending."""
        self._sending = True

    def read(self, size: int = -1) -> bytes:
        """For the library. What is sent comes in pieces of ``BLOCK`` bytes, whatever *size* is asked for.

        The library asks for 16 KiB, sends what it gets and asks again: that would be four times the calls.
        """
        try:
            if not self._sending:
                return self._take(self._size if size < 0 else size)
            length = min(BLOCK, self._size - self._position)
            if length and self._pace is not None:
                self._pace(length)
            return self._take(length)
        except (EdgeCaptureError, OSError) as error:
            if self._sending:
                raise _Stopped(error) from error
            return b""  # signing is done by native code that passes no error on; sending will meet it again

    def chunks(self) -> Iterator[bytes]:
        """Everything, from the start; afterwards it stands at the start again."""
        self.seek(0)
        while chunk := self._take(READ):
            yield chunk
        self.seek(0)

    def _take(self, length: int) -> bytes:
        """The next bytes, at most *length*, none at the end. Raises IntegrityMismatch when the file ends before."""
        length = min(length, self._size - self._position)
        chunk = os.pread(self._descriptor, length, self._offset + self._position) if length else b""
        if length and not chunk:
            raise ended(self._path)
        self._position += len(chunk)
        return chunk


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A body ready to be sent, and the checksum to send with it."""

    content: bytes | IO[bytes]
    size: int
    checksum: Checksum


@contextmanager
def outgoing(body: Body, algorithm: str, known: Checksum | None = None) -> Iterator[Outgoing]:
    """*body* with its checksum of *algorithm*, for as long as the block lasts; small files are read just once.

    *known* is what the caller says the checksum is: where the server compares with the same kind, it is not computed
    here. Raises IntegrityMismatch when it is another kind and wrong, the OSError of a file that cannot be read, and
    what pacing raises, also out of the block.
    """
    try:
        if isinstance(body, bytes):
            yield _with_checksum(body, len(body), algorithm, known)
            return
        path = body.path if isinstance(body, FileSlice) else body
        with path.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            if isinstance(body, FileSlice):
                content = FileBody(descriptor, path, body.offset, body.size, body.pace)
            else:
                content = FileBody(descriptor, path, 0, os.fstat(descriptor).st_size, None)
            small = len(content) <= CHUNK and not (isinstance(body, FileSlice) and body.pace)
            yield _with_checksum(b"".join(content.chunks()) if small else content, len(content), algorithm, known)
    except _Stopped as stopped:
        raise stopped.error from None


def _with_checksum(content: bytes | FileBody, size: int, algorithm: str, known: Checksum | None) -> Outgoing:
    if known is not None and known.algorithm == algorithm:
        return Outgoing(_readable(content), size, known)
    chunks = [content] if isinstance(content, bytes) else content.chunks()
    if known is None:
        return Outgoing(_readable(content), size, checksums(chunks, algorithm)[0])
    wanted, found = checksums(chunks, algorithm, known.algorithm)
    if found != known:
        raise IntegrityMismatch(f"the bytes to be sent have the checksum {found.value}, not {known.value}")
    return Outgoing(_readable(content), size, wanted)


def _readable(content: bytes | FileBody) -> bytes | IO[bytes]:
    """As the library's types have it; of a file it uses no more than FileBody has."""
    return content if isinstance(content, bytes) else cast("IO[bytes]", content)


def begin_sending(request: Any, **_: object) -> None:
    """For the client's event ``request-created.s3``, last in line: the request is signed, what follows is sending."""
    if isinstance(request.body, FileBody):
        request.body.send()
