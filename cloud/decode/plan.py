"""Which frames become pictures, and which packets must be decoded for them. Pure: no file, no codec.

A frame's ordinal is the rank of its presentation time among the video's packets, so that a frame that cannot be decoded
leaves a gap and every other keeps its number. A packet that is not in the file has none: what follows is counted from
there, as every player does. Where stamps cannot be trusted to say that (:func:`ordinals`), frames are
counted as they come out of the decoder.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloud.settings import Sampling

if TYPE_CHECKING:
    from cloud.decode.packets import Integers, PacketIndex

# Media times come rounded to a container's time base (1 ms in Matroska): a frame this little early is on time.
EARLY = 0.0015

# One packet gives one frame, neither more nor none. Not so with VP8 and VP9, whose packets may be invisible.
RANKED = frozenset({"h264", "hevc", "mjpeg", "mpeg4", "msmpeg4v3", "msmpeg4v2", "msmpeg4"})

# Decoders that leave out frames no other refers to when told so, with all others unchanged. Not H.265: there a frame
# nobody in its own temporal layer refers to may still be referred to by a higher one.
SKIPPING = frozenset({"h264", "mpeg4"})

_REORDERED_AT_MOST = 32  # places between coding and showing; H.264 and H.265 allow 16 frames, fields count double


class Mode(enum.StrEnum):
    """How a video is decoded, the cheapest first."""

    COPY = "packets copied"
    KEYFRAMES = "keyframes only"
    REFERENCES = "what samples refer to, in groups that hold samples"
    GROUPS = "groups that hold samples"
    SEQUENCE = "everything, in order"


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the codec says: its ``name``, how many frames it holds back to reorder, whether frames are fields."""

    codec: str
    reorder: int
    interlaced: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Packets ``start`` to ``stop`` (exclusive) go through the decoder, which is flushed after them."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``runs`` in order, without overlap; with ``skip``, what no other frame refers to may be left out."""

    mode: Mode
    runs: tuple[Run, ...]
    skip: bool


def is_sampled(rule: Sampling, index: int, time: float, last: float | None) -> bool:
    """Whether the frame with ordinal *index*, *time* seconds after the first, is sampled, by ``every`` or ``seconds``.

    *last* is the time of the frame sampled before it, None when there is none. With ``every: N`` it is ordinals
    ``phase``, N + ``phase``, 2N + ``phase`` …; with ``seconds: T`` the first frame in each of [0, T), [T, 2T) …, so a
    gap in the footage brings no extra frames. Times never go back.
    """
    if rule.every is not None:
        return index % rule.every == rule.phase
    if last is None:
        return True
    assert rule.seconds is not None  # noqa: S101 - the other rules do not look at one frame alone
    return _stretch(time, rule.seconds) > _stretch(last, rule.seconds)


def sampled(rule: Sampling, times: Iterable[float]) -> Iterator[int]:
    """Ordinals of the frames to sample by ``every`` or ``seconds``, of frames at *times*."""
    last: float | None = None
    for index, time in enumerate(times):
        if is_sampled(rule, index, time, last):
            last = time
            yield index


def spread(count: int, total: int) -> tuple[int, ...]:
    """Ordinals of *count* of *total* frames, each in the middle of its share; all of them when there are no more."""
    if total <= count:
        return tuple(range(total))
    return tuple((2 * share + 1) * total // (2 * count) for share in range(count))


def ordinals(index: PacketIndex, facts: StreamFacts) -> Integers | None:
    """The ordinal of each packet's frame, -1 where it is hidden; None when stamps do not tell.

    They tell if the first packet is a keyframe that nothing precedes in showing (leading pictures of an open group
    cannot be decoded), every stamp is there, none twice, decoding times never go back (a clock that was reset would
    interleave two takes), and frames are stamped out of order if and only if the codec reorders: some muxers stamp
    reordered frames in order of coding.
    """
    import numpy as np

    from cloud.decode.packets import UNKNOWN

    shown = ~index.hidden
    pts = index.pts[shown]
    if not len(pts) or facts.codec not in RANKED or facts.interlaced or not index.key[0]:
        return None
    if (pts == UNKNOWN).any() or index.pts[0] > pts.min():
        return None
    dts = index.dts[index.dts != UNKNOWN]
    order = np.argsort(pts, kind="stable")
    in_order = bool((np.diff(pts) > 0).all())
    if (np.diff(dts) < 0).any() or (np.diff(pts[order]) == 0).any() or in_order != (facts.reorder == 0):
        return None
    ranks = np.empty(len(pts), np.int64)
    ranks[order] = np.arange(len(pts))
    if abs(ranks - np.arange(len(pts))).max() > _REORDERED_AT_MOST:
        return None
    found = np.full(len(index), -1, np.int64)
    found[shown] = ranks
    return found


def plan(index: PacketIndex, facts: StreamFacts, numbers: Integers, wanted: Integers, *, copy: bool) -> Plan:
    """How to decode the frames with ordinals *wanted*, of a video whose packets have the ordinals *numbers*.

    *copy*: packets are pictures that can be stored as they are. A group is decoded from its keyframe to its last
    sample; one that holds none is left out.
    """
    import numpy as np

    positions = np.flatnonzero(np.isin(numbers, wanted))
    runs = tuple(_runs(index, positions))
    if copy:
        return Plan(Mode.COPY, runs, skip=False)
    if not len(index) or all(run.stop - run.start == 1 for run in runs):
        return Plan(Mode.KEYFRAMES, runs, skip=False)
    if len(wanted) == int((numbers >= 0).sum()):
        return Plan(Mode.SEQUENCE, runs, skip=False)
    skip = facts.codec in SKIPPING
    return Plan(Mode.REFERENCES if skip else Mode.GROUPS, runs, skip)


def earlier_keyframe(index: PacketIndex, position: int) -> int:
    """The last keyframe before *position*, or the first packet."""
    import numpy as np

    before = np.flatnonzero(index.key[:position])
    return int(before[-1]) if len(before) else 0


def _runs(index: PacketIndex, positions: Integers) -> Iterator[Run]:
    """From the keyframe each position needs to the position, joined where they touch.

    A picture shown before the keyframe it follows in the file needs the group before, too.
    """
    import numpy as np

    keys = np.flatnonzero(index.key)
    start = stop = -1
    for position, place in zip(positions.tolist(), np.searchsorted(keys, positions, "right").tolist(), strict=True):
        group = place - 1
        while group > 0 and index.pts[position] < index.pts[keys[group]]:
            group -= 1
        first = int(keys[max(group, 0)])
        if first > stop or start < 0:
            if start >= 0:
                yield Run(start, stop)
            start = first
        stop = position + 1
    if start >= 0:
        yield Run(start, stop)


def _stretch(time: float, length: float) -> int:
    return int((time + min(EARLY, length / 4)) // length)
