"""Serving a page of this machine until somebody stops it: address, token, headers. What it shows, the caller says."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn

from cloud.review.catalogue import LONGEST_NAME, is_name
from cloud.review.web.guard import Guard, Lock
from edge_agent.errors import ConfigInvalid, EdgeCaptureError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from cloud.review.catalogue import Catalogue

CONNECTIONS = 128  # at once; a page has at most seven
HEADER_BYTES = 16384  # of a request's head, path included
Tell = Callable[[str], None]
"""Takes one line for the terminal."""


class NotListening(EdgeCaptureError):
    """The address cannot be listened on: taken, or none of this machine's."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a page is served. ``port`` 0 takes a free one. Elsewhere than on loopback a token is demanded."""

    host: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Listen:
        """``127.0.0.1:8765``, ``[::1]:8765``, ``0.0.0.0`` or ``:8765``. Raises ConfigInvalid."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname or "127.0.0.1", parts.port or 0
            host = "127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host))
        except ValueError as error:
            raise ConfigInvalid(
                f"{ascii(text)[:80]} is no address to listen on",
                where="--listen",
                fix="write HOST:PORT, as 127.0.0.1:8765",
            ) from error
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            raise ConfigInvalid(
                f"{ascii(text)[:80]} is no address to listen on", where="--listen", fix="write HOST:PORT"
            )
        return cls(host, port)

    @property
    def is_local(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def serve(
    catalogue: Catalogue, listen: Listen, *, by: str | None, price: float | None, tell: Tell, stop: threading.Event
) -> None:
    """Show *catalogue* for review until *stop*, SIGINT or SIGTERM. Raises NotListening.

    Decisions are *by* that reviewer (the operating system's user when None) unless the page says another name; a label
    costs *price*, USD, None when the labels are there already. *tell* gets the page's link first, later what is found
    wrong. Raises ConfigInvalid for a name that is none.
    """
    from cloud.review.web.app import FILES, ReviewPage
    from cloud.review.web.room import Room

    with Room(catalogue, tell) as room:
        page = ReviewPage(room, reviewer(by), price)
        serve_app(page.build(), listen, FILES, tell=tell, stop=stop, closing=room.close)


def reviewer(name: str | None) -> str:
    """*name*; when None, who runs this process as the system says, else ``reviewer``. Raises ConfigInvalid."""
    if name is not None:
        if not is_name(name):
            what = f"{ascii(name)[:80]} is no name of a reviewer"
            raise ConfigInvalid(what, where="--as", fix=f"write one line of up to {LONGEST_NAME} characters")
        return name
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return "reviewer"
    return user if is_name(user) else "reviewer"


def serve_app(
    app: ASGIApp,
    listen: Listen,
    public: frozenset[str] = frozenset(),
    *,
    tell: Tell,
    stop: threading.Event,
    closing: Callable[[], None] | None = None,
) -> None:
    """Serve *app* behind a :class:`Guard` until *stop*, SIGINT or SIGTERM; in another thread than the main one: *stop*.

    Its link goes to *tell* once it can be opened; with the token in it where one is needed. *public* paths come
    without the token. *closing* is called in the event loop before connections are waited for. Raises NotListening.
    """
    with listening(listen) as sock, _signals(stop):
        place = Listen(listen.host, sock.getsockname()[1])
        lock = None if place.is_local else Lock.new(place.port)
        tell(link(place, lock))
        asyncio.run(serve_on(sock, Guard(app, lock, public), stop, closing, tell))


def link(place: Listen, lock: Lock | None) -> str:
    """What a person opens. The token is after the ``#``, which no browser sends anywhere. Pure but for host names."""
    host = place.host
    if ipaddress.ip_address(host).is_unspecified:
        host = _own_address() or host
    shown = Listen(host, place.port)
    return f"http://{shown}/" + (f"#token={lock.token}" if lock else "")


def _own_address() -> str | None:
    """This machine's address as others in its network see it; None where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1: nothing is sent, only the route is looked up
        return str(probe.getsockname()[0])
    return None


async def serve_on(
    sock: socket.socket, app: ASGIApp, stop: threading.Event, closing: Callable[[], None] | None, tell: Tell
) -> None:
    """Serve *app*, guarded already, at *sock* until *stop*."""
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=1,
    )
    with _trouble(tell):
        await _Server(config, stop, closing).serve([sock])


class _Server(uvicorn.Server):
    """Stops when told to; signals are the caller's."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, closing: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._stop = stop
        self._closing = closing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        if self._stop.is_set():
            if self._closing is not None:
                self._closing()
            return True
        return ended


@contextlib.contextmanager
def listening(listen: Listen) -> Iterator[socket.socket]:
    """A listening socket. Raises NotListening."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((listen.host, listen.port))
            sock.listen(CONNECTIONS)
        except (OSError, OverflowError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise NotListening(
                f"cannot listen: {what}", where=str(listen), fix="stop what uses that port, or give another --listen"
            ) from error
        yield sock


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Within the block, in the main thread, SIGINT and SIGTERM set *stop*."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(*_: object) -> None:
        # From a thread: the interrupted code may hold the very lock that setting needs.
        threading.Thread(target=stop.set, name="stop").start()

    former = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, action in former.items():
            signal.signal(number, action)


@contextlib.contextmanager
def _trouble(tell: Tell) -> Iterator[None]:
    """What the server itself has to say goes the way of all findings: one line, without a traceback."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reason = repr(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
            error = " ".join(record.getMessage().splitlines()[:1])
            tell(f"page: {error} {reason}".strip()[:300])

    logger = logging.getLogger("uvicorn.error")
    former = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [Handler(logging.WARNING)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = former
