"""Broken timestamps become usable ones, and every mended one is counted. Pure but for the packets it stamps.

What cameras do, seen on real ones and on test servers: the first packets of an RTSP connection have no timestamps, or
no decoding time; two packets share one; time runs back after a camera's clock was set; it jumps hours ahead when the
first sender report arrives. A recorder that passes this on writes files whose duration is a lie, or none at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival

HOLD = 32  # packets without a decoding time that are held until one has it: more than any codec reorders
JUMP_SECONDS = 1.0  # media time may run this far ahead of arrival before it is called a jump: two GOPs of jitter buffer


@dataclass(slots=True)
class Mended:
    """How many packets got another timestamp than the camera gave, by what was wrong."""

    missing: int = 0
    not_increasing: int = 0
    jumps: int = 0


class Mender:
    """Gives every packet of one connection a pts and a strictly increasing dts."""

    def __init__(self) -> None:
        self.mended = Mended()
        self._held: list[Arrival] = []
        self._last_dts: int | None = None
        self._last_arrival = 0.0
        self._step = 0  # ticks between the last two packets
        self._shift = 0  # ticks added to everything since the last jump

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
        """Count back from the first packet whose time is known."""
        held, self._held = self._held, []
        step = _step_of(first_known)
        packet = first_known.packet
        start = packet.dts if packet.dts is not None else packet.pts if packet.pts is not None else len(held) * step
        for number, arrival in enumerate(held):
            arrival.packet.dts = start - (len(held) - number) * step
            self.mended.missing += 1
            yield self._stamp(arrival)

    def _stamp(self, arrival: Arrival) -> Arrival:
        packet = arrival.packet
        dts, pts = packet.dts, packet.pts
        if dts is None:
            self.mended.missing += 1
            follows = (self._last_dts or 0) - self._shift + (self._step or _step_of(arrival))
            dts = follows if pts is None else min(pts, follows)
        behind = 0 if pts is None else max(0, pts - dts)  # presentation behind decoding, as B-frames make it
        dts += self._shift
        if self._last_dts is not None:
            dts = self._following(arrival, dts, self._last_dts)
        packet.dts, packet.pts = dts, dts + behind
        self._last_dts, self._last_arrival = dts, arrival.monotonic
        return arrival

    def _following(self, arrival: Arrival, dts: int, last: int) -> int:
        """*dts*, or what puts *arrival* as far after the packet before it as it really came."""
        time_base = arrival.packet.time_base
        waited = max(0.0, arrival.monotonic - self._last_arrival)
        ahead = float((dts - last) * time_base)
        if ahead > JUMP_SECONDS + 2 * waited or ahead < -JUMP_SECONDS:
            step = max(self._step or _step_of(arrival), int(waited / time_base))
            self._shift += last + step - dts
            self.mended.jumps += 1
            return last + step
        if dts <= last:
            self.mended.not_increasing += 1
            return last + 1
        self._step = dts - last
        return dts


def _step_of(arrival: Arrival) -> int:
    """Ticks one frame lasts, from the packet or the declared frame rate (25 when there is none)."""
    packet = arrival.packet
    return packet.duration or max(1, int(1 / ((arrival.template.average_rate or 25) * packet.time_base)))
