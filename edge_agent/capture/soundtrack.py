"""Sound waits for the picture of its moment, so that a cut falls at the same place in both.

Sound and picture come with times on one axis, the camera's. Where the picture's times were mended, the sound's are
moved along by as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival
    from edge_agent.capture.sources.base import AudioPacket

WAITING = 4096  # packets held: over a minute of AAC or Opus, the longest pre-roll; older ones go


class Soundtrack:
    """One connection's sound on its way into segments."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, AudioPacket]] = deque(maxlen=WAITING)
        self._shift = 0.0  # seconds from the camera's media time to the mended one

    def hear(self, arrival: Arrival) -> None:
        """Take in what came before *arrival*, whose picture's times are mended already."""
        heard, picture = arrival.heard, arrival.packet
        if heard is None:
            return
        if heard.picture_time is not None and picture.dts is not None:
            self._shift = float(picture.dts * picture.time_base) - heard.picture_time
        for packet in heard.packets:
            if packet.pts is not None:  # RTP and MPEG-TS always tell; without a time it has no place
                self._waiting.append((float(packet.pts * packet.time_base) + self._shift, packet))

    def before(self, time: float) -> Iterator[tuple[float, AudioPacket]]:
        """Hand over the sound from before *time* (media seconds), each packet with its own."""
        while self._waiting and self._waiting[0][0] < time:
            yield self._waiting.popleft()
