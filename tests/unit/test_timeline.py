"""Media time to wall-clock time: pure arithmetic, under jitter, drift and steps."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, cast

import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.reader import Arrival
from edge_agent.capture.sources.base import StreamFormat
from edge_agent.capture.timeline import SENT_LATEST, STEP_SECONDS, Burst, LeastDelay, Moment, Timeline

OFFSET = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC).timestamp() - 1000.0  # wall minus monotonic time
FPS = 25


def wall(moment: Moment) -> float:
    return moment.wall.timestamp()


def follow(
    timeline: Timeline, frames: int, *, began: float = 1000.0, rate: float = 1.0, jitter: float = 0.0, seed: int = 0
) -> list[float]:
    """How far each picture's wall time is off, for a camera whose clock runs at *rate*, over a link with *jitter*."""
    chance = random.Random(seed)
    arrived, errors = 0.0, []
    for number in range(frames):
        taken = began + number / FPS
        arrived = max(arrived, taken + chance.random() * jitter)  # a link keeps the order
        media = number / FPS * rate
        timeline.learn(media, arrived, OFFSET)
        errors.append(wall(timeline.at(media, OFFSET)) - (OFFSET + taken))
    return errors


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(-100, 100)), min_size=1, max_size=60))
def test_the_least_of_a_window_is_that_of_all_its_values(steps: list[tuple[float, float]]) -> None:
    """The sliding minimum equals one taken anew over the whole window."""
    least, now, seen = LeastDelay(60.0), 0.0, []
    for waited, value in steps:
        now += waited
        seen.append((now, value))
        assert least.add(now, value) == min(v for when, v in seen if when >= now - 60.0)


@given(st.integers(0, 2**32), st.floats(0, 2.0))
def test_jitter_does_not_move_time(seed: int, jitter: float) -> None:
    """A picture's time is never earlier than it was taken, nor later than the worst delay allows."""
    errors = follow(Timeline(), 200, jitter=jitter, seed=seed)
    assert min(errors) >= -0.001
    assert max(errors) <= jitter + 0.001


def test_after_some_packets_the_jitter_is_gone() -> None:
    """On a link that delays by up to 200 ms, times are right to some milliseconds after ten minutes."""
    errors = follow(Timeline(), FPS * 600, jitter=0.2)
    assert max(abs(error) for error in errors[-FPS * 60 :]) < 0.02


@pytest.mark.parametrize("ppm", [-100, -20, 20, 100])
def test_a_camera_whose_clock_drifts_is_followed(ppm: int) -> None:
    """After an hour with a bad crystal, which would put it 0.36 s off, time is right to 10 ms."""
    errors = follow(Timeline(), FPS * 3600, rate=1 + ppm / 1e6)
    assert max(abs(error) for error in errors[-FPS:]) < 0.010


@given(st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 3)), min_size=2, max_size=100))
def test_time_never_runs_back_while_the_clock_stands(sent: list[tuple[float, float]]) -> None:
    """Whatever the delays, later pictures get later times."""
    timeline, media, now, walls = Timeline(), 0.0, 1000.0, []
    for step, delay in sent:
        media += step
        now = max(now, 1000.0 + media + delay)
        timeline.learn(media, now, OFFSET)
        walls.append(timeline.at(media, OFFSET).wall)
    assert all(before <= after for before, after in itertools.pairwise(walls))


@given(st.floats(-1e6, 1e6).filter(lambda step: abs(step) > STEP_SECONDS + 0.01))
def test_a_step_is_told_once_and_the_new_time_is_right_at_once(step: float) -> None:
    """The first picture after the clock was set has the right time, and only it tells of the step."""
    timeline = Timeline()
    follow(timeline, 10)
    told = []
    for number in range(10, 20):
        media = number / FPS
        timeline.learn(media, 1000.0 + media, OFFSET + step)
        moment = timeline.at(media, OFFSET + step)
        told.append(moment.stepped)
        assert wall(moment) == pytest.approx(OFFSET + step + 1000.0 + media, abs=0.001)
    assert told[0] == pytest.approx(step, abs=0.001)
    assert not any(told[1:])


