"""The link as far as the loop is concerned: the breaker, and whoever may know that it is time to try again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, StoreUnreachable
from edge_agent.upload import connections
from edge_agent.upload.breaker import Breaker
from edge_agent.upload.netlink import LinkWatch
from edge_agent.upload.reach import Reach, target_of

LOOK_SECONDS = 1.0  # how often it is asked whether the connections still get answers


class Link:
    """*wake* is set when the link may be back. *url*: where the store is; None: nobody watches the way there."""

    def __init__(self, clock: Clock, wake: threading.Event, url: str | None = None) -> None:
        self.breaker = Breaker()
        self._clock = clock
        self._wake = wake
        self._url = url
        self._reach: Reach | None = None
        self._look_at = clock.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear of links and routes that come back, while the block lasts."""
        with ExitStack() as stack:
            if self._url is not None:
                stack.enter_context(LinkWatch(self.hurry, self._clock))
                self._reach = stack.enter_context(Reach(*target_of(self._url), self.hurry, self._clock))
            yield
        self._reach = None

    def hurry(self) -> None:
        """The link may be back: the next try is due now, on new connections. From any thread."""
        if self._url is not None:
            connections.break_late()
        self.breaker.hurry()
        self._wake.set()

    def look(self) -> None:
        """Begin to look for the store's return as soon as nothing comes back any more: calls take minutes to fail."""
        now = self._clock.monotonic()
        if self._reach is None or self.breaker.is_open or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if connections.is_any_hanging():
            self._reach.seek(hangs=True)
        else:
            self._reach.rest()

    def drop(self) -> None:
        """Nothing may be sent any more, not even what the kernel was given already."""
        if self._url is not None:
            connections.break_sending(target_of(self._url)[1])

    def trip(self, error: EdgeCaptureError) -> float:
        """A try failed because of *error*; seconds until the next."""
        if self._reach is not None and isinstance(error, StoreUnreachable):
            self._reach.seek()
        return self.breaker.trip(self._clock.monotonic())

    def answered(self) -> None:
        """The store answered."""
        if self._reach is not None and self.breaker.is_open:
            self._reach.rest()
        self.breaker.close()
