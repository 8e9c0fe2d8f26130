"""Fewer frames without decoding; and which frames to encode."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.reader import Arrival
from edge_agent.capture.sources.base import StreamFormat
from edge_agent.capture.sources.encoded import FramePace, bit_rate
from edge_agent.capture.thinner import Thinner
from edge_agent.errors import SourceUnsupported


def arrival(codec: str, number: int, *, key: bool = True, duration: int = 3) -> Arrival:
    packet = SimpleNamespace(is_keyframe=key, pts=number * 3, duration=duration)
    return Arrival(cast("Any", packet), StreamFormat(codec, 160, 120), cast("Any", None), number / 30)


@given(st.integers(1, 50), st.integers(2, 200), st.sampled_from(["mjpeg", "h264"]))
def test_the_first_of_every_n_is_kept_and_lasts_until_the_next(keep_every: int, sent: int, codec: str) -> None:
    """Whatever the codec and however many come."""
    thinner = Thinner(keep_every)
    kept = [one for number in range(sent) for one in thinner.feed(arrival(codec, number))]
    assert [one.packet.pts for one in kept] == [number * 3 for number in range(0, sent, keep_every)]
    assert {one.packet.duration for one in kept} == {3 * keep_every}


@given(st.integers(2, 50), st.integers(1, 20))
def test_a_stream_with_other_packets_than_keyframes_is_refused_at_the_first(keep_every: int, keyframes: int) -> None:
    """And where that is the second packet, nothing had been let through."""
    thinner = Thinner(keep_every)
    kept = [one for number in range(keyframes) for one in thinner.feed(arrival("hevc", number))]
    assert keyframes > 1 or not kept
    with pytest.raises(SourceUnsupported, match=f"keep_every: {keep_every} needs a stream of keyframes only"):
        list(thinner.feed(arrival("hevc", keyframes, key=False)))


def test_without_thinning_everything_passes() -> None:
    """keep_every: 1 looks at nothing."""
    thinner = Thinner(1)
    assert [len(list(thinner.feed(arrival("h264", n, key=n == 0, duration=0)))) for n in range(3)] == [1, 1, 1]


@given(
    st.floats(1, 60),
    st.floats(1, 4),
    st.lists(st.floats(-0.2, 0.2), min_size=60, max_size=120),
)
def test_a_frame_rate_is_reached_whatever_rate_the_frames_come_at(
    fps: float, times_faster: float, jitter: list[float]
) -> None:
    """One frame in each slot, also when they come a little early or late."""
    step = 1 / (fps * times_faster)
    pace = FramePace(fps)
    kept = [pace.keeps((number + shift) * step) for number, shift in enumerate(jitter)]
    seconds = len(jitter) * step
    # Where frames come hardly faster than they are wanted, jitter leaves a slot empty now and then.
    wanted = fps * seconds
    assert kept[0]
    assert sum(kept) <= wanted + 2
    assert times_faster < 1.5 or sum(kept) >= wanted - 2


def test_half_the_frames_are_every_other_one() -> None:
    """At a whole part of the rate the gaps are even, jitter or not."""
    pace = FramePace(15)
    assert [pace.keeps(number / 30 + (0.005, -0.005)[number % 2]) for number in range(8)] == [True, False] * 4


def test_six_steps_of_quality_halve_the_bit_rate() -> None:
    """The rule of thumb for encoders that know no quality."""
    assert 4_000_000 < bit_rate(1920, 1080, 25, 23) < 6_000_000
    assert bit_rate(640, 480, 25, 29) == pytest.approx(bit_rate(640, 480, 25, 23) / 2, abs=1)
