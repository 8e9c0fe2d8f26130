"""Segments recorded before the wall clock was set get their right times and names, before they are uploaded.

Monotonic time does not notice when the wall clock is set: a segment that began at monotonic second *m* of this boot
began at *m* plus the wall offset as it is once the clock is right. Segments of an earlier boot cannot be corrected and
go as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import DiskFull, NameInvalid, SpoolUnusable, WriteFailed
from edge_agent.segment import Segment, SegmentName, Take, utc_milliseconds
from edge_agent.spool import SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool

HOLD_SECONDS = 600.0  # how long a segment waits for the clock to be set; time services need seconds to a few minutes
NEAR = timedelta(seconds=0.5)  # a start no further off keeps its name: the clock was right, nobody had said so

UNSYNCHRONISED, CORRECTED, SYNCHRONISED = "unsynchronised", "corrected", "synchronised"

# How a sidecar says that there is nothing to correct, as nearly all do: no string in it can, as quotes are escaped.
_SURE = f'"clock": "{SYNCHRONISED}"'.encode()


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


@dataclass(frozen=True, slots=True)
class Settled:
    """How many segments were corrected, and where each video stands, by its name of now.

    ``known`` may be uploaded; those of them in ``later`` may yet be corrected, if they are not sent before. ``held``
    wait for that.
    """

    corrected: int
    known: tuple[Path, ...]
    later: frozenset[Path]
    held: frozenset[Path]


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

    def settle(self, videos: Sequence[Path], sent: Callable[[str], bool]) -> Settled:
        """Correct those of *videos* that can be. One that *sent* says may be in the store keeps its name.

        Raises SpoolError.
        """
        now, done = Now.of(self._clock), 0
        known: list[Path] = []
        later: set[Path] = set()
        held: set[Path] = set()
        for video in videos:
            if _is_sure(video):
                known.append(video)
                continue
            segment = self._sidecar(video)
            right = segment is None or right_name(segment) == segment.name
            if segment is None or (right and (segment.clock != UNSYNCHRONISED or segment.boot != now.boot)):
                known.append(video)
                continue
            if sent(video.stem):
                known.append(video)
                continue
            try:
                if better := corrected(segment, now):
                    self._spool.write_sidecar(video, better)
                    segment, done = better, done + 1
                if right_name(segment) != segment.name:
                    known.append(self._rename(video, segment))
                    continue
            except DiskFull:  # it must not stop the others' upload, which makes room
                (held.add if segment.clock == CORRECTED else known.append)(video)
                later.add(video)
                continue
            if is_held(segment, now):
                held.add(video)
                continue
            known.append(video)
            if segment.clock == UNSYNCHRONISED:
                later.add(video)
        return Settled(done, tuple(known), frozenset(later), frozenset(held))

    def _rename(self, video: Path, segment: Segment) -> Path:
        """Give *video* the name for *segment*'s start, or the next free one; where it is then."""

        def follow(name: SegmentName) -> None:
            self._renamed(video.stem, name.stem, name.stem + VIDEO_SUFFIX)

        start = segment.start
        while True:
            new = replace(segment, name=right_name(replace(segment, start=start)), start=start)
            if self._spool.rename_ready(video, new, follow):
                return video.with_name(new.name.stem + VIDEO_SUFFIX)
            start += timedelta(milliseconds=1)

    def _sidecar(self, video: Path) -> Segment | None:
        """What the sidecar says, or None: what is wrong with it is settled when the video is uploaded."""
        try:
            segment = self._spool.sidecar(video)
        except (NameInvalid, SpoolUnusable, WriteFailed):
            return None
        return segment if segment and segment.name.stem == video.stem else None


def _is_sure(video: Path) -> bool:
    """Whether its sidecar says so, at a tenth of the price of reading what else it says: a queue may be long."""
    try:
        return _SURE in video.with_suffix(SIDECAR_SUFFIX).read_bytes()
    except OSError:
        return False
