"""What a video that came without a sidecar says of itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.errors import VideoUnreadable
from edge_agent.segment import Segment, SegmentName

HAND_MADE_CAMERA = "unknown"

_FIX = "look at it; put a repaired copy back under the same name"


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Duration in seconds, frames as packets of the video stream, codec as libav names it, size of the picture."""

    duration: float
    frames: int
    codec: str
    width: int
    height: int


def video_facts(video: Path) -> VideoFacts:
    """The facts of the first video stream of an MP4 file, from its packets; nothing is decoded.

    Raises VideoUnreadable when it is no MP4 or has no frame, and OSError when it cannot be read at all.
    """
    import av

    try:
        # The protocol and the format are given because guessing them would also follow what a name or a play list says.
        with closing(av.open(f"file:{video.absolute()}", mode="r", format="mp4")) as container:
            if not container.streams.video:
                raise VideoUnreadable("has no video stream", where=str(video), fix=_FIX)
            stream = container.streams.video[0]
            frames, ticks = 0, 0
            for packet in container.demux(stream):
                if packet.size:
                    frames += 1
                    ticks += packet.duration or 0
            if not frames:
                raise VideoUnreadable("has no frame", where=str(video), fix=_FIX)
            duration = float(ticks * stream.time_base) if stream.time_base else 0.0
            context = stream.codec_context
            return VideoFacts(round(duration, 6), frames, context.name, context.width, context.height)
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # no such file, no right to read it: not what the file is, but how it stands
            raise
        raise VideoUnreadable(f"is no readable MP4 video ({error.strerror})", where=str(video), fix=_FIX) from error


def describe(video: Path, name: SegmentName, device: str) -> Segment:
    """The sidecar of *video*: device, camera and start from the take, or *device* and the file's own time."""
    facts = video_facts(video)
    take = name.made_by
    return Segment(
        name=name,
        device=take.device if take else device,
        camera=take.camera if take else HAND_MADE_CAMERA,
        start=take.start if take else datetime.fromtimestamp(video.stat().st_mtime, UTC),
        duration=facts.duration,
        frames=facts.frames,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        clock="synchronised" if take else "unsynchronised",
        class_set_by="name",
    )
