"""Times for packets that come without: as far apart as they arrive, less the network's jitter. Pure; in seconds."""

from __future__ import annotations

from typing import Self

GAP_SECONDS = 1.0  # a packet that comes this much later than expected comes after a gap, which is kept as it was
BURST_SECONDS = 0.5  # what comes faster than declared for longer than this is no burst, but a faster camera
LEARN = 1 / 16  # how much one interval counts in what the next is expected to be
FOLLOW = 1 / 8  # how much of its lag behind arrival the time catches up with each packet


class Pace:
    """Expects a packet every *step* seconds, as the stream declares, and learns from their arrival how it really is.

    Packets that come at once when the stream begins were taken one after the other; they stay a declared step apart.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._last: float | None = None
        self._first = self._arrival = 0.0
        self._origin: float | None = None  # arrival minus time; None while the first packets come at once

    @classmethod
    def after(cls, last: float, arrival: float, step: float) -> Self:
        """One that goes on from a packet of time *last* that came at *arrival*."""
        pace = cls(step)
        pace._last, pace._arrival, pace._origin = last, arrival, arrival - last
        return pace

    def next(self, arrival: float) -> float:
        """The time of a packet that came at *arrival*; later than the one before it."""
        if self._last is None:
            self._last, self._first, self._arrival = 0.0, arrival, arrival
            return 0.0
        waited = arrival - self._arrival
        expected = self._last + self._step
        if self._origin is None:
            self._arrival = arrival
            if waited < self._step / 2 and arrival - self._first < BURST_SECONDS:
                self._last = expected
                return expected
            self._origin = arrival - self._last - waited
        lag = arrival - self._origin - expected
        followed = expected + lag * (1 if lag > GAP_SECONDS else FOLLOW)
        found = max(self._last + self._step / 16, followed)
        self._step += (min(waited, GAP_SECONDS) - self._step) * LEARN
        self._last, self._arrival = found, arrival
        return found
