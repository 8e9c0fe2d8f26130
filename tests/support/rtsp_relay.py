"""Stands between a recorder and a real RTSP camera, and spoils what the camera sends; counts it, too.

One thread with an event loop. Over TCP the RTP and RTCP that are interleaved with RTSP (RFC 2326, 10.12) are seen one
by one; over UDP the relay puts ports of its own into SETUP and passes datagrams on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from tests.support.ports import free_port

NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
SENDER_REPORT = 200  # RFC 3550, 6.4.1
RTP_CLOCK = 90_000  # of video


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture that was passed on: its RTP time, and when its last packet went out (seconds since the epoch)."""

    rtp: int
    sent: float


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What the recorder was told: *wall* (seconds since the epoch) is when the picture of RTP time *rtp* was taken."""

    wall: float
    rtp: int

    def taken(self, frame: Frame) -> float:
        """When *frame* was taken, by the camera's clock."""
        ticks = (frame.rtp - self.rtp + (1 << 31)) % (1 << 32) - (1 << 31)
        return self.wall + ticks / RTP_CLOCK


@dataclass(slots=True)
class Connection:
    """What one recorder's connection was given."""

    frames: list[Frame] = field(default_factory=list)
    reports: list[SenderReport] = field(default_factory=list)
    dropped: int = 0  # packets of RTP that were kept back
    muted: int = -1  # the RTP time of the last picture that was kept back on purpose
    whole: set[int] = field(default_factory=set)  # RTP times of which all packets so far were passed on
    torn: set[int] = field(default_factory=set)  # of which some were
    lost: set[int] = field(default_factory=set)  # of which none was
    over: bool = False

    def note(self, moment: int, passed: bool) -> None:
        """A packet of the picture of RTP time *moment* was passed on or kept back."""
        self.dropped += not passed
        if moment in self.torn:
            return
        place, other = (self.whole, self.lost) if passed else (self.lost, self.whole)
        if moment in other:
            other.discard(moment)
            self.torn.add(moment)
        else:
            place.add(moment)


@dataclass(slots=True)
class Relay:
    """The relay's address, what it does to the packets, and what each connection was given. Set from any thread."""

    port: int
    camera_port: int
    clock_ahead: float = 0.0  # seconds the camera's clock is said to be ahead of the true one
    loss: float = 0.0  # share of RTP packets that get lost
    mute: bool = False  # nothing but RTSP is passed on
    unanswered: str = ""  # this RTSP method, as DESCRIBE, never gets an answer
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    connections: list[Connection] = field(default_factory=list)

    def url(self, number: int = 0) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{number}"

    def passes(self, packet: bytes, connection: Connection) -> bool:
        """Whether this packet of RTP arrives; counts it."""
        moment = int.from_bytes(packet[4:8])
        if self.mute and moment not in connection.whole | connection.torn:
            connection.muted = moment  # whole pictures are
        passes = moment != connection.muted and self.chance.random() >= self.loss
        connection.note(moment, passes)
        if passes and packet[1] & 0x80:  # the marker bit: a picture's last packet
            connection.frames.append(Frame(moment, time.time()))
        return passes

    def reported(self, packet: bytes, connection: Connection) -> bytes:
        """The RTCP *packet* with its sender report as a camera of another clock would have written it."""
        if packet[1] != SENDER_REPORT:  # in a compound packet it comes first
            return packet
        ntp = int.from_bytes(packet[8:16]) + int(self.clock_ahead * (1 << 32))
        wall, rtp = ntp / (1 << 32) - NTP_EPOCH, int.from_bytes(packet[16:20])
        connection.reports.append(SenderReport(wall, rtp))
        return packet[:8] + ntp.to_bytes(8) + packet[16:]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One recorder's connection, until either side ends it."""
        connection = Connection()
        self.connections.append(connection)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(setattr, connection, "over", True)
            stack.push_async_callback(_closed, writer)
            try:
                from_camera, to_camera = await asyncio.open_connection("127.0.0.1", self.camera_port)
            except ConnectionError:
                return
            stack.push_async_callback(_closed, to_camera)
            ports = stack.enter_context(contextlib.ExitStack())

            async def request(head: str) -> str:
                if self.unanswered and head.startswith(self.unanswered):
                    return ""
                found = re.search(r"client_port=(\d+)-(\d+)", head)
                if found is None:
                    return head
                pair = await self._datagrams(int(found[1]), connection, ports)
                return head.replace(found[0], f"client_port={pair}-{pair + 1}")

            async def reply(head: str) -> str:
                return head

            def spoil(channel: int, packet: bytes) -> bytes | None:
                if channel % 2:
                    return None if self.mute else self.reported(packet, connection)
                return packet if self.passes(packet, connection) else None

            ways = [
                asyncio.create_task(_pump(reader, to_camera, request, lambda _, packet: packet)),
                asyncio.create_task(_pump(from_camera, writer, reply, spoil)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _datagrams(self, client_port: int, connection: Connection, stack: contextlib.ExitStack) -> int:
        """Pass on what comes to a pair of ports to *client_port* and the next; the first of the pair."""
        loop = asyncio.get_running_loop()
        while True:
            port = free_port() & ~1
            with contextlib.ExitStack() as opened:
                try:
                    for number in range(2):
                        target = ("127.0.0.1", client_port + number)
                        way, _ = await loop.create_datagram_endpoint(
                            lambda number=number, target=target: _Datagrams(self, connection, number, target),  # type: ignore[misc]
                            local_addr=("127.0.0.1", port + number),
                        )
                        opened.callback(way.close)
                except OSError:
                    continue  # one of the two is in use
                stack.enter_context(opened.pop_all())
                return port


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP port: RTP (channel 0) or RTCP (1)."""

    def __init__(self, relay: Relay, connection: Connection, channel: int, target: tuple[str, int]) -> None:
        self._relay, self._connection, self._channel, self._target = relay, connection, channel, target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast("asyncio.DatagramTransport", transport)  # which CPython 3.11 does not derive it from

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._channel:
            if not self._relay.mute:
                self._out.sendto(self._relay.reported(data, self._connection), self._target)
        elif self._relay.passes(data, self._connection):
            self._out.sendto(data, self._target)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    change: Callable[[str], Awaitable[str]],
    spoil: Callable[[int, bytes], bytes | None],
) -> None:
    """Pass on RTSP messages, *change*-d, and interleaved packets, *spoil*-ed, until the sender ends."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            first = await reader.readexactly(1)
            if first == b"$":
                head = await reader.readexactly(3)
                packet: bytes | None = await reader.readexactly(int.from_bytes(head[1:]))
                if (packet := spoil(head[0], packet or b"")) is not None:
                    writer.write(first + head + packet)
            else:
                text = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", text)
                body = await reader.readexactly(int(length[1])) if length else b""
                writer.write((await change(text)).encode() + body)
            await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextmanager
def relay_to(camera_port: int) -> Iterator[Relay]:
    """A relay to the camera at *camera_port*, while the block lasts. The camera may come and go."""
    relay = Relay(free_port(), camera_port)
    ready, loops = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(relay.serve, "127.0.0.1", relay.port)
        loops.append((asyncio.get_running_loop(), stop))
        ready.set()
        async with server:
            await stop.wait()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="rtsp-relay")
    thread.start()
    assert ready.wait(60)
    try:
        yield relay
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
