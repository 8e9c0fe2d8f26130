"""Segments recorded before the wall clock was set get their right times and names, before they are uploaded.

Monotonic time does not notice when the wall clock is set: a segment that began at monotonic second *m* of this boot
began at *m* plus the wall offset as it is once the clock is right. Segments of an earlier boot cannot be corrected and
go as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import DiskFull, NameInvalid, SpoolUnusable, WriteFailed
from edge_agent.segment import Segment, SegmentName, Take, utc_milliseconds
from edge_agent.spool import VIDEO_SUFFIX, Spool

HOLD_SECONDS = 600.0  # how long a segment waits for the clock to be set; time services need seconds to a few minutes
NEAR = timedelta(seconds=0.5)  # a start no further off keeps its name: the clock was right, nobody had said so

UNSYNCHRONISED, CORRECTED, SYNCHRONISED = "unsynchronised", "corrected", "synchronised"


@dataclass(frozen=True, slots=True)
class Now:
    """What the clock says: which boot, its monotonic seconds, the wall offset, and whether that can be trusted."""

    boot: str
    monotonic: float
    wall_offset: float
    synchronised: bool
    setting_expected: bool

    @classmethod
    def of(cls, clock: Clock) -> Now:
        return cls(
            clock.boot_id(), clock.monotonic(), clock.wall_offset(), clock.synchronised(), clock.setting_expected()
        )


def corrected(segment: Segment, now: Now) -> Segment | None:
    """*segment* with its right start and still its old name, or None when there is nothing to correct it by. Pure."""
    if segment.clock != UNSYNCHRONISED or not now.synchronised or not segment.boot or segment.boot != now.boot:
        return None
    start = utc_milliseconds(datetime.fromtimestamp(now.wall_offset + segment.monotonic, UTC))
    if abs(start - segment.start) <= NEAR:
        return replace(segment, clock=SYNCHRONISED)
    return replace(segment, start=start, clock=CORRECTED)


def is_held(segment: Segment, now: Now) -> bool:
    """Whether *segment* should wait for the clock to be set before it is uploaded. Pure."""
    if segment.clock != UNSYNCHRONISED or not segment.boot or segment.boot != now.boot:
        return False
    age = now.monotonic - segment.monotonic - segment.duration
    return now.setting_expected and not now.synchronised and age < HOLD_SECONDS


def right_name(segment: Segment) -> SegmentName:
    """The name for *segment*'s start; a hand-made take has no time in it and keeps its name. Pure."""
    made = segment.name.made_by
    if segment.clock != CORRECTED or made is None or made.start == segment.start:
        return segment.name
    return SegmentName(segment.name.tag, str(Take(made.device, made.camera, segment.start)))


class Corrector:
    """Corrects what is in *spool*'s ``ready/``. Every step can be the last: what was begun is found and ended.

    The old sidecar is told the right start first, with the old name: that is the intent. Then the new sidecar is
    written, the video linked to its new name, *renamed* called with old stem, new stem and new file name for the ledger
    to follow, and only then are the old names given up. Whoever asks for what is ready asks here first, so nothing is
    uploaded under both names.
    """

    def __init__(self, spool: Spool, clock: Clock, renamed: Callable[[str, str, str], object]) -> None:
        self._spool = spool
        self._clock = clock
        self._renamed = renamed
        self._right: set[str] = set()  # names whose sidecar needs no second look

    def settle(self, videos: list[Path], sent: Callable[[str], bool]) -> tuple[int, set[Path]]:
        """Correct the *videos* that can be; how many were, and which of them are not to be uploaded yet.

        One that *sent* says may be in the store already keeps its name. Raises SpoolError.
        """
        now, done, held = Now.of(self._clock), 0, set()
        self._right &= {video.name for video in videos}
        for video in videos:
            if video.name in self._right or (segment := self._sidecar(video)) is None:
                continue
            if right_name(segment) == segment.name and (segment.clock != UNSYNCHRONISED or segment.boot != now.boot):
                self._right.add(video.name)
                continue
            if not sent(video.stem):
                try:
                    if better := corrected(segment, now):
                        self._spool.write_sidecar(video, better)
                        segment, done = better, done + 1
                    if right_name(segment) != segment.name:
                        self._rename(video, segment)
                        continue
                except DiskFull:  # it must not stop the others' upload, which makes room
                    if segment.clock == CORRECTED:
                        held.add(video)
                    continue
            if is_held(segment, now):
                held.add(video)
        return done, held

    def _rename(self, video: Path, segment: Segment) -> None:
        def follow(name: SegmentName) -> None:
            self._renamed(video.stem, name.stem, name.stem + VIDEO_SUFFIX)

        start = segment.start
        while True:
            new = replace(segment, name=right_name(replace(segment, start=start)), start=start)
            if self._spool.rename_ready(video, new, follow):
                return
            start += timedelta(milliseconds=1)

    def _sidecar(self, video: Path) -> Segment | None:
        """What the sidecar says, or None: what is wrong with it is settled when the video is uploaded."""
        try:
            segment = self._spool.sidecar(video)
        except (NameInvalid, SpoolUnusable, WriteFailed):
            return None
        return segment if segment and segment.name.stem == video.stem else None
