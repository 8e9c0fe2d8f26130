"""Which frames are sampled, and when they were."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.decode.convert import crop_box
from cloud.decode.packets import UNKNOWN, PacketIndex
from cloud.decode.plan import Mode, StreamFacts, ordinals, plan, sampled, spread
from cloud.decode.sample import shrunk
from cloud.decode.scene import Scene
from cloud.decode.timeline import Timeline
from cloud.settings import Sampling


@given(st.integers(1, 50), st.integers(0, 300))
def test_every_nth_is_by_ordinal(every: int, frames: int) -> None:
    """Ordinals 0, N, 2N …, whatever the times."""
    assert list(sampled(Sampling(every=every), [0.0] * frames)) == list(range(0, frames, every))


@given(st.integers(1, 50), st.data(), st.integers(0, 300))
def test_a_phase_moves_the_first(every: int, data: st.DataObject, frames: int) -> None:
    """Ordinals P, N + P, 2N + P …; none where the video is shorter."""
    phase = data.draw(st.integers(0, every - 1))
    found = list(sampled(Sampling(every=every, phase=phase), [0.0] * frames))
    assert found == list(range(phase, frames, every))


@given(st.integers(1, 100), st.integers(0, 1000))
def test_a_count_is_spread_evenly(count: int, total: int) -> None:
    """As many as asked for or as there are, no two alike, the gaps differing by one at most, both ends alike."""
    found = spread(count, total)
    assert len(found) == len(set(found)) == min(count, total)
    gaps = {after - before for before, after in itertools.pairwise(found)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    if found:
        assert abs(found[0] - (total - 1 - found[-1])) <= 1


def test_a_scene_is_sampled_when_small_changes_add_up() -> None:
    """Each picture is held against the last one sampled, not against the last."""
    scene = Scene(0.1)
    levels = [0, 10, 20, 30, 40, 41, 0]
    assert [scene.changed(np.full((4, 4), level, np.uint8)) for level in levels] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]


def packets(
    pts: list[int], key: list[int], *, dts: list[int] | None = None, hidden: tuple[int, ...] = ()
) -> PacketIndex:
    numbers = np.arange(len(pts))
    return PacketIndex(
        np.array(pts, np.int64),
        np.array(dts if dts is not None else numbers, np.int64),
        np.ones(len(pts), np.int64),
        np.isin(numbers, key),
        np.isin(numbers, hidden),
    )


PLAIN = StreamFacts("h264", 0, interlaced=False)
REORDERED = StreamFacts("h264", 2, interlaced=False)


def test_ordinals_are_ranks_of_presentation_times() -> None:
    """Reordered packets get their place in showing; what an edit list hides gets none, and takes none."""
    index = packets([0, 3, 1, 2, 4], [0], hidden=(2,))
    found = ordinals(index, REORDERED)
    assert found is not None
    assert found.tolist() == [0, 2, -1, 1, 3]


@pytest.mark.parametrize(
    ("index", "facts"),
    [
        (packets([0, 1, 2], [1]), PLAIN),
        (packets([0, 1, 1], [0]), PLAIN),
        (packets([0, UNKNOWN, 2], [0]), PLAIN),
        (packets([2, 0, 1, 3], [0]), REORDERED),
        (packets([0, 1, 2, 3], [0]), REORDERED),
        (packets([0, 3, 1, 2], [0]), PLAIN),
        (packets([0, 1, 2], [0], dts=[5, 6, 1]), PLAIN),
        (packets([0, 1, 2], [0]), StreamFacts("h264", 0, interlaced=True)),
        (packets([0, 1, 2], [0]), StreamFacts("vp8", 0, interlaced=False)),
        (packets([0, 1, 2], [0], hidden=(0, 1, 2)), PLAIN),
        (packets([*range(100, 200), *range(50), *range(200, 300)], [0, 100]), REORDERED),
        (packets([], []), PLAIN),
    ],
    ids=[
        "cut", "twice", "no-stamp", "leading-pictures", "stamped-in-coding-order", "reorders-unannounced",
        "clock-went-back", "fields", "invisible-packets", "all-hidden", "two-takes", "empty",
    ],
)  # fmt: skip
def test_stamps_that_do_not_tell_are_not_believed(index: PacketIndex, facts: StreamFacts) -> None:
    """Then frames are counted as they come out of the decoder."""
    assert ordinals(index, facts) is None


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.sets(st.integers(0, 143), max_size=20), st.booleans())
def test_a_plan_covers_each_sample_from_its_keyframe_and_no_other_group(
    groups: list[int], wanted: set[int], skips: bool
) -> None:
    """Every sample lies in a run that begins with a keyframe; each group in a run holds a sample; runs ascend apart."""
    total, keys = sum(groups), [sum(groups[:place]) for place in range(len(groups))]
    index = packets(list(range(total)), keys)
    facts = PLAIN if skips else StreamFacts("hevc", 0, interlaced=False)
    numbers = ordinals(index, facts)
    assert numbers is not None
    targets = sorted(number for number in wanted if number < total)
    found = plan(index, facts, numbers, np.array(targets, np.int64), copy=False)
    covered = [position for run in found.runs for position in range(run.start, run.stop)]
    assert set(targets) <= set(covered)
    assert covered == sorted(set(covered))
    assert all(run.start in keys and run.stop - 1 in targets for run in found.runs)
    for start, length in zip(keys, groups, strict=True):
        inside = set(range(start, start + length))
        assert bool(inside & set(covered)) == bool(inside & set(targets))
    if set(targets) <= set(keys) and all(run.stop - run.start == 1 for run in found.runs):
        assert found.mode is Mode.KEYFRAMES
    assert found.skip == (skips and found.mode is Mode.REFERENCES)


def test_a_leading_picture_needs_the_group_before() -> None:
    """It follows a keyframe in the file, is shown before it, and refers to both."""
    index = packets([0, 1, 2, 6, 4, 5, 7], [0, 3])
    numbers = ordinals(index, REORDERED)
    assert numbers is not None
    for wanted, start in ((3, 0), (4, 0), (5, 3), (6, 3)):
        (run,) = plan(index, REORDERED, numbers, np.array([wanted]), copy=False).runs
        assert run.start == start, wanted


@given(
    st.tuples(st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0.001, 1), st.floats(0.001, 1)),
    st.integers(1, 4000),
    st.integers(1, 4000),
)
def test_a_crop_is_never_empty_and_never_outside(
    crop: tuple[float, float, float, float], width: int, height: int
) -> None:
    """Whatever the fractions round to."""
    left, top, across, down = crop_box(crop, width, height)
    assert 0 <= left < left + across <= width
    assert 0 <= top < top + down <= height


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(1, 500), st.integers(1, 500))
def test_shrinking_fits_and_never_enlarges(width: int, height: int, most_wide: int, most_high: int) -> None:
    """At least one pixel stays."""
    across, down = shrunk(width, height, most_wide, most_high)
    assert 1 <= across <= min(width, most_wide)
    assert 1 <= down <= min(height, most_high)


@pytest.mark.parametrize(
    ("fps", "seconds", "expected"),
    [(30, 1.0, [0, 30, 60]), (10, 0.5, [0, 5, 10, 15, 20]), (2, 0.1, [0, 1, 2]), (29.97, 1.0, [0, 30, 60])],
)
def test_one_per_seconds_at_a_constant_rate(fps: float, seconds: float, expected: list[int]) -> None:
    """The first frame of each stretch, also when times are rounded to milliseconds."""
    times = [round(index / fps, 3) for index in range(100)]
    assert list(sampled(Sampling(seconds=seconds), times))[: len(expected)] == expected


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80), st.floats(0.01, 3))
def test_one_per_seconds_takes_at_most_one_of_each_stretch(gaps: list[float], seconds: float) -> None:
    """The first frame always, never two of one stretch, and never none of a stretch that has frames."""
    times = [sum(gaps[:count]) - gaps[0] for count in range(1, len(gaps) + 1)]
    taken = list(sampled(Sampling(seconds=seconds), times))
    early = min(0.0015, seconds / 4)
    stretches = [int((time + early) // seconds) for time in times]
    assert taken[0] == 0
    assert [stretches[index] for index in taken] == sorted(set(stretches))


def times_of(packets: list[float | None], frames: list[float | None], step: float = 0.1) -> list[float]:
    """Times of *frames* from a decoder that lags two packets behind."""
    timeline, found = Timeline(step), []
    for number, packet in enumerate(packets):
        timeline.packet(packet)
        if number >= 2:
            found.append(timeline.frame(frames[number - 2]))
    return found + [timeline.frame(stamp) for stamp in frames[len(found) :]]


def test_ordinary_times_are_relative_to_the_first() -> None:
    """Frames in order keep their times, B-frames among the packets or not."""
    assert times_of([5.0, 5.3, 5.1, 5.2], [5.0, 5.1, 5.2, 5.3]) == [0.0, 0.1, 0.2, 0.3]


def test_times_stamped_in_coding_order_are_sorted() -> None:
    """A muxer that forgot reordering: from the first fault on, the packets' sorted times are taken."""
    frames: list[float | None] = [0.0, 0.3, 0.2, 0.4, 0.1, 0.7, 0.6, 0.8, 0.5]
    found = times_of([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], frames)
    assert found == sorted(found)
    assert found[4:] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8])


def test_a_clock_that_jumps_back_goes_on() -> None:
    """A camera that restarted its clock makes no frame go back in time."""
    assert times_of([], [100.0, 100.1, 3.0, 3.1]) == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_frames_without_times_come_a_step_apart() -> None:
    """No time at all means the nominal rate."""
    assert times_of([], [None, None, None]) == pytest.approx([0.0, 0.1, 0.2])


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=50), st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_times_never_go_back(frames: list[float | None], packets: list[float | None]) -> None:
    """Whatever the container says."""
    found = times_of(packets[: len(frames)], frames)
    assert found == sorted(found)
    assert not found or found[0] == 0
