"""A proxy of the tests' own in front of an S3 server: counts what arrives, and does what links do.

It speaks HTTP/1.1 on the loopback interface, one request of a connection after the other, and passes each on over a
connection of its own. What it does wrong is injected, and changed, while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.support.link_faults import Fault, Injected
from tests.support.relay import Bucket, Exchange, HungUp, Relay, reset
from tests.support.s3_http import CHUNK, Head, Operation, operation_of, read_head

T = TypeVar("T")
_RECEIVE_BUFFER = 1 << 17  # what a slow link's modem would hold, not the megabytes of a loopback socket


@dataclass
class Proxy:
    """What a test holds: ``url`` for the client, and the switches. ``reply_delay``: seconds each reply comes late."""

    upstream: tuple[str, int]
    port: int = 0
    reply_delay: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    on_request: Callable[[Exchange], object] | None = None
    _injected: list[Injected] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _up: Bucket = field(default_factory=Bucket)
    _down: Bucket = field(default_factory=Bucket)
    _healed: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def inject(
        self, fault: Fault, *operations: Operation, key: str = "", times: int | None = None, after: int = 0
    ) -> Injected:
        """Let *fault* happen to requests for *operations* (any when none is named) with *key* in their key.

        The first *after* of them are spared; then *times* of them are met, all when None. Of several faults that would
        meet a request, the one injected first does.
        """
        injected = Injected(fault, frozenset(operations), key, after, times)
        with self._lock:
            self._injected.append(injected)
        return injected

    def heal(self) -> None:
        """Everything is passed on again."""
        with self._lock:
            self._injected.clear()
        self._call(self._let_go())

    def shape(self, bytes_per_second: float | None) -> None:
        """Let this much pass each way, or, with None, all there is."""
        self._up.rate = self._down.rate = bytes_per_second

    def go_down(self) -> None:
        """Refuse connections, and reset those there are."""
        self._call(self._close_server())

    def come_up(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._open_server())

    def count(self, *operations: Operation) -> int:
        """How many requests for *operations* arrived; all when none is named."""
        return sum(1 for seen in list(self.exchanges) if not operations or seen.operation in operations)

    def received(self, *operations: Operation, key: str = "") -> int:
        """Bytes of bodies that arrived for *operations* with *key* in the key; puts and parts when none is named."""
        wanted = operations or (Operation.PUT, Operation.PART)
        return sum(seen.received for seen in list(self.exchanges) if seen.operation in wanted and key in seen.key)

    # -- inside its thread -----------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open_server(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=CHUNK)

    async def _close_server(self) -> None:
        self._server.close()
        await self._reset_all()

    async def _let_go(self) -> None:
        """Reset what hangs in a black hole."""
        self._healed.set()
        self._healed = asyncio.Event()

    async def _reset_all(self) -> None:
        for writer in list(self._open):
            reset(writer)
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (head := await read_head(reader)) is not None:
                    await self._exchange(head, reader, writer)
                writer.close()
                await writer.wait_closed()
        except HungUp:
            reset(writer)
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _exchange(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(*operation_of(head.method, head.target), began=time.monotonic())
        self.exchanges.append(exchange)
        if self.on_request is not None:
            self.on_request(exchange)
        relay = Relay(self.upstream, head, reader, writer, exchange, self._up, self._down, self.reply_delay)
        try:
            await relay.carry_out(self._fault_for(exchange.operation, exchange.key), self._healed)
        finally:
            exchange.ended = time.monotonic()

    def _fault_for(self, operation: Operation, key: str) -> Fault | None:
        with self._lock:
            for injected in self._injected:
                if not injected.meets(operation, key):
                    continue
                if injected.spare:
                    injected.spare -= 1
                    continue
                injected.done += 1
                injected.left = injected.left and injected.left - 1
                return injected.fault
        return None

    # -- its life --------------------------------------------------------------------------------------------------

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._live(started))

    async def _live(self, started: threading.Event) -> None:
        await self._open_server()
        started.set()
        await self._stop.wait()
        await self._close_server()
        await asyncio.sleep(0)  # transports say goodbye in the next round


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of the server at the URL *upstream*, as long as the block lasts."""
    address = urlsplit(upstream)
    assert address.hostname is not None
    assert address.port is not None
    made = Proxy((address.hostname, address.port))
    started = threading.Event()
    thread = threading.Thread(target=made._run, args=(started,), name="proxy")
    thread.start()
    try:
        assert started.wait(60), "the proxy did not start"
        yield made
    finally:
        made._loop.call_soon_threadsafe(made._stop.set)
        thread.join()
