"""Packets to a crash-safe MP4: fragments while recording, an ordinary MP4 when closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from edge_agent.capture.sink import DurableFile
from edge_agent.errors import SourceUnsupported, WriteFailed

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

FRAGMENT_SECONDS = 1.0  # what a power cut may cost when keyframes are further apart than that

# hybrid_fragmented (libav 61.7): a fragmented file that becomes an ordinary one when closed. flush_packets hands every
# fragment to the sink as soon as it is complete, which is when it is made durable.
_OPTIONS = {
    "movflags": "+hybrid_fragmented+frag_keyframe",
    "frag_duration": str(int(FRAGMENT_SECONDS * 1_000_000)),
    "flush_packets": "1",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What a closed file holds: frames, and seconds from the first frame's start to the last frame's end."""

    frames: int
    duration: float


class SegmentWriter:
    """Writes one segment to *path*, which exists and is empty. Timestamps start at 0 in the file.

    Every complete fragment is on the disk when ``write`` returns. Raises SpoolErrors, and SourceUnsupported when the
    muxer refuses the stream. After an error only ``abort`` may be called; what was durable stays readable.
    """

    def __init__(self, path: Path, template: VideoStream) -> None:
        self._sink = DurableFile(path)
        try:
            self._container = av.open(self._sink, "w", format="mp4", options=_OPTIONS)
            self._stream = self._container.add_stream_from_template(template, opaque=True)
        except (av.error.FFmpegError, ValueError) as error:
            self._sink.close()
            raise SourceUnsupported(f"its packets cannot be stored in MP4 ({error})", where=str(path)) from error
        self._rate = template.average_rate or Fraction(25)
        self._base: int | None = None  # the first packet's dts, which becomes 0
        self._last_dts = -1
        self._step = 0  # between the last two packets
        self._first_pts: int | None = None
        self._end = 0
        self._time_base = Fraction(1, 90_000)
        self.frames = 0

    @property
    def duration(self) -> float:
        """Seconds written so far."""
        return float((self._end - (self._first_pts or 0)) * self._time_base)

    def write(self, packet: VideoPacket) -> None:
        """Append *packet*, which has a pts and a larger dts than the last. It is changed and must not be used again."""
        dts, pts = packet.dts, packet.pts
        if dts is None or pts is None:
            raise WriteFailed("packet has no timestamps", where=str(self._sink.path))
        self._time_base = packet.time_base
        if self._base is None:
            self._base, self._first_pts = dts, pts
        else:
            self._step = dts - self._last_dts
        self._last_dts = dts
        # RTSP packets carry no duration; without one the last frame of the file would last no time at all.
        packet.duration = packet.duration or self._step or max(1, int(1 / (self._rate * packet.time_base)))
        self._end = max(self._end, pts + packet.duration)
        packet.dts, packet.pts = dts - self._base, pts - self._base
        packet.stream = self._stream
        self._guarded(lambda: self._container.mux_one(packet))
        self.frames += 1
        if self._sink.unsynced:
            self._sink.sync()

    def close(self) -> Written:
        """Make the file an ordinary MP4, whole and durable."""
        self._guarded(self._container.close)
        self._sink.sync()
        self._sink.close()
        return Written(self.frames, self.duration)

    def abort(self) -> None:
        """Let go of the file as it is: the fragments on the disk stay, for salvage."""
        self._sink.close()
        with contextlib.suppress(av.error.FFmpegError):
            self._container.close()

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except av.error.FFmpegError as error:
            raise WriteFailed(f"muxer refused ({error.strerror or error})", where=str(self._sink.path)) from error
