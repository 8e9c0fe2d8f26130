"""Media time to wall-clock time.

The packets' own time is the truth about how far apart two pictures are. Where they lie on the wall clock is told by
their arrival: a packet can come late, never early, so the least delayed packets of the last minute show where the
camera's clock stands against ours, whatever the network does. A camera that sends RTCP sender reports says itself when
each picture was taken, and is believed where that is possible.

Pure: nothing here reads a clock. Media and monotonic times are seconds; a wall offset is wall minus monotonic time.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival

WINDOW_SECONDS = 60.0  # at 100 ppm, a bad crystal, the oldest least delayed packet is 6 ms off
SLEW = 500e-6  # how fast the estimate may move: five times a bad crystal's drift, and what adjtime(3) allows itself
STEP_SECONDS = 0.5  # a wall clock that moves further at once was set; less is slewed (NTP itself slews below 0.128)
AWAY_SECONDS = 2.0  # an estimate this far off, as after mended timestamps, begins anew; slewing would take an hour
# A sender report is believed when it has the picture taken this long before it came: a camera's encoder, its buffers
# and a bad link need up to seconds; pictures from the future tell of a clock that is wrong.
SENT_EARLIEST, SENT_LATEST = -0.25, 5.0
BURST_PACKETS = 256  # packets held while they come as one; libav reads at most some seconds ahead when it opens

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """When a picture was taken, in seconds since the epoch and by the monotonic clock.

    ``stepped``: by how many seconds the wall clock was just set, else 0. ``offset`` is the wall offset that
    ``seconds`` was told by.
    """

    seconds: float
    monotonic: float
    stepped: float = 0.0
    offset: float = 0.0

    @property
    def wall(self) -> datetime:
        """UTC; worked out when it is asked for, as it is of few packets."""
        return _EPOCH + timedelta(seconds=self.seconds)


class LeastDelay:
    """The smallest of the values of the last *window* seconds."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._rising: deque[tuple[float, float]] = deque()  # (when, value): later and larger, never both otherwise

    def add(self, when: float, value: float) -> float:
        """The smallest, with *value* among them; *when* never runs back."""
        while self._rising and self._rising[-1][1] >= value:
            self._rising.pop()
        self._rising.append((when, value))
        while self._rising[0][0] < when - self._window:
            self._rising.popleft()
        return self._rising[0][1]

    def clear(self) -> None:
        self._rising.clear()


class Timeline:
    """Wall-clock time of each packet of one connection."""

    def __init__(self) -> None:
        self._delays = LeastDelay()
        self._target: float | None = None  # monotonic minus media time, as the newest packets say
        self._estimate: float | None = None  # the same, slewed
        self._offset: float | None = None  # wall minus monotonic time, slewed
        self._media = 0.0
        self._last = float("-inf")
        self._believed = False  # a sender report, once
        self._reported = False  # the target is what the newest report said
        self.reports_ignored = 0  # packets whose sender report was absurd
        self.report_error = 0.0  # seconds by which the last of them was off

    def learn(self, media: float, arrival: float, offset: float, sent: float | None = None) -> None:
        """A packet of *media* time came at *arrival*; by its camera's wall clock it was taken at *sent*.

        *sent* need not be known of every packet: what the last report said holds until the next.
        """
        least = self._delays.add(arrival, arrival - media)
        if sent is None:
            if not self._reported:
                self._target = least
            return
        self._target, self._reported = least, False
        delay = (arrival + offset) - sent
        if not SENT_EARLIEST <= delay <= SENT_LATEST:
            self.reports_ignored += 1
            self.report_error = -delay
            return
        self._target, self._reported = sent - offset - media, True
        if not self._believed:  # the first report is news, not drift
            self._believed, self._estimate = True, None

    def at(self, media: float, offset: float) -> Moment:
        """When the picture of *media* time was taken; *offset* is the wall offset right now. Learn of it first.

        Never earlier than the last answer, unless the wall clock was set back.
        """
        assert self._target is not None  # noqa: S101 - learned first
        allowed = SLEW * max(0.0, media - self._media)
        self._media = max(self._media, media) if self._estimate is not None else media
        stepped = 0.0
        if self._offset is None:
            self._offset = offset
        elif abs(offset - self._offset) > STEP_SECONDS:
            stepped = offset - self._offset
            self._offset, self._last = offset, float("-inf")
        else:
            self._offset = _slewed(self._offset, offset, allowed)
        if self._estimate is None or abs(self._target - self._estimate) > AWAY_SECONDS:
            self._estimate = self._target
        else:
            self._estimate = _slewed(self._estimate, self._target, allowed)
        monotonic = media + self._estimate
        self._last = max(self._last, monotonic + self._offset)
        return Moment(self._last, monotonic, stepped, self._offset)


def _slewed(value: float, target: float, allowed: float) -> float:
    return value + max(-allowed, min(allowed, target - value))


class Burst:
    """Holds the packets that come as one when a connection opens, until the last of them shows how old they are.

    libav reads seconds of video before it hands out the first packet, and cameras send what they have buffered: timed
    by its arrival, the first packet would stand seconds too late.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Arrival, float]] | None = []

    def feed(self, arrival: Arrival, media: float) -> Iterator[Arrival]:
        """*arrival* and all that had to wait for it, or nothing while it has to wait itself."""
        if self._held is None:
            yield arrival
            return
        delay = arrival.monotonic - media
        before = self._held[-1] if self._held else None
        self._held.append((arrival, delay))
        if before is None:
            return
        waited = arrival.monotonic - before[0].monotonic
        # Live packets come a frame apart, and their delay stays; a burst's come at once, each less delayed.
        is_burst = before[1] - delay > waited
        if not is_burst or len(self._held) >= BURST_PACKETS:
            yield from self.flush()

    def flush(self) -> Iterator[Arrival]:
        """What is still held, when the connection ends."""
        held, self._held = self._held, None
        for arrival, _ in held or ():
            yield arrival


def sent_at(arrival: Arrival) -> float | None:
    """When the camera says the packet's picture was taken, in seconds since the epoch; None without a sender report.

    libav attaches it to every packet that follows an RTCP sender report, as AVProducerReferenceTime: microseconds since
    the epoch as a native 64-bit integer, then flags.
    """
    packet = arrival.packet
    if not packet.has_sidedata("prft"):
        return None
    raw = bytes(packet.get_sidedata("prft"))
    return int.from_bytes(raw[:8], sys.byteorder, signed=True) / 1e6 if len(raw) >= 8 else None