@given(st.floats(-STEP_SECONDS + 0.01, STEP_SECONDS - 0.01))
def test_a_small_correction_of_the_clock_is_slewed(change: float) -> None:
    """What NTP mends by fractions of a second ends no segment, and time takes it over bit by bit."""
    timeline = Timeline()
    follow(timeline, 10)
    before = wall(timeline.at(10 / FPS, OFFSET))
    timeline.learn(11 / FPS, 1000.0 + 11 / FPS, OFFSET + change)
    moment = timeline.at(11 / FPS, OFFSET + change)
    assert not moment.stepped
    assert wall(moment) - before == pytest.approx(1 / FPS, abs=0.001)


def test_a_sender_report_takes_the_cameras_and_the_links_delay_out() -> None:
    """With reports, times are those at which the camera took the pictures, 300 ms before they came."""
    timeline = Timeline()
    for number in range(100):
        media = number / FPS
        taken = 1000.0 + media
        timeline.learn(media, taken + 0.3, OFFSET, OFFSET + taken if number > 50 else None)
        error = wall(timeline.at(media, OFFSET)) - (OFFSET + taken)
    assert abs(error) < 0.001
    assert timeline.reports_ignored == 0


@pytest.mark.parametrize("off", [-3600.0, 3600.0, 1e9, -SENT_LATEST - 1, 1.0])
def test_an_absurd_sender_report_is_ignored_and_counted(off: float) -> None:
    """A camera whose clock is not set does not spoil ours."""
    timeline = Timeline()
    for number in range(100):
        media = number / FPS
        timeline.learn(media, 1000.0 + media, OFFSET, OFFSET + 1000.0 + media + off)
        assert wall(timeline.at(media, OFFSET)) == pytest.approx(OFFSET + 1000.0 + media, abs=0.001)
    assert timeline.reports_ignored == 100
    assert timeline.report_error == pytest.approx(off, abs=0.001)


def test_media_time_that_fell_behind_begins_anew() -> None:
    """When mended timestamps lost ten seconds, the next pictures are right again, not an hour of slewing later."""
    timeline = Timeline()
    follow(timeline, 10)
    for number in range(10, FPS * 90):
        media = number / FPS
        timeline.learn(media, 1010.0 + media, OFFSET)
        moment = timeline.at(media, OFFSET)
    assert wall(moment) == pytest.approx(OFFSET + 1010.0 + media, abs=0.001)


def packets(arrivals: list[float]) -> list[tuple[Arrival, float]]:
    made = []
    for number, when in enumerate(arrivals):
        packet: Any = Packet(b"x")
        packet.time_base = Fraction(1, FPS)
        packet.pts = number
        made.append((Arrival(packet, StreamFormat("h264", 1, 1), cast("Any", None), when), number / FPS))
    return made


@pytest.mark.parametrize("burst", [0, 1, 2, 30, 75])
def test_a_first_burst_is_held_until_it_is_over(burst: int) -> None:
    """The first picture of a connection gets its time when the last that came with it has come."""
    sent = packets([5.0] * burst + [5.0 + (n + 1) / FPS for n in range(10)])
    held, out = Burst(), []
    for number, (arrival, media) in enumerate(sent):
        given = list(held.feed(arrival, media))
        assert bool(given) == (number >= max(burst, 1))
        out += given
    assert [id(arrival) for arrival in out] == [id(arrival) for arrival, _ in sent]


@given(st.lists(st.floats(0, 1), max_size=400))
def test_a_burst_loses_nothing(waits: list[float]) -> None:
    """However packets come, all leave, in order."""
    sent, held = packets(list(itertools.accumulate(waits))), Burst()
    out = [given for arrival, media in sent for given in held.feed(arrival, media)] + list(held.flush())
    assert [id(arrival) for arrival in out] == [id(arrival) for arrival, _ in sent]
