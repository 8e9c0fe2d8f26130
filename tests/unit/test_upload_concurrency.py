"""How many streams: as many as bring something, and the breaker that ends them all."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.upload import concurrency
from edge_agent.upload.breaker import Breaker
from edge_agent.upload.concurrency import HOLD_SECONDS, MOST_STREAMS, Streams


def sending(streams: Streams, goodput: list[float], size: int, seconds: float) -> tuple[Streams, list[int]]:
    """Send files of *size* for so long over a link of *goodput* bytes/s with 1, 2 … streams; the limits seen."""
    limits, now = [streams.limit], 0.0
    streams = concurrency.begun(streams, now)
    while now < seconds:
        now += size / goodput[min(streams.limit, len(goodput)) - 1]
        streams = concurrency.delivered(streams, size, now)
        limits.append(streams.limit)
    return streams, limits


def test_a_slow_link_keeps_one_stream() -> None:
    """Where a second stream brings nothing it is tried once a minute at most, and given up at once."""
    _, limits = sending(Streams(), [250_000.0], 100_000, 600)
    changes = sum(a < b for a, b in pairwise(limits))
    assert max(limits) == 2
    assert changes <= 600 / HOLD_SECONDS + 1
    assert limits.count(1) > limits.count(2) * 5


def test_small_files_over_a_long_way_get_every_stream_they_fill() -> None:
    """Where each stream brings as much as the first, all four are in use within some seconds."""
    streams, limits = sending(Streams(), [1e6, 2e6, 3e6, 4e6], 100_000, 10)
    assert streams.limit == MOST_STREAMS
    assert limits == sorted(limits)


def test_trouble_brings_it_back_to_one() -> None:
    """A link that failed is tried with one stream first."""
    streams, _ = sending(Streams(), [1e6, 2e6, 3e6, 4e6], 100_000, 10)
    assert concurrency.failed(streams, 10.0).limit == 1


@given(
    ends=st.lists(st.tuples(st.integers(0, 10**8), st.floats(0.001, 100), st.booleans(), st.booleans()), max_size=200)
)
def test_there_is_always_one_and_never_more_than_four(ends: list[tuple[int, float, bool, bool]]) -> None:
    """Whatever is measured, in whatever order."""
    streams, now = Streams(), 0.0
    for size, seconds, fails, rests in ends:
        now += seconds
        streams = concurrency.failed(streams, now) if fails else concurrency.delivered(streams, size, now)
        streams = concurrency.idle(streams) if rests else streams
        assert 1 <= streams.limit <= MOST_STREAMS


@given(
    steps=st.lists(st.sampled_from(["trip", "hurry", "try", "close"]), max_size=50),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_an_open_breaker_tries_again_within_thirty_seconds_and_a_closed_one_at_once(
    steps: list[str], draw: float
) -> None:
    """Whatever happened before: never later than 30 s, and after a hurry now, until something was tried since."""
    breaker, now = Breaker(lambda: draw), 1000.0
    for step in steps:
        match step:
            case "trip":
                assert 1.0 <= breaker.trip(now) <= 30.0
                assert breaker.is_open
                assert breaker.is_hurried or 1.0 <= breaker.seconds_left(now) <= 30.0
            case "hurry":
                breaker.hurry()
                assert breaker.seconds_left(now) == 0.0
            case "try":
                breaker.trying()
                assert not breaker.is_hurried
            case _:
                breaker.close()
                assert not breaker.is_open
                assert breaker.seconds_left(now) == 0.0
        now += 1.0


def test_a_hurry_begins_the_delays_anew() -> None:
    """After a long outage, a link that flaps when it returns is not left alone for half a minute."""
    breaker = Breaker(lambda: 0.999)
    for _ in range(9):
        breaker.trip(0.0)
    breaker.hurry()
    assert breaker.seconds_left(0.0) == 0.0
    breaker.trying()
    assert breaker.trip(0.0) < 5.0


def test_a_try_from_before_the_hurry_that_fails_after_it_delays_nothing() -> None:
    """What hung while the link was away may fail just after it returned: the next try is due all the same."""
    breaker = Breaker(lambda: 0.999)
    breaker.trip(0.0)
    breaker.hurry()
    breaker.trip(0.0)
    assert breaker.seconds_left(0.0) == 0.0
    breaker.trying()
    breaker.trip(0.0)
    assert breaker.seconds_left(0.0) > 1.0
