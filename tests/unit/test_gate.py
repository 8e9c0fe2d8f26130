"""The gate's decisions and its pre-roll: what is recorded, and that nothing of it goes missing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.camera import GateSettings
from edge_agent.capture.gate import GateState, Moment, PreRoll, Progress, start, step
from edge_agent.capture.motion import Picture, mask, score, threshold

OPEN, WAITING, OUTSIDE, OFF = GateState.OPEN, GateState.WAITING, GateState.OUTSIDE, GateState.OFF
ANY = 0.5  # the threshold of these tests


def states(settings: GateSettings, moments: list[Moment]) -> list[GateState]:
    """The state after each of *moments*."""
    progress = start(settings)
    found = []
    for moment in moments:
        progress = step(settings, ANY, progress, moment)
        found.append(progress.state)
    return found


@pytest.mark.parametrize(
    ("mode", "wanted", "scheduled", "state"),
    [
        ("continuous", None, True, OPEN),
        ("continuous", True, True, OPEN),
        ("continuous", False, True, OFF),
        ("continuous", None, False, OUTSIDE),
        ("continuous", False, False, OFF),
        ("on_demand", None, True, OFF),
        ("on_demand", True, True, OPEN),
        ("on_demand", False, True, OFF),
        ("on_demand", True, False, OUTSIDE),
        ("on_demand", None, False, OFF),
        ("motion", None, True, WAITING),
        ("motion", True, True, WAITING),
        ("motion", False, True, OFF),
        ("motion", None, False, OUTSIDE),
    ],
)
def test_mode_command_and_schedule_are_all_asked(
    mode: str, wanted: bool | None, scheduled: bool, state: GateState
) -> None:
    """Nothing is recorded against an operator's stop or outside the schedule, whatever the mode."""
    settings = GateSettings(mode=mode)  # type: ignore[arg-type]
    assert states(settings, [Moment(0.0, True, wanted, scheduled)]) == [state]
    assert states(settings, [Moment(0.0, True), Moment(0.0, False, wanted, scheduled)])[1] is state


def test_motion_opens_at_once_and_closes_at_a_keyframe_after_minimum_and_cool_down() -> None:
    """Open at least for the minimum, and for the cool-down after the last motion; a GOP is never torn."""
    settings = GateSettings(mode="motion", minimum_seconds=4, cool_down_seconds=2)
    moving = {3.0, 5.0}
    moments = [
        Moment(second / 2, second % 2 == 0, score=float(second / 2 in moving) if second % 2 == 0 else None)
        for second in range(20)
    ]
    assert states(settings, moments) == [WAITING] * 6 + [OPEN] * 8 + [WAITING] * 6  # from 3 s to 7 s
    settings = GateSettings(mode="motion", minimum_seconds=0, cool_down_seconds=3)
    assert states(settings, moments) == [WAITING] * 6 + [OPEN] * 10 + [WAITING] * 4  # from 3 s to 5 s + 3 s


def test_a_stop_while_motion_is_recorded_closes_at_once() -> None:
    """Neither the minimum nor the cool-down nor a keyframe is waited for; afterwards motion must begin anew."""
    settings = GateSettings(mode="motion")
    moments = [Moment(0, True, score=1.0), Moment(0.1, False, wanted=False), Moment(1, True, score=0.0)]
    assert states(settings, moments) == [OPEN, OFF, WAITING]


MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.booleans(),
        st.sampled_from([None, None, True, False]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([None, 0.0, 0.0, 1.0]),
    ),
    max_size=60,
)


@given(MOMENTS, st.integers(0, 5), st.integers(0, 5))
def test_the_gate_is_open_while_there_is_motion_and_for_as_long_as_it_should(
    rows: list[tuple[int, bool, bool | None, bool, float | None]], minimum: int, cool_down: int
) -> None:
    """Allowed and moving is open; not allowed is closed; open without reason ends at the first keyframe."""
    settings = GateSettings(mode="motion", minimum_seconds=minimum, cool_down_seconds=cool_down)
    progress = start(settings)
    time = opened = moved = 0.0
    for gap, is_keyframe, wanted, scheduled, found in rows:
        time += gap / 10
        before = progress.state
        progress = step(settings, ANY, progress, Moment(time, is_keyframe, wanted, scheduled, found))
        if wanted is False or not scheduled:
            assert progress == Progress(OFF if wanted is False else OUTSIDE)
            continue
        if found:
            opened = opened if before is OPEN else time
            moved = time
            assert progress.state is OPEN
        elif before is OPEN:
            over = is_keyframe and time - opened >= minimum and time - moved >= cool_down
            assert progress.state is (WAITING if over else OPEN)
        else:
            assert progress.state is WAITING


@dataclass(frozen=True)
class Item:
    """A packet as a pre-roll sees it."""

    number: int
    time: float
    size: int
    is_keyframe: bool
    wall: datetime = datetime(2026, 11, 22, tzinfo=UTC)


