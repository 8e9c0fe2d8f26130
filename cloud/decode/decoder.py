"""One pass over a video: exact ordinals, whatever can be had of a damaged file, pictures of sampled frames only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cloud.decode.plan import is_sampled
from cloud.decode.timeline import Timeline
from cloud.settings import Sampling
from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

# Only what is named a video may be read as one: a playlist under a video's name must not make libav open other files.
_OPTIONS = {"format_whitelist": "mov,matroska,avi,mpegts,mpeg,mp4,webm", "protocol_whitelist": "file"}
_MAX_READ_ERRORS = 64  # without a packet between them: then the rest of the file is lost


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container says before anything is decoded; ``fps`` and ``duration`` (seconds) None where it does not."""

    codec: str
    width: int
    height: int
    fps: float | None
    duration: float | None
    frames: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled frame: ordinal among the decoded frames, seconds after the first, and its picture in BGR."""

    index: int
    time: float
    picture: Picture


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole pass found. ``truncated``: the container promises more than could be read.

    ``lost`` counts the frames that could not be had: exact where the container counts its frames, else the packets in
    error and what the missing time would have held.
    """

    decoded: int
    packets: int
    packet_errors: int
    truncated: bool
    lost: int


class Decoder:
    """A video file open for one pass; a context manager. *where* names the video in errors."""

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where
        self._stack = ExitStack()
        self.decoded = self._packets = self._errors = 0
        self._end = 0.0

    def __enter__(self) -> Self:
        """Raises VideoUnreadable when this is no video."""
        import av

        try:
            self._container: InputContainer = self._stack.enter_context(av.open(self._path, options=_OPTIONS))
        except (av.FFmpegError, ValueError) as error:
            raise self._unreadable(f"is no video that can be read ({_reason(error)})") from error
        if not self._container.streams.video:
            self.close()
            raise self._unreadable("holds no video stream")
        self._stream: VideoStream = self._container.streams.video[0]
        # One thread decodes the same damaged bytes to the same pictures every time; processes give the parallelism.
        self._stream.codec_context.thread_count = 1
        self.probe = _probe(self._container, self._stream)
        self._timeline = Timeline(1 / self.probe.fps if self.probe.fps else 1 / 30)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def samples(self, rule: Sampling) -> Iterator[Sample]:
        """Every frame that *rule* samples, in order. Raises VideoUnreadable at the end when no frame came at all."""
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        last: float | None = None
        for frame in self._frames():
            time = self._timeline.frame(_seconds(frame.pts, frame.time_base))
            index, self.decoded = self.decoded, self.decoded + 1
            self._end = time + (_seconds(frame.duration, frame.time_base) or self._timeline.step)
            if is_sampled(rule, index, time, last):
                last = time
                yield Sample(index, time, _picture(reformatter, frame))
        if not self.decoded:
            raise self._unreadable("gives no frame: it is damaged or empty")

    def report(self) -> Report:
        """What the pass found; complete once :meth:`samples` is exhausted."""
        probe = self.probe
        step = self._timeline.step
        missing = (probe.duration or 0.0) - self._end
        truncated = missing > 1.5 * step + 0.05
        lost = self._errors
        if truncated:
            tail = round(missing / step)
            lost = probe.frames - self.decoded if probe.frames and probe.frames > self.decoded else lost + tail
        return Report(self.decoded, self._packets, self._errors, truncated, lost)

    def _frames(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be had, stepping over what cannot be read or decoded."""
        import av

        for packet in self._read():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._errors += 1
                continue
            self._timeline.packet(_seconds(packet.pts, packet.time_base))
            yield from frames

    def _read(self) -> Iterator[av.Packet[VideoStream]]:
        """Every packet, and an empty one last that flushes the decoder."""
        import av

        in_a_row = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                in_a_row += 1
                self._errors += 1
                if in_a_row >= _MAX_READ_ERRORS:
                    return
                packets = self._container.demux(self._stream)
                continue
            in_a_row = 0
            if packet.size:
                self._packets += 1
            yield packet

    def _unreadable(self, what: str) -> VideoUnreadable:
        return VideoUnreadable(what, where=self._where, fix="check that the whole file was uploaded, and record anew")


def _probe(container: InputContainer, stream: VideoStream) -> Probe:
    rate = stream.average_rate or stream.guessed_rate
    duration: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:  # other streams may last longer
        duration = container.duration / 1_000_000
    context = stream.codec_context
    return Probe(
        codec=context.name,
        width=context.width,
        height=context.height,
        fps=round(float(rate), 3) if rate else None,
        duration=round(duration, 6) if duration else None,
        frames=stream.frames or None,
    )


def _seconds(ticks: int | None, base: Fraction | None) -> float | None:
    return None if ticks is None or base is None else float(ticks * base)


def _picture(reformatter: Any, frame: av.VideoFrame) -> Picture:
    picture: Picture = reformatter.reformat(frame, format="bgr24").to_ndarray()
    return picture


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
