"""How many bytes were handed to the network, and how fast they went."""

from __future__ import annotations

import threading
from collections.abc import Callable

Pace = Callable[[int], object]

_WORTH_MEASURING = 256 << 10  # bytes; what is smaller measures the round trip
_NEWEST = 0.5  # weight of the newest measurement: a link that changes is followed within a few parts


class Goodput:
    """Counts for every thread; *pace*, if there is one, is called with each number of bytes first."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace
        self._lock = threading.Lock()
        self._sent = 0
        self._rate: float | None = None

    @property
    def sent(self) -> int:
        """Bytes handed to the network, those of failed tries too."""
        with self._lock:
            return self._sent

    @property
    def rate(self) -> float | None:
        """Bytes/s of one stream, smoothed; None before there was anything to measure."""
        with self._lock:
            return self._rate

    def passing(self, count: int) -> None:
        """*count* bytes are about to be sent. Raises what the pace raises."""
        if self._pace is not None:
            self._pace(count)
        with self._lock:
            self._sent += count

    def measured(self, count: int, seconds: float) -> None:
        """*count* bytes arrived, after *seconds* of sending."""
        if count < _WORTH_MEASURING or seconds <= 0:
            return
        newest = count / seconds
        with self._lock:
            self._rate = newest if self._rate is None else self._rate + _NEWEST * (newest - self._rate)
