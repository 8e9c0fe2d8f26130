"""``exec:`` — any command that writes H.264, H.265, MJPEG or MPEG-TS to its standard output."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.capture.sources.child import Child
from edge_agent.capture.sources.libav import OPEN_TIMEOUT, PacketSource
from edge_agent.clock import Clock
from edge_agent.errors import SourceError, SourceLost, SourceStalled, SourceUnreachable, SourceUnsupported

if TYPE_CHECKING:
    from edge_agent.capture.sources.base import AudioPacket, VideoPacket

# Elementary streams: bytes of pictures, no times. What libav says of their times is a guess at 25 a second.
TIME_BASE = Fraction(1, 90_000)  # the RTP clock of video
TIMELESS = frozenset({"h264", "hevc", "mjpeg", "jpeg_pipe"})
_OPTIONS = {
    "format_whitelist": "h264,hevc,mjpeg,jpeg_pipe,mpegts",
    # Enough to see a keyframe, and not the five seconds libav would like to look at: the pictures wait meanwhile.
    "analyzeduration": "1000000",
    "fpsprobesize": "0",
}
WRITE = "let it write H.264, H.265, MJPEG or MPEG-TS to its standard output"


class CommandSource(PacketSource):
    """What *command* writes. Elementary streams are timed by the arrival of their bytes. Raises SourceError."""

    def __init__(self, command: str, clock: Clock, stop: threading.Event, read_timeout: float, *, audio: bool) -> None:
        argv = shlex.split(command)
        self._where = f"exec:{Path(argv[0]).name}"  # the arguments may hold a password
        try:
            self._child = Child(argv, clock, stop, max(read_timeout, OPEN_TIMEOUT))
        except SourceUnreachable as error:
            raise SourceUnreachable(error.what, where=self._where, fix=error.fix) from error
        try:
            super().__init__(
                self._where, self._child, options=_OPTIONS, read_timeout=read_timeout, has_end=True, audio=audio
            )
        except SourceError as error:
            end = self._child.how_it_ended()
            self._child.close()
            if end == "command closed its output":  # it runs: what it writes is the trouble
                raise SourceUnsupported("what it writes is no video", where=self._where, fix=WRITE) from error
            raise SourceUnreachable(end, where=self._where, fix="try it in a shell") from error
        self._is_timeless = self._container.format.name in TIMELESS
        self._position = 0  # bytes in the packets so far
        self._began: float | None = None
        self._last = -1

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        for packet in super().packets():
            if self._is_timeless:
                self._stamp(packet)
            yield packet
        raise self._end()

    def _stamp(self, packet: VideoPacket | AudioPacket) -> None:
        """Time *packet* by when its last byte came, whenever libav hands it out."""
        self._position += packet.size
        arrived = self._child.arrival(self._position)
        if self._began is None:
            self._began = arrived
        self._last = max(self._last + 1, int((arrived - self._began) / TIME_BASE))
        packet.dts = packet.pts = self._last
        packet.time_base = TIME_BASE  # libav counts an elementary stream in frames
        packet.duration = 0  # libav's guess; how long a picture lasts the next one tells

    def _end(self) -> SourceError:
        kind = SourceStalled if self._child.silent else SourceLost
        return kind(self._child.how_it_ended(), where=self._where)

    def close(self) -> None:
        super().close()
        self._child.close()
