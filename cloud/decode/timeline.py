"""Frame times from what containers say, which is not always true. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

_JUMP = 1.0  # seconds back that no reordering explains: a camera that restarted its clock, a stream joined to another


@dataclass(slots=True)
class Timeline:
    """Seconds after the first frame for each decoded frame, in order of decoding; they never go back.

    Three faults are mended. Some muxers forget that frames were reordered and stamp them in order of coding: then the
    frames' times jump to and fro, and the sorted times of the packets are the right ones. A clock that jumps back goes
    on from where it was. A frame with no time comes one ``step`` after the one before.
    """

    step: float
    mended: int = 0
    """Frames whose own stamp was not taken."""
    _packets: list[float] = field(default_factory=list)
    _frames: int = 0
    _origin: float | None = None
    _latest: float = 0.0
    _reordered: bool = False

    def packet(self, stamp: float | None) -> None:
        """A packet went into the decoder without error; *stamp* is its presentation time."""
        if stamp is not None:
            heappush(self._packets, stamp)

    def frame(self, stamp: float | None) -> float:
        """The time of the next decoded frame, whose own presentation time is *stamp*; rounded to microseconds."""
        if self._origin is None:
            self._origin = stamp
        time = self._latest + (self.step if self._frames else 0.0)
        if stamp is not None and self._origin is not None:
            if not self._reordered and 0 < self._latest - (stamp - self._origin) < _JUMP:
                self._reordered = True
                for _ in range(min(self._frames, len(self._packets))):
                    heappop(self._packets)
            given = (stamp, self._origin)
            if self._reordered and self._packets:
                stamp = heappop(self._packets)
            if self._latest - (stamp - self._origin) >= _JUMP:
                self._origin = stamp - time
            time = max(self._latest, stamp - self._origin)
            self.mended += (stamp, self._origin) != given
        else:
            self.mended += 1
        self._frames += 1
        self._latest = time
        return round(time, 6)
