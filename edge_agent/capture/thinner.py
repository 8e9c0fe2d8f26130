"""Fewer frames without decoding: of a stream whose every packet is a picture by itself, 1 packet in N is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.errors import SourceUnsupported

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival

ALL_INTRA = frozenset({"mjpeg"})
"""Codecs that know no other packets than keyframes; of those a segment can hold."""


class Thinner:
    """Keeps the first of every *keep_every* packets of one connection; those kept are bit-exact.

    Any codec may send keyframes only, as some cameras' H.264 does. Where the codec does not promise it, the first
    packet waits until the second has shown it, so that a refused stream leaves no stump of a segment.
    """

    def __init__(self, keep_every: int) -> None:
        self._keep_every = keep_every
        self._seen = 0
        self._first: Arrival | None = None

    def feed(self, arrival: Arrival) -> Iterator[Arrival]:
        """*arrival* if it is kept, lasting until the next one kept. Raises SourceUnsupported."""
        if self._keep_every == 1:
            yield arrival
            return
        packet = arrival.packet
        if not packet.is_keyframe:
            raise SourceUnsupported(
                f"keep_every: {self._keep_every} needs a stream of keyframes only, and this {arrival.format} is none",
                fix="set keep_every: 1, and a lower frame rate in the camera",
            )
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        kept = self._seen % self._keep_every == 0
        self._seen += 1
        if not kept:
            return
        if packet.duration:
            packet.duration *= self._keep_every
        if self._seen == 1 and arrival.format.codec not in ALL_INTRA:
            self._first = arrival
        else:
            yield arrival
