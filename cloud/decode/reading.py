"""A video file's packets, as far as it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

# Only what is named a video may be read as one: a playlist under a video's name must not make libav open other files.
_OPTIONS = {"format_whitelist": "mov,matroska,avi,mpegts,mpeg,mp4,webm", "protocol_whitelist": "file"}
_MAX_READ_ERRORS = 64  # without a packet between them: then the rest of the file is lost


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container says before anything is decoded; ``fps`` and ``duration`` (seconds) None where it does not.

    ``width`` and ``height`` are the coded picture's, before it is turned upright.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    duration: float | None
    frames: int | None


@dataclass(slots=True)
class Reading:
    """An open file and its first video stream; :func:`reading` makes one. Read once, from the beginning."""

    container: InputContainer
    stream: VideoStream
    errors: int = field(default=0, init=False)

    def packets(self) -> Iterator[av.Packet[VideoStream]]:
        """Every packet that can be read, and an empty one last, which flushes a decoder."""
        import av

        in_a_row = 0
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                in_a_row += 1
                self.errors += 1
                if in_a_row >= _MAX_READ_ERRORS:
                    return
                packets = self.container.demux(self.stream)
                continue
            in_a_row = 0
            yield packet


def open_video(path: Path, where: str) -> Reading:
    """The video at *path*; the caller closes its container. Raises VideoUnreadable when this is no video."""
    import av

    try:
        container = av.open(f"file:{path}", options=_OPTIONS)
    except (av.FFmpegError, ValueError) as error:
        raise unreadable(f"is no video that can be read ({_reason(error)})", where) from error
    if not container.streams.video:
        container.close()
        raise unreadable("holds no video stream", where)
    stream = container.streams.video[0]
    context: VideoCodecContext | None = stream.codec_context  # None where libav knows no decoder
    if context is None:
        container.close()
        raise unreadable("holds video of a kind that cannot be decoded", where)
    # One thread decodes the same damaged bytes to the same pictures every time; processes give the parallelism.
    context.thread_count = 1
    return Reading(container, stream)


def probe(video: Reading) -> Probe:
    stream, container = video.stream, video.container
    rate = stream.average_rate or stream.guessed_rate
    duration: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:  # other streams may last longer
        duration = container.duration / 1_000_000
        if container.format.name.startswith("matroska"):  # its duration counts from zero, not from the first frame
            duration -= max(0, container.start_time or 0) / 1_000_000
    frames: int | None = stream.frames or None
    if container.format.name == "avi" and frames and rate:  # it counts empty chunks, and guesses after a cut
        duration, frames = float(frames / rate), None
    context = stream.codec_context
    return Probe(
        codec=context.name,
        width=context.width,
        height=context.height,
        fps=round(float(rate), 3) if rate else None,
        duration=round(duration, 6) if duration else None,
        frames=frames,
    )


def unreadable(what: str, where: str) -> VideoUnreadable:
    return VideoUnreadable(what, where=where, fix="check that the whole file was uploaded, and record anew")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
