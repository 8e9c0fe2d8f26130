"""The wall clock is set while a camera records."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from edge_agent.capture.report import STATUS
from tests.support.capture import job_for, record
from tests.support.clips import look, make_clip
from tests.support.clock import FakeClock

HOUR = 3600.0


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=500, gop=12)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_clock_step(clip: Path, tmp_path: Path, account: Callable[..., None], step: float) -> None:
    """The segment ends at the next keyframe, the next one starts at the right time, and no frame is lost."""
    clock = FakeClock()
    began = clock.now()
    clock.after(7.3, lambda: clock.step(step))
    recorded = record(job_for(tmp_path, f"file:{clip}", segment_seconds=60), clock=clock)
    by_event = {str(event.fields["stem"]): event.fields for event in recorded.named("segment_closed")}
    stems = list(by_event)
    assert len(set(stems)) == len(stems) == 2
    assert [fields["reason"] for fields in by_event.values()] == ["clock_stepped", "source_ended"]
    first, second = (next(s for s in recorded.segments if s.name.stem == stem) for stem in stems)
    assert first.start == began
    right = began + timedelta(seconds=first.duration + step)
    assert abs(second.start - right) < timedelta(seconds=0.05)
    assert sum(recorded.frames) == 500
    files = {segment.name.stem: seen for segment, seen in zip(recorded.segments, recorded.seen, strict=True)}
    assert [packet for stem in stems for packet in files[stem].packets] == look(clip).packets
    (stepped,) = recorded.named("clock_stepped")
    assert stepped.fields["seconds"] == pytest.approx(step, abs=0.01)
    assert recorded.named(STATUS)[-1].fields["clock_steps"] == 1
    account(f"{step:+.0f} s", "nothing", f"{sum(recorded.frames)} of 500 frames in {len(stems)} segments")


def test_clock_step_storm(clip: Path, tmp_path: Path, account: Callable[..., None], storm: bool) -> None:
    """Set to and fro, and back onto names that are taken: names are unique, every frame is there, in order."""
    rounds, steps = (20 if storm else 3), 0
    for number in range(rounds):
        chance, clock = random.Random(number), FakeClock()
        for moment in sorted(chance.uniform(0.5, 19.0) for _ in range(6)):
            # Steps back by what has passed lead onto names that are taken.
            size = chance.choice([HOUR, -HOUR, -moment, moment, -1.0, 86400.0 * 365, -86400.0])
            clock.after(moment, lambda clock=clock, size=size: clock.step(size))  # type: ignore[misc]
        recorded = record(job_for(tmp_path / str(number), f"file:{clip}", segment_seconds=3), clock=clock)
        stems = [str(event.fields["stem"]) for event in recorded.named("segment_closed")]
        assert len(stems) == len(set(stems)) == len(recorded.segments)
        files = {segment.name.stem: seen for segment, seen in zip(recorded.segments, recorded.seen, strict=True)}
        assert [packet for stem in stems for packet in files[stem].packets] == look(clip).packets
        assert sum(segment.duration for segment in recorded.segments) == pytest.approx(20.0, abs=0.01)
        steps += len(recorded.named("clock_stepped"))
    account(f"{steps} steps", "nothing", f"{rounds * 500} frames, every name once")


def test_a_small_correction_ends_no_segment(clip: Path, tmp_path: Path) -> None:
    """NTP's fractions of a second are slewed."""
    clock = FakeClock()
    for second in range(1, 19):
        clock.after(second, lambda: clock.step(0.02))
    recorded = record(job_for(tmp_path, f"file:{clip}", segment_seconds=5), clock=clock)
    assert not recorded.named("clock_stepped")
    for before, after in itertools.pairwise(recorded.segments):
        gap = after.start - before.start - timedelta(seconds=before.duration)
        assert abs(gap) < timedelta(seconds=0.01)
