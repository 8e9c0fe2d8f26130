"""What demuxing says about a video's packets: one pass without decoding, kept as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

UNKNOWN = -(2**63)
"""A stamp that the container does not give."""

_LONGEST_HOLE = 25  # frames in a row: about a second
_CONSTANT = 0.9  # of the times between frames are the usual one: fewer, and the camera took them so


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """A video's packets in the order of the file; all arrays of one length.

    ``pts``, ``dts`` and ``duration`` are in ticks of the stream's time base, stamps that are not given UNKNOWN and
    durations 0. ``hidden`` packets are decoded but their frames not shown: an edit list leaves them out.
    """

    pts: Integers
    dts: Integers
    duration: Integers
    key: Flags
    hidden: Flags

    def __len__(self) -> int:
        return len(self.pts)

    def span(self) -> tuple[int, int]:
        """Ticks from the first shown frame to the end of the last, and the usual time between two; 0 if unknown."""
        import numpy as np

        shown = ~self.hidden & (self.pts != UNKNOWN)
        pts = np.sort(self.pts[shown])
        if not len(pts):
            return 0, 0
        step = int(np.median(np.diff(pts))) if len(pts) > 1 else 0
        last = int(self.duration[shown][np.argmax(self.pts[shown])])
        return int(pts[-1] - pts[0]) + (last or step), step

    def holes(self) -> int:
        """How many frames of a constant rate have no packet between the first and the last; 0 where the rate varies.

        It is constant if nine in ten of the times between two frames are the usual one and all others are small
        multiples of it, but for what a container's time base rounds. A longer gap tells of a clock that was set, or of
        a still.
        """
        import numpy as np

        _, step = self.span()
        if not step:
            return 0
        steps = np.diff(np.sort(self.pts[~self.hidden & (self.pts != UNKNOWN)]))
        times = np.rint(steps / step).astype(np.int64)
        exact = abs(steps - times * step) <= np.minimum(times, step // 4)
        constant = (times == 1).mean() >= _CONSTANT and ((times > 0) & (times <= _LONGEST_HOLE + 1) & exact).all()
        return int((times - 1).sum()) if constant else 0


@dataclass(slots=True)
class IndexBuilder:
    """Packets to a PacketIndex, 26 bytes each while it grows: an hour at 30 a second is 3 MB."""

    corrupt_last: bool = False
    _pts: array[int] = field(default_factory=lambda: array("q"))
    _dts: array[int] = field(default_factory=lambda: array("q"))
    _duration: array[int] = field(default_factory=lambda: array("q"))
    _key: bytearray = field(default_factory=bytearray)
    _hidden: bytearray = field(default_factory=bytearray)

    def add(self, packet: av.Packet[VideoStream]) -> None:
        """Take the next packet; one without bytes is the demuxer's end mark and left out."""
        if not packet.size:
            return
        self._pts.append(UNKNOWN if packet.pts is None else packet.pts)
        self._dts.append(UNKNOWN if packet.dts is None else packet.dts)
        self._duration.append(packet.duration or 0)
        self._key.append(packet.is_keyframe)
        self._hidden.append(packet.is_discard)
        self.corrupt_last = packet.is_corrupt

    def index(self) -> PacketIndex:
        import numpy as np

        def stamps(values: array[int]) -> Integers:
            return np.array(values, np.int64)

        def flags(values: Iterable[int]) -> Flags:
            return np.frombuffer(bytes(values), np.uint8).astype(np.bool_)

        return PacketIndex(
            stamps(self._pts), stamps(self._dts), stamps(self._duration), flags(self._key), flags(self._hidden)
        )
