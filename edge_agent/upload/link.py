"""The link as far as the loop is concerned: the breaker, and whoever may know that it is time to try again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, StoreUnreachable
from edge_agent.upload.breaker import Breaker
from edge_agent.upload.netlink import LinkWatch
from edge_agent.upload.reach import Reach, target_of


class Link:
    """*wake* is set when the link may be back. *url*: where the store is; None: nobody watches the way there."""

    def __init__(self, clock: Clock, wake: threading.Event, url: str | None = None) -> None:
        self.breaker = Breaker()
        self._clock = clock
        self._wake = wake
        self._url = url
        self._reach: Reach | None = None

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
        """The link may be back: the next try is due now. From any thread."""
        self.breaker.hurry()
        self._wake.set()

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
