"""One request through the proxy, and its reply back: as they are, or as a fault has it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.support.link_faults import Answer, Blackhole, Delay, Fault, FlipBit, LoseReply, Portal, Reset
from tests.support.s3_http import CHUNK, Head, Operation, body_chunks, error_xml, read_head

_BURST_SECONDS = 0.05  # what a late timer may make good, so that a busy machine shapes to the same rate as an idle one
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds; closing then sends a reset
_PORTAL_PAGE = b"<!DOCTYPE html><html><body>Welcome. Please log in.</body></html>"


@dataclass(slots=True)
class Exchange:
    """One request as the proxy saw it. Times are of the machine's monotonic clock, in seconds.

    ``began``: its head had arrived. ``received``: bytes of its body that arrived here so far. ``status``: of the reply
    the client was sent, 0 without one. ``ended``: when all was over, 0.0 until then.
    """

    operation: Operation
    key: str
    number: int
    began: float
    received: int = 0
    status: int = 0
    ended: float = 0.0


class Bucket:
    """Lets bytes pass at *rate* a second, without end when that is None."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self._free = 0.0

    async def take(self, count: int) -> None:
        """Return when *count* bytes have had the time they need."""
        if self.rate is None:
            return
        now = time.monotonic()
        self._free = max(now - _BURST_SECONDS, self._free) + count / self.rate
        await asyncio.sleep(max(0.0, self._free - now))


class HungUp(Exception):
    """This connection is to be reset."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Carries out one request. Raises HungUp when its connection is to be reset."""

    upstream: tuple[str, int]
    head: Head
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    exchange: Exchange
    up: Bucket
    down: Bucket
    reply_delay: float

    async def carry_out(self, fault: Fault | None, healed: asyncio.Event) -> None:
        """Pass the request on, unless *fault* has it otherwise; a black hole lasts until *healed*."""
        if self.head.fields.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        match fault:
            case Answer(status, code):
                await self._swallow()
                await self._answer(status, "application/xml", error_xml(code))
            case Portal():
                await self._swallow()
                await self._answer(200, "text/html", _PORTAL_PAGE)
            case Blackhole():
                await self._swallow()
                await healed.wait()
                raise HungUp
            case _:
                if isinstance(fault, Delay):
                    await asyncio.sleep(fault.seconds)
                await self._forward(fault)

    async def _incoming(self) -> AsyncIterator[tuple[bytes, bool]]:
        """The request's body as it arrives, shaped and counted; with each piece whether it is content, not framing."""
        async for piece, is_content in body_chunks(self.head.fields, self.reader):
            await self.up.take(len(piece))
            if is_content:
                self.exchange.received += len(piece)
            yield piece, is_content

    async def _swallow(self) -> None:
        async for _ in self._incoming():
            pass

    async def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.exchange.status = status
        lines = f"HTTP/1.1 {status} Injected\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(lines.encode() + (b"" if self.head.method == "HEAD" else body))
        await self.writer.drain()

    async def _forward(self, fault: Fault | None) -> None:
        if fault == Reset(0):
            raise HungUp
        try:
            answers, requests = await asyncio.open_connection(*self.upstream, limit=CHUNK)
        except OSError as error:
            raise HungUp from error
        try:
            requests.write(self.head.without("expect", "connection").encode(("Connection", "close")))
            await self._send_body(requests, fault)
            await self._return_reply(answers, lost=isinstance(fault, LoseReply))
        finally:
            requests.transport.abort()

    async def _send_body(self, requests: asyncio.StreamWriter, fault: Fault | None) -> None:
        seen = 0
        async for piece, is_content in self._incoming():
            sent = piece
            if is_content:
                match fault:
                    case Reset(after) if seen + len(piece) >= after:
                        requests.write(piece[: after - seen])
                        await requests.drain()
                        raise HungUp
                    case FlipBit(at) if seen <= at < seen + len(piece):
                        place = at - seen
                        sent = piece[:place] + bytes([piece[place] ^ 0x10]) + piece[place + 1 :]
                seen += len(piece)
            requests.write(sent)
            await requests.drain()
        if isinstance(fault, Reset):
            raise HungUp

    async def _return_reply(self, answers: asyncio.StreamReader, *, lost: bool) -> None:
        reply = await read_head(answers)
        while reply is not None and 100 <= reply.status < 200:
            reply = await read_head(answers)
        if reply is None:
            raise HungUp
        bodyless = self.head.method == "HEAD" or reply.status in (204, 304)
        until_close = not bodyless and not {"content-length", "transfer-encoding"} & reply.fields.keys()
        arriving = body_chunks({} if bodyless else reply.fields, answers, until_close=until_close)
        pieces = [piece async for piece, _ in arriving]
        await asyncio.sleep(self.reply_delay)
        if lost:
            raise HungUp
        extra = [("Content-Length", str(sum(map(len, pieces))))] if until_close else []
        self.exchange.status = reply.status
        self.writer.write(reply.without("connection").encode(*extra))
        for piece in pieces:
            await self.down.take(len(piece))
            self.writer.write(piece)
        await self.writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
