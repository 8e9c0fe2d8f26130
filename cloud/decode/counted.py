"""Every frame of a video, in the order the decoder gives them: the plain way, for stamps that cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from cloud.decode.timeline import Timeline

if TYPE_CHECKING:
    import av

    from cloud.decode.reading import Reading


@dataclass(slots=True)
class Counted:
    """One pass over *video*; ``step`` is the usual time between frames, in seconds."""

    video: Reading
    step: float
    decoded: int = field(default=0, init=False)
    errors: int = field(default=0, init=False)
    mended: int = field(default=0, init=False)

    def frames(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Ordinal, seconds after the first, frame: all that can be had, stepping over what cannot be decoded."""
        import av

        timeline = Timeline(self.step)
        for packet in self.video.packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.errors += 1
                continue
            timeline.packet(_seconds(packet.pts, packet.time_base))
            for frame in frames:
                time = timeline.frame(_seconds(frame.pts, frame.time_base))
                number, self.decoded = self.decoded, self.decoded + 1
                self.mended = timeline.mended
                yield number, time, frame


def _seconds(ticks: int | None, base: Fraction | None) -> float | None:
    return None if ticks is None or base is None else float(ticks * base)
