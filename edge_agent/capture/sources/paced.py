"""A file played at its own pace, as if it were a camera; once, a number of times, or for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edge_agent.clock import Clock

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import AudioPacket, Source, StreamFormat, VideoPacket


class PacedSource:
    """*reopen*'s packets, each no sooner than its time; *loops* times over (None: for ever), timestamps running on.

    Setting *stop* ends it at once.
    """

    rest = 0.0  # it paces itself

    def __init__(self, reopen: Callable[[], Source], clock: Clock, stop: threading.Event, loops: int | None) -> None:
        self._reopen = reopen
        self._clock = clock
        self._loops = loops
        self._stop = stop
        self._source = reopen()

    @property
    def format(self) -> StreamFormat:
        return self._source.format

    @property
    def template(self) -> VideoStream:
        return self._source.template

    @property
    def audio(self) -> AudioStream | None:
        return self._source.audio

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        began = self._clock.monotonic()
        offset = 0  # in the packets' time base
        count = 0
        while True:
            first = end = None
            for packet in self._source.packets():
                if packet.dts is None:  # its time is mended later, from when it comes: as long after as it is declared
                    lasted = float((packet.duration or 0) * packet.time_base) if first is None else 0.0
                    if lasted and self._clock.wait(self._stop, lasted):
                        return
                    yield packet
                    continue
                if first is None:
                    first = packet.dts
                packet.dts += offset - first
                if packet.pts is not None:
                    packet.pts += offset - first
                end = packet.dts + max(packet.duration or 0, 1)
                due = began + float(packet.dts * packet.time_base)
                if self._clock.wait(self._stop, due - self._clock.monotonic()):
                    return
                yield packet
            count += 1
            if end is None or (self._loops is not None and count >= self._loops):
                return
            offset = end
            self._source.close()
            self._source = self._reopen()

    def request_keyframe(self) -> None:
        self._source.request_keyframe()

    def close(self) -> None:
        self._source.close()
