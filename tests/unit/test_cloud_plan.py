"""Which frames are sampled, and when they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.decode.plan import sampled
from cloud.decode.timeline import Timeline
from cloud.settings import Sampling


@given(st.integers(1, 50), st.integers(0, 300))
def test_every_nth_is_by_ordinal(every: int, frames: int) -> None:
    """Ordinals 0, N, 2N …, whatever the times."""
    assert list(sampled(Sampling(every=every), [0.0] * frames)) == list(range(0, frames, every))


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
