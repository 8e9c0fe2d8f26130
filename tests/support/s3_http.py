"""As much of HTTP/1.1 and of S3's requests as a proxy or a server of the tests' own needs to read. Path style only."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 1 << 14  # bytes handled at a time


class Operation(enum.StrEnum):
    """What a request asks of S3."""

    PUT = "put"
    GET = "get"
    HEAD = "head"
    DELETE = "delete"
    LIST = "list"
    CREATE = "create"
    PART = "part"
    LIST_PARTS = "list_parts"
    COMPLETE = "complete"
    ABORT = "abort"
    LIST_UPLOADS = "list_uploads"
    BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Head:
    """The first lines of a request or a reply. ``fields`` has lower-case names."""

    first: str
    headers: tuple[tuple[str, str], ...]

    @property
    def method(self) -> str:
        return self.first.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def fields(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers}

    def without(self, *names: str) -> Head:
        return Head(self.first, tuple(pair for pair in self.headers if pair[0].lower() not in names))

    def encode(self, *more: tuple[str, str]) -> bytes:
        lines = [self.first, *(f"{name}: {value}" for name, value in (*self.headers, *more)), "", ""]
        return "\r\n".join(lines).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head on the connection; None when the other side has ended it."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(first, tuple((name.strip(), value.strip()) for name, _, value in pairs))


async def body_chunks(
    fields: Mapping[str, str], reader: asyncio.StreamReader, *, until_close: bool = False
) -> AsyncIterator[tuple[bytes, bool]]:
    """The body that follows a head with *fields*, byte for byte; with each piece whether it is content, not framing.

    With *until_close* a body without a length ends with its connection. Raises IncompleteReadError.
    """
    if "chunked" in fields.get("transfer-encoding", "").lower():
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line, False
            left = int(line.split(b";")[0], 16)
            if not left:
                break
            async for piece in _exactly(reader, left):
                yield piece, True
            yield await reader.readexactly(2), False
        while True:  # trailers, to the empty line
            line = await reader.readuntil(b"\r\n")
            yield line, False
            if line == b"\r\n":
                return
    elif length := int(fields.get("content-length", 0)):
        async for piece in _exactly(reader, length):
            yield piece, True
    elif until_close and fields:
        while piece := await reader.read(CHUNK):
            yield piece, True


async def _exactly(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        piece = await reader.read(min(left, CHUNK))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


def query_of(target: str) -> dict[str, str]:
    """The query of a request's target; names without a value have an empty one."""
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}


def operation_of(method: str, target: str) -> tuple[Operation, str, int]:
    """What a request asks for, of which key ("" for the bucket), and for a part its number, else 0. Pure."""
    query = query_of(target)
    _, _, key = unquote(urlsplit(target).path).lstrip("/").partition("/")
    number = int(query.get("partNumber", 0))
    if not key:
        listing = Operation.LIST_UPLOADS if "uploads" in query else Operation.LIST
        return (listing if method == "GET" and "location" not in query else Operation.BUCKET), "", 0
    several = "uploadId" in query
    operations = {
        "PUT": Operation.PART if several else Operation.PUT,
        "POST": Operation.COMPLETE if several else Operation.CREATE,
        "GET": Operation.LIST_PARTS if several else Operation.GET,
        "DELETE": Operation.ABORT if several else Operation.DELETE,
        "HEAD": Operation.HEAD,
    }
    return operations[method], key, number


def error_xml(code: str) -> bytes:
    """The body S3 gives with an error."""
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'.encode()
