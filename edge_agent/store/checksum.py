"""CRC-64/NVME over a whole object, spelt as S3 spells it: the one checksum both ends of every transfer compare."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import BinaryIO

from edge_agent.store.base import Body, Checksum

ALGORITHM = "CRC64NVME"
CHUNK = 1 << 20  # bytes read at a time: large enough to be quick, small enough for a small machine


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


def crc64nvme(body: Body) -> Checksum:
    """The checksum of *body*; a file is streamed. Raises the OSError of a file that cannot be read."""
    running = RunningCrc64Nvme()
    for chunk in chunks_of(body):
        running.update(chunk)
    return running.checksum()


def chunks_of(body: Body) -> Iterator[bytes]:
    """*body* in pieces of at most ``CHUNK`` bytes when it is a file, in one piece when it is bytes."""
    if isinstance(body, bytes):
        yield body
        return
    with body.open("rb") as file:
        yield from file_chunks(file)


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of *file* in pieces of at most ``CHUNK`` bytes."""
    while chunk := file.read(CHUNK):
        yield chunk
