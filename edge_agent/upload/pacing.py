"""How fast bytes may go to the network: one account for all threads, smooth, and to be ended at any moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from edge_agent.clock import Clock
from edge_agent.errors import TransferStopped

BURST_SECONDS = 0.1  # what was not sent may be sent later, but no more than this; it also makes up for late wake-ups
RATE_SECONDS = 10.0  # the rate shown is the mean of about this long


def _never() -> None:
    return None


class Pacer:
    """Lets bytes pass at *limit* bytes a second (None: no limit), and none while *paused* gives a reason.

    ``take`` is what a ``FileSlice`` calls as its ``pace``. Whoever changes what *limit* or *paused* say calls
    :meth:`notice`. May be used by any number of threads; they are served in the order in which they came.
    """

    def __init__(
        self, clock: Clock, limit: Callable[[], float | None] = _never, paused: Callable[[], str | None] = _never
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._paused = paused
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._closed = False
        self._total = 0
        # Bytes since the beginning: asked for, and earned by time; a take goes when what is earned has reached it.
        self._asked = self._earned = 0.0
        self._rate: float | None = None
        self._at = clock.monotonic()
        self._samples: deque[tuple[float, int]] = deque([(self._at, 0)])

    def take(self, size: int) -> None:
        """Return when *size* more bytes may be sent. Raises TransferStopped, at once, when paused or closed."""
        if not self._closed and self._paused() is None and self._limit() is None and self._rate is None:
            with self._lock:
                self._total += size
            return
        with self._lock:
            self._earn()
            self._asked += size
            mine = self._asked
        while True:
            with self._lock:
                self._refuse_stopped()
                self._earn()
                lacking = mine - self._earned
                if lacking < 1 or self._rate is None:  # sums of fractions need not meet to the last bit
                    self._total += size
                    return
                seconds, bell = lacking / self._rate, self._bell
            self._clock.wait(bell, seconds)

    def notice(self) -> None:
        """The limit or the pause has changed: whoever waits looks again."""
        with self._lock:
            self._ring()

    def close(self) -> None:
        """End every take, those that wait and those to come, with TransferStopped."""
        with self._lock:
            self._closed = True
            self._ring()

    @property
    def total(self) -> int:
        """Bytes that were let through."""
        return self._total

    def rate(self) -> float:
        """Bytes a second that passed lately: in about RATE_SECONDS, when this is asked every second or so."""
        with self._lock:
            now = self._clock.monotonic()
            while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_SECONDS:
                self._samples.popleft()
            began, total = self._samples[0]
            self._samples.append((now, self._total))
            return (self._total - total) / (now - began) if now > began else 0.0

    def _earn(self) -> None:
        """Add what has been earned since the last time, at the rate that held since; then let the present one hold."""
        now, rate = self._clock.monotonic(), self._limit()
        if self._rate is None:
            self._earned = self._asked
        else:
            self._earned += (now - self._at) * self._rate
            self._earned = min(self._earned, self._asked + self._rate * BURST_SECONDS)
        self._at, self._rate = now, rate

    def _refuse_stopped(self) -> None:
        why = "uploading stops" if self._closed else self._paused()
        if why is not None:
            self._earned = self._asked  # nobody is left to send what was asked for
            raise TransferStopped(why)

    def _ring(self) -> None:
        bell, self._bell = self._bell, threading.Event()
        bell.set()
