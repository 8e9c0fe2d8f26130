"""Broken timestamps become usable ones, and every mended one is counted. Pure but for the packets it stamps.

What cameras do, seen on real ones and on test servers: the first packets of an RTSP connection have no timestamps, or
no decoding time; two packets share one; time runs back after a camera's clock was set; it jumps hours ahead when the
first sender report arrives; counters of 32 or 33 bits wrap; raw H.264 has no time at all, and declares a frame rate
that is not the one delivered. A recorder that passes this on writes files whose duration is a lie, or none at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.capture.pace import Pace

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival

HOLD = 32  # packets without a decoding time that are held until one has it: more than any codec reorders
JUMP_SECONDS = 1.0  # media time may run this far ahead of arrival before it is called a jump: two GOPs of jitter buffer
REORDER_FRAMES = 16  # how far presentation may be behind decoding: the largest picture buffer of H.264 and H.265
REORDER_SECONDS = 2.0  # the same, where a frame's length is not known well
WRAPS = (1 << 32, 1 << 33)  # where the counters of RTP and MPEG-TS begin again, in ticks
EVEN = 8  # steps of one length after which a longer one is a hole


@dataclass(slots=True)
class Mended:
    """How many packets got another timestamp than the camera gave, by what was wrong; and how many never came.

    ``lost``: frames that left a hole in otherwise even timestamps, which is all a stream tells of them.
    """

    missing: int = 0
    not_increasing: int = 0
    jumps: int = 0
    wraps: int = 0
    misordered: int = 0  # shown before it is decoded, or so long after as no codec does
    lost: int = 0
    retimed: int = 0  # packets of all kinds, each once; not those a wrapped counter or an earlier jump only shifted

    @property
    def faults(self) -> int:
        """What was wrong with all packets; one may have several faults."""
        return self.missing + self.not_increasing + self.jumps + self.misordered


class Mender:
    """Gives every packet of one connection a pts and a strictly increasing dts, and marks those it had to re-time."""

    def __init__(self) -> None:
        self.mended = Mended()
        self._held: list[Arrival] = []
        self._last_dts: int | None = None
        self._last_arrival = self._earlier_arrival = 0.0
        self._step = 0  # ticks between the last two packets
        self._even = 0  # how many steps of that length there were in a row
        self._shift = 0  # ticks added to everything since the last jump
        self._pace: Pace | None = None  # while the camera gives no times

    def feed(self, arrival: Arrival) -> Iterator[Arrival]:
        """*arrival*, stamped; first those that had to wait for it, or nothing while it has to wait itself."""
        if self._last_dts is None and arrival.packet.dts is None and len(self._held) < HOLD:
            self._held.append(arrival)
            return
        if self._held:
            yield from self._release(arrival)
        yield self._stamp(arrival)

    def flush(self) -> Iterator[Arrival]:
        """What is still held when the source ends."""
        if self._held:
            last = self._held.pop()
            yield from self._release(last)
            yield self._stamp(last)

    def _release(self, first_known: Arrival) -> Iterator[Arrival]:
        """Count back from the first packet whose decoding time is known; where none is, stamp them as they came."""
        held, self._held = self._held, []
        step, start = _step_of(first_known), first_known.packet.dts
        for number, arrival in enumerate(held):
            if start is None:
                yield self._stamp(arrival)
                continue
            packet = arrival.packet
            packet.dts = start - (len(held) - number) * step
            yield self._stamp(arrival, faults=1)

    def _stamp(self, arrival: Arrival, faults: int = 0) -> Arrival:
        """*arrival*, with pts and dts; *faults*: how many times it already lacked one."""
        packet = arrival.packet
        before = self.mended.faults
        self.mended.missing += faults
        dts, pts = packet.dts, packet.pts
        limit = self._reorder_limit(arrival)
        if dts is None:
            self.mended.missing += 1
        if dts is None and pts is None:
            dts, behind = self._paced(arrival), 0
        else:
            self._pace = None
            if dts is None:
                assert pts is not None  # noqa: S101 - else it was paced
                follows = pts if self._last_dts is None else self._last_dts - self._shift + self._usual_step(arrival)
                dts = follows if pts - limit <= follows <= pts else pts
            behind = 0 if pts is None else pts - dts  # presentation behind decoding, as B-frames make it
            if not 0 <= behind <= limit:
                self.mended.misordered += 1
                behind = 0
            dts += self._shift
            if self._last_dts is not None:
                dts = self._following(arrival, dts, self._last_dts)
        packet.dts, packet.pts = dts, dts + behind
        self._earlier_arrival = arrival.monotonic if self._last_dts is None else self._last_arrival
        self._last_dts, self._last_arrival = dts, arrival.monotonic
        if self.mended.faults == before:
            return arrival
        self.mended.retimed += 1
        return arrival._replace(retimed=True)

    def _following(self, arrival: Arrival, dts: int, last: int) -> int:
        """*dts*, or what puts *arrival* as far after the packet before it as it really came."""
        tick = arrival.seconds_per_tick
        waited = max(0.0, arrival.monotonic - self._last_arrival)
        # libav hands a packet out when the next one comes: behind a gap, the one from before it and the first come at
        # once. So a jump is one that the time since the packet before that one does not explain either.
        meanwhile = max(0.0, arrival.monotonic - self._earlier_arrival)
        dts = self._unwrapped(dts, last, meanwhile, tick)
        if _jumps(dts - last, meanwhile, tick):
            step = max(self._usual_step(arrival), int(waited / tick))
            self._shift += last + step - dts
            self.mended.jumps += 1
            self._even = 0
            return last + step
        if dts <= last:
            self.mended.not_increasing += 1
            return last + max(1, min(self._usual_step(arrival), round(waited / tick)))
        self._measure(dts - last)
        return dts

    def _unwrapped(self, dts: int, last: int, waited: float, tick: float) -> int:
        """*dts* as a counter without an end would have it."""
        if _jumps(dts - last, waited, tick):
            for period in WRAPS:
                if dts < last < dts + period and not _jumps(dts + period - last, waited, tick):
                    self._shift += period
                    self.mended.wraps += 1
                    return dts + period
        return dts

    def _measure(self, step: int) -> None:
        """Take note of the step between two packets, and of frames that are missing in it."""
        if self._step and abs(step - self._step) * 8 <= self._step:  # cameras round to milliseconds
            self._even += 1
        elif self._even >= EVEN and step >= 2 * self._step * 7 // 8:
            self.mended.lost += round(step / self._step) - 1
            return
        else:
            self._even = 0
        self._step = step

    def _paced(self, arrival: Arrival) -> int:
        """A decoding time for a packet without any, as it arrived."""
        tick = arrival.seconds_per_tick
        if self._pace is None:
            step = self._usual_step(arrival) * tick
            if self._last_dts is None:
                self._pace = Pace(step)
            else:
                self._pace = Pace.after(self._last_dts * tick, self._last_arrival, step)
        dts = round(self._pace.next(arrival.monotonic) / tick)
        return dts if self._last_dts is None else max(dts, self._last_dts + 1)

    def _usual_step(self, arrival: Arrival) -> int:
        return self._step or _step_of(arrival)

    def _reorder_limit(self, arrival: Arrival) -> int:
        return max(REORDER_FRAMES * self._usual_step(arrival), int(REORDER_SECONDS / arrival.seconds_per_tick))


def _jumps(ticks: int, waited: float, tick: float) -> bool:
    """Whether time went by *ticks* while *waited* seconds did, which no network can explain."""
    ahead = ticks * tick
    return ahead > JUMP_SECONDS + 2 * waited or ahead < -JUMP_SECONDS


def _step_of(arrival: Arrival) -> int:
    """Ticks one frame lasts, from the packet or the declared frame rate (25 when there is none)."""
    packet = arrival.packet
    return packet.duration or max(1, int(1 / ((arrival.template.average_rate or 25) * packet.time_base)))
