"""Whether the store's address can be reached again, when no link of this box went down: an outage further up."""

from __future__ import annotations

import os
import random
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from edge_agent.clock import Clock
from edge_agent.upload.netlink import SPREAD_SECONDS

TRY_SECONDS = 0.8  # one connection is begun this often while looking: some 60 bytes each, from a link that is down none
ANSWER_SECONDS = 5.0  # a slow link answers later than the next try begins
REFRESH_SECONDS = 600.0  # S3's addresses change, but serve for hours

Address = tuple[int, tuple[Any, ...]]
"""Family and address of a socket."""


def target_of(url: str) -> tuple[str, int]:
    """Host and port that a request to *url* connects to: a proxy, where the environment says so."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(f"{host}:{port}"):
        found = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        return found.hostname or "", found.port or (443 if found.scheme == "https" else 80)
    return host, port


class Reach:
    """Says when *host* takes connections again, having taken none. A thread of its own; to be closed.

    Between :meth:`seek` and :meth:`rest` a connection to *port* is begun every TRY_SECONDS and closed as soon as it
    stands. When one stands after one did not, or while an older one hangs, *on_up* is called, up to SPREAD_SECONDS
    later by chance (*draw* gives a number in [0, 1)): so a store that answers but refuses is not asked more often for
    it. The first address of each family is tried, as last resolved while at rest: nobody waits for a name server that
    is away, too.
    """

    def __init__(
        self, host: str, port: int, on_up: Callable[[], object], clock: Clock, draw: Callable[[], float] = random.random
    ) -> None:
        self._host = host
        self._port = port
        self._on_up = on_up
        self._clock = clock
        self._draw = draw
        self._addresses: list[Address] = []
        self._seeking = False
        self._hangs = False
        self._stop = threading.Event()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="reach", daemon=True)  # a name server may not answer
        self._thread.start()

    def seek(self, *, hangs: bool = False) -> None:
        """The store cannot be reached: say when it can. *hangs*: over a connection there is; a new one may stand."""
        self._hangs = hangs
        self._tell(seeking=True)

    def rest(self) -> None:
        """The store has answered, or nobody wants to know."""
        self._tell(seeking=False)

    def close(self) -> None:
        """Call no more; join the thread, which takes as long as the resolver when it is just asked."""
        self._stop.set()
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        os.close(self._bell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, *, seeking: bool) -> None:
        if self._seeking != seeking:
            self._seeking = seeking
            os.eventfd_write(self._bell, 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._seeking:
                self._seek_once()
            else:
                self._resolve()
                self._idle(REFRESH_SECONDS)

    def _seek_once(self) -> None:
        """Look until the store can be reached, having been out of reach, or nobody wants to know any more."""
        away = False
        with Attempts(self._bell) as attempts:
            while self._seeking and not self._stop.is_set():
                if not self._addresses:
                    self._resolve()
                attempts.begin(self._addresses, self._clock.monotonic())
                stands = attempts.wait(self._clock, TRY_SECONDS)
                if stands and (away or self._hangs):
                    break
                away = away or stands is False
                if stands is not False:
                    self._idle(TRY_SECONDS)
            else:
                return
        if not self._clock.wait(self._stop, self._draw() * SPREAD_SECONDS) and self._seeking:
            self._on_up()
        self._hangs = False
        self._idle(TRY_SECONDS)

    def _idle(self, seconds: float) -> None:
        """Wait so long, or until there is something to do."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            selector.select(seconds)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)

    def _resolve(self) -> None:
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            first = {family: address for family, _, _, _, address in reversed(found)}
            self._addresses = list(first.items())


class Attempts:
    """Connections that are being made. *bell*, a file descriptor, ends a wait. To be closed."""

    def __init__(self, bell: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._bell = bell
        self._selector.register(bell, selectors.EVENT_READ)
        self._sockets: dict[socket.socket, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pending in list(self._sockets):
            self._give_up(pending)
        self._selector.close()

    def begin(self, addresses: list[Address], now: float) -> None:
        """Begin a connection to each of *addresses*; those that are too old are given up."""
        for pending, since in list(self._sockets.items()):
            if now - since > ANSWER_SECONDS:
                self._give_up(pending)
        for family, address in addresses:
            pending = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._sockets[pending] = now
            try:
                pending.connect(address)
            except BlockingIOError:
                self._selector.register(pending, selectors.EVENT_WRITE)
            except OSError:  # no route, no address: no connection
                self._give_up(pending)
            else:
                self._selector.register(pending, selectors.EVENT_WRITE)

    def wait(self, clock: Clock, seconds: float) -> bool | None:
        """Whether a connection stands before so much time has passed; None when the bell rang first."""
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if not isinstance(key.fileobj, socket.socket):
                    return None
                stands = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                self._give_up(key.fileobj)
                if stands:
                    return True
        return False

    def _give_up(self, pending: socket.socket) -> None:
        with suppress(KeyError):
            self._selector.unregister(pending)
        del self._sockets[pending]
        pending.close()
