"""Packets to a crash-safe MP4: fragments while recording, an ordinary MP4 when closed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from edge_agent.capture.sink import DurableFile
from edge_agent.errors import SourceUnsupported, WriteFailed

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import AudioPacket, VideoPacket

FRAGMENT_SECONDS = 1.0  # what a kill -9 or a power cut may cost, wherever the keyframes lie
# libav ends a fragment when the first packet of the next one comes, and packets may wait for REST_SECONDS and a frame.
_MUXED_SECONDS = 0.6

BUFFER_BYTES = 256 * 1024  # handed to the sink at a time; libav's own 32 KiB means 16 calls for a fragment of 4 Mb/s

# Sound goes with its picture. When two pictures share a time and one is moved, the next sound is this little too early.
_OVERLAP_SECONDS = 0.1

# Packets of two streams are put in order of time, for which libav waits up to ten seconds for one of each. A microphone
# that falls silent must not keep pictures from the disk: a microsecond apart is waited for no longer.
_NO_WAITING = {"max_interleave_delta": "1"}

# hybrid_fragmented (libav 61.7): a fragmented file that becomes an ordinary one when closed. flush_packets hands every
# fragment to the sink as soon as it is complete, which is when it is made durable. Not frag_keyframe: a camera that
# sends JPEG would cost a sync for every picture.
_OPTIONS = {
    "movflags": "+hybrid_fragmented",
    "frag_duration": str(int(_MUXED_SECONDS * 1_000_000)),
    "flush_packets": "1",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What a closed file holds: frames, seconds from the first one's start to the last one's end, its CRC-64/NVME."""

    frames: int
    duration: float
    crc64nvme: str


class SegmentWriter:
    """Writes one segment to *path*, which exists and is empty; with *audio*, sound beside the pictures.

    The first picture's timestamps are 0 in the file.

    Every complete fragment is on the disk when ``write`` returns. Raises SpoolErrors, and SourceUnsupported when the
    muxer refuses the stream. After an error only ``abort`` may be called; what was durable stays readable.
    """

    def __init__(self, path: Path, template: VideoStream, audio: AudioStream | None = None) -> None:
        self._sink = DurableFile(path)
        options = {**_OPTIONS, **_NO_WAITING} if audio else _OPTIONS
        try:
            self._container = av.open(self._sink, "w", format="mp4", options=options, buffer_size=BUFFER_BYTES)
            self._stream = self._container.add_stream_from_template(template, opaque=True)
            self._sound = self._container.add_stream_from_template(audio, opaque=True) if audio else None
        except (av.error.FFmpegError, ValueError) as error:
            self._sink.close()
            raise SourceUnsupported(f"its packets cannot be stored in MP4 ({error})", where=str(path)) from error
        self._rate = template.average_rate or Fraction(25)
        self._base: int | None = None  # the first packet's dts, which becomes 0
        self._last_dts = -1
        self._last_sound = -1
        self._step = 0  # between the last two packets
        self._first_pts: int | None = None
        self._end = 0
        self._time_base = Fraction(1, 90_000)
        self.frames = 0

    @property
    def syncs(self) -> int:
        """How often something was made durable."""
        return self._sink.syncs

    @property
    def duration(self) -> float:
        """Seconds written so far."""
        return float((self._end - (self._first_pts or 0)) * self._time_base)

    def write(self, packet: VideoPacket) -> None:
        """Append *packet*, which has a pts and a larger dts than the last. It is changed and must not be used again."""
        dts, pts = packet.dts, packet.pts
        if dts is None or pts is None:
            raise WriteFailed("packet has no timestamps", where=str(self._sink.path))
        if self._base is None:
            self._base, self._first_pts = dts, pts
            self._time_base = packet.time_base  # of every packet of a stream; making the Fraction takes its time
            # The file's clock must tell apart what the packets' does: two of one time end a segment. libav's guess at
            # the rate of JPEGs on a pipe becomes a clock of 1/12800.
            self._stream.time_base = self._time_base
        else:
            self._step = dts - self._last_dts
        self._last_dts = dts
        # RTSP packets carry no duration; without one the last frame of the file would last no time at all.
        packet.duration = packet.duration or self._step or max(1, int(1 / (self._rate * self._time_base)))
        self._end = max(self._end, pts + packet.duration)
        packet.dts, packet.pts = dts - self._base, pts - self._base
        packet.stream = self._stream
        try:
            self._container.mux_one(packet)
        except av.error.FFmpegError as error:
            raise self._refused(error) from error
        self.frames += 1
        if self._sink.unsynced:
            self._sink.sync()

    def write_sound(self, packet: AudioPacket, time: float) -> None:
        """Append sound of *time*, in seconds on the pictures' axis. It is changed and must not be used again.

        Without a place in the file, it is left out: before the first picture, or long before the sound before it.
        """
        if self._sound is None or self._base is None:
            return
        tick = self._sound.time_base  # of the file, which counts in samples: the packet's own clock may be finer
        assert tick is not None  # noqa: S101 - the first picture's packet made libav write the header
        dts = round((time - float(self._base * self._time_base)) / tick)
        if dts < 0 or (self._last_sound - dts) * tick > _OVERLAP_SECONDS:
            return
        self._last_sound = dts = max(dts, self._last_sound + 1)
        packet.duration = round((packet.duration or 0) * packet.time_base / tick)
        packet.time_base = tick
        packet.dts = packet.pts = dts  # no sound codec reorders
        packet.stream = self._sound
        try:
            self._container.mux_one(packet)
        except av.error.FFmpegError as error:
            raise self._refused(error) from error
        if self._sink.unsynced:
            self._sink.sync()

    def close(self) -> Written:
        """Make the file an ordinary MP4, whole and durable."""
        try:
            self._container.close()
        except av.error.FFmpegError as error:
            raise self._refused(error) from error
        self._sink.sync()
        self._sink.close()
        return Written(self.frames, self.duration, self._sink.checksum())

    def abort(self) -> None:
        """Let go of the file as it is: the fragments on the disk stay, for salvage."""
        self._sink.close()
        with contextlib.suppress(av.error.FFmpegError):
            self._container.close()

    def _refused(self, error: av.error.FFmpegError) -> WriteFailed:
        return WriteFailed(f"muxer refused ({error.strerror or error})", where=str(self._sink.path))
