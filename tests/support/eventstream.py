"""The event stream encoding, as the Greengrass nucleus and its components speak it: a codec, both ways.

A message: total length, headers' length, CRC-32 of both; headers; payload; CRC-32 of all before it. A header:
name's length (1 byte), name, type (1 byte), value; of the types only 32-bit integers (4) and strings (7, with a 16-bit
length) are in use between them. Numbers are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

APPLICATION_MESSAGE, APPLICATION_ERROR, CONNECT, CONNECT_ACK = 0, 1, 4, 5
CONNECTION_ACCEPTED, TERMINATE_STREAM = 1, 2
_PRELUDE = struct.Struct(">II")
_INT32, _STRING = 4, 7


@dataclass(frozen=True)
class Message:
    """One message; ``size`` is what it takes on the wire."""

    type: int
    stream: int
    flags: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    size: int = 0


def encode(message: Message) -> bytes:
    values: dict[str, int | str] = {
        ":message-type": message.type,
        ":message-flags": message.flags,
        ":stream-id": message.stream,
        **message.headers,
    }
    headers = b"".join(_header(name, value) for name, value in values.items())
    prelude = _PRELUDE.pack(16 + len(headers) + len(message.payload), len(headers))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + message.payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def read(stream: BinaryIO) -> Message | None:
    """The next message; None at the end. A bad checksum is an AssertionError."""
    start = stream.read(12)
    if len(start) < 12:
        return None
    total, length = _PRELUDE.unpack(start[:8])
    rest = stream.read(total - 12)
    if len(rest) < total - 12:
        return None
    assert zlib.crc32(start[:8]) == struct.unpack(">I", start[8:])[0]
    assert zlib.crc32(start + rest[:-4]) == struct.unpack(">I", rest[-4:])[0]
    values = _headers(rest[:length])
    numbers = [values.pop(name) for name in (":message-type", ":stream-id", ":message-flags")]
    kind, number, flags = (value if isinstance(value, int) else -1 for value in numbers)
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return Message(kind, number, flags, texts, rest[length:-4], total)


def _header(name: str, value: int | str) -> bytes:
    start = bytes([len(name)]) + name.encode()
    if isinstance(value, int):
        return start + struct.pack(">Bi", _INT32, value)
    return start + struct.pack(">BH", _STRING, len(value.encode())) + value.encode()


def _headers(data: bytes) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    while data:
        name, data = data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
        if data[0] == _INT32:
            (found[name],) = struct.unpack(">i", data[1:5])
            data = data[5:]
        else:
            assert data[0] == _STRING, f"header of type {data[0]}"
            (size,) = struct.unpack(">H", data[1:3])
            found[name], data = data[3 : 3 + size].decode(), data[3 + size :]
    return found
