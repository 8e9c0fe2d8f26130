"""Checksums as S3 spells them: CRC-64/NVME over the whole object by choice, SHA-256 and MD5 where a server lacks it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from edge_agent.errors import IntegrityMismatch
from edge_agent.store.base import BLOCK, Body, Checksum, FileSlice, ObjectInfo, Part

ALGORITHM = "CRC64NVME"
SHA256 = "SHA256"
MD5 = "MD5"
CHUNK = 1 << 20  # bytes held in memory at once: large enough to be quick, small enough for a small machine
# Bytes read at a time. What is larger than 128 KiB malloc maps anew each time, and the kernel clears every page of it.
READ = 64 << 10


class Running(Protocol):
    """A checksum that is fed chunk by chunk."""

    def update(self, chunk: bytes) -> None:
        """Take the next *chunk* in."""

    def checksum(self) -> Checksum:
        """The checksum of everything so far."""


class RunningCrc64Nvme:
    """A CRC-64/NVME that is fed chunk by chunk."""

    def __init__(self) -> None:
        # A native library that takes a tenth of a second to load: only those who store something pay for it.
        from awscrt.checksums import crc64nvme as native

        self._native = native
        self._value = 0

    def update(self, chunk: bytes) -> None:
        """Take the next *chunk* in."""
        self._value = self._native(chunk, self._value)

    def checksum(self) -> Checksum:
        """The checksum of everything so far: base64 of eight big-endian bytes."""
        return Checksum(ALGORITHM, base64.b64encode(self._value.to_bytes(8, "big")).decode("ascii"))

    def append(self, rest: RunningCrc64Nvme, length: int) -> None:
        """Take in the *length* bytes that *rest* was fed, without looking at them again."""
        from awscrt.checksums import combine_crc64nvme

        self._value = combine_crc64nvme(self._value, rest._value, length)


class RunningHash:
    """A SHA-256 or MD5 that is fed chunk by chunk; MD5 guards against damage here, not against anybody."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm.lower(), usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        """Take the next *chunk* in."""
        self._hash.update(chunk)

    def checksum(self) -> Checksum:
        """The checksum of everything so far."""
        return Checksum(self._algorithm, base64.b64encode(self._hash.digest()).decode("ascii"))


def running(algorithm: str) -> Running:
    """A new running checksum of *algorithm*, as :class:`Checksum` spells it."""
    return RunningCrc64Nvme() if algorithm == ALGORITHM else RunningHash(algorithm)


def checksums(chunks: Iterable[bytes], *algorithms: str) -> tuple[Checksum, ...]:
    """One checksum per algorithm of what *chunks* are together, which is gone through once."""
    sums = [running(algorithm) for algorithm in algorithms]
    for chunk in chunks:
        for each in sums:
            each.update(chunk)
    return tuple(each.checksum() for each in sums)


def crc64nvme(body: Body) -> Checksum:
    """The checksum of *body*; a file is streamed. Raises the OSError of a file that cannot be read."""
    return checksums(chunks_of(body), ALGORITHM)[0]


def chunks_of(body: Body) -> Iterator[bytes]:
    """*body* in pieces of at most ``READ`` bytes when it is a file, in one piece when it is bytes; never paced."""
    if isinstance(body, bytes):
        yield body
        return
    if isinstance(body, FileSlice):
        yield from _slice_chunks(body, READ)
        return
    with body.open("rb") as file:
        yield from file_chunks(file)


def paced_chunks(body: Body) -> Iterator[bytes]:
    """*body* in pieces, each of them paced just before it is handed out where *body* asks for that."""
    if not isinstance(body, FileSlice) or body.pace is None:
        yield from chunks_of(body)
        return
    for chunk in _slice_chunks(body, BLOCK):
        body.pace(len(chunk))
        yield chunk


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of *file* in pieces of at most ``READ`` bytes."""
    while chunk := file.read(READ):
        yield chunk


def _slice_chunks(body: FileSlice, length: int) -> Iterator[bytes]:
    rest = body.size
    with body.path.open("rb") as file:
        file.seek(body.offset)
        while rest:
            chunk = file.read(min(length, rest))
            if not chunk:
                raise ended(body.path)
            rest -= len(chunk)
            yield chunk


def ended(path: Path) -> IntegrityMismatch:
    """For a file that has become shorter than what was announced of it."""
    return IntegrityMismatch("the file became shorter while it was sent", where=str(path))


# -- objects in parts --------------------------------------------------------------------------------------------------


def composite(parts: Sequence[Part]) -> Checksum | None:
    """The SHA-256 over the SHA-256s of *parts*, as S3 keeps it; None when one of them has none."""
    digests = [part.checksum.value for part in parts if part.checksum and part.checksum.algorithm == SHA256]
    if len(digests) != len(parts):
        return None
    (over,) = checksums([b"".join(base64.b64decode(digest) for digest in digests)], SHA256)
    return Checksum(SHA256, f"{over.value}-{len(digests)}")


def etag_of_parts(parts: Sequence[Part]) -> str:
    """The ETag nearly every server gives an object in parts whose own ETags are MD5s: the MD5 over them, ``-N``.

    "" when the parts' ETags are none: servers that encrypt with keys of their own give opaque ones.
    """
    try:
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    except ValueError:
        return ""
    return f"{digest.hexdigest()}-{len(parts)}"


def hex_of(md5: Checksum) -> str:
    """An MD5 as ETags spell it."""
    return binascii.hexlify(base64.b64decode(md5.value)).decode("ascii")


def is_part(part: Part, body: Body) -> bool:
    """Whether *part*, as a store told it, is proved to be *body*; anything less is to be sent again."""
    if part.checksum is not None:
        return checksums(chunks_of(body), part.checksum.algorithm)[0] == part.checksum
    return hex_of(checksums(chunks_of(body), MD5)[0]) == part.etag


def is_object(info: ObjectInfo, body: Path, crc: Checksum, part_size: int | None) -> bool | None:
    """Whether the object *info* is the file *body*, by what the store says of it alone. None: its bytes must tell.

    *crc* is the CRC64NVME the file is known to have, which spares reading it where the store keeps one. *part_size*
    is that of the upload the object came from, if it came in parts and is known: of another one nothing can be said.
    """
    told = info.checksum
    if told is not None and told.algorithm == crc.algorithm:
        return told == crc
    size = body.stat().st_size
    if info.size != size:
        return False
    algorithm = SHA256 if told is not None and told.algorithm == SHA256 else MD5
    count = _parts_in(info.etag)
    if not count:
        (found,) = checksums(chunks_of(body), algorithm)
        if told is not None and algorithm == SHA256:
            return found == told
        return True if hex_of(found) == info.etag else None  # an ETag need not be an MD5
    pieces = _pieces(body, size, part_size)
    if len(pieces) != count:
        return None
    parts = [
        Part(number, piece.size, hex_of(found) if algorithm == MD5 else "", found)
        for number, piece in enumerate(pieces, 1)
        for found in checksums(chunks_of(piece), algorithm)
    ]
    # Parts of another size have other checksums: nothing that is not equal says no.
    equal = composite(parts) == told if algorithm == SHA256 else etag_of_parts(parts) == info.etag
    return True if equal else None


def _parts_in(etag: str) -> int:
    """The N of an ETag ``…-N``, or 0: the object did not come in parts."""
    _, mark, number = etag.rpartition("-")
    return int(number) if mark and number.isdigit() else 0


def _pieces(path: Path, size: int, part_size: int | None) -> list[FileSlice]:
    step = part_size or size or 1
    return [FileSlice(path, offset, min(step, size - offset)) for offset in range(0, size, step)]