PACKETS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([True, False, False, False])), max_size=80)


@given(PACKETS, st.floats(0, 5), st.integers(0, 3000))
def test_the_pre_roll_holds_its_window_and_no_more_than_its_bytes(
    rows: list[tuple[int, bool]], seconds: float, limit: int
) -> None:
    """After every packet: bounded, beginning with a keyframe, without a gap to the newest, and all of the window."""
    ring: PreRoll[Item] = PreRoll(seconds, limit)
    items = [Item(number, number * 0.1, size, is_keyframe) for number, (size, is_keyframe) in enumerate(rows)]
    whole: PreRoll[Item] = PreRoll(seconds, 10**9)
    for count, item in enumerate(items, 1):
        ring.push(item)
        whole.push(item)
        held = [found for gop in ring._gops for found in gop.items]
        assert ring.size == sum(found.size for found in held) <= limit
        assert held == items[count - len(held) : count]
        assert not held or held[0].is_keyframe
        everything = [found for gop in whole._gops for found in gop.items]
        first_key = next((i for i in items[:count] if i.is_keyframe), None)
        if first_key is not None:
            window = [i for i in items[first_key.number : count] if i.time >= item.time - seconds]
            assert everything[-len(window) :] == window
            if whole.size <= limit and all(i.size <= limit for i in items) and held != everything:
                assert sum(i.size for i in items[:count]) > limit  # only what was once too much has gone
    assert ring.drain() == held if items else ring.drain() == []
    assert (ring.size, ring.drain()) == (0, [])


def test_the_pre_roll_keeps_no_more_gops_than_it_needs() -> None:
    """Three seconds of one-second GOPs are at most four seconds."""
    ring: PreRoll[Item] = PreRoll(3.0, 10**6)
    lengths = []
    for number in range(100):
        ring.push(Item(number, number / 10, 1, number % 10 == 0))
        lengths.append(ring.size)
    assert set(lengths[40:]) <= set(range(31, 41))


def flat(level: int, size: int = 100) -> bytes:
    return bytes([level]) * (size * size)


def picture(cells: bytes, size: int = 100) -> Picture:
    return Picture(cells, (size, size))


def with_object(cells: bytes, column: int, level: int = 220, side: int = 10) -> bytes:
    """*cells* with a bright square at *column*."""
    changed = bytearray(cells)
    for row in range(40, 40 + side):
        changed[row * 100 + column : row * 100 + column + side] = bytes([level]) * side
    return bytes(changed)


GRADIENT = bytes(column * 2 for _ in range(100) for column in range(100))


@pytest.mark.parametrize("background", [flat(90), GRADIENT])
def test_an_object_that_moves_is_scored_by_its_area(background: bytes) -> None:
    """Where it was and where it is now have changed: two percent for a square of one percent."""
    before, now = with_object(background, 10), with_object(background, 30)
    assert 0.01 <= score(picture(before), picture(now)) <= 0.02
    assert score(picture(background), picture(now)) == pytest.approx(0.01, abs=0.002)
    assert score(picture(now), picture(now)) == 0.0


@pytest.mark.parametrize("light", [lambda v: min(255, v + 40), lambda v: v * 6 // 10, lambda v: min(255, v * 14 // 10)])
def test_a_change_of_light_is_no_motion(light: object) -> None:
    """Brighter by forty levels, darker by forty percent, brighter by forty percent: nothing moved."""
    assert callable(light)
    before = with_object(GRADIENT, 10)
    assert score(picture(before), picture(bytes(light(v) for v in before))) < 0.001
    moved = with_object(GRADIENT, 60)
    assert score(picture(before), picture(bytes(light(v) for v in moved))) > 0.009


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_a_score_is_a_share(before: bytes, now: bytes) -> None:
    """Between 0 and 1 for any two pictures, and 0 for two that cannot be compared."""
    assert 0 <= score(Picture(before, (8, 8)), Picture(now, (8, 8))) <= 1
    assert score(Picture(before, (8, 8)), Picture(now, (4, 16))) == 0
    assert score(Picture(b"", (8, 8)), Picture(b"", (8, 8))) == 0


def test_sensitivity_runs_from_a_tenth_of_the_picture_to_a_few_cells() -> None:
    """More sensitive is a smaller share, at every step."""
    shares = [threshold(number / 10) for number in range(11)]
    assert all(b < a for a, b in itertools.pairwise(shares))
    assert shares[0] == pytest.approx(0.1)
    assert shares[-1] * 160 * 90 < 5


def test_ignored_areas_cover_their_cells() -> None:
    """Left half and bottom quarter are left out, the rest is looked at."""
    kept = mask([(0, 0, 0.5, 1), (0, 0.75, 1, 0.25)], 8, 4)
    assert [kept[row * 8 : row * 8 + 8] for row in range(4)] == [b"\0\0\0\0\1\1\1\1"] * 3 + [b"\0" * 8]
