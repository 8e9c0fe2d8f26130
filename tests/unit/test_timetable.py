"""Weekly windows: read or refused in one line, and right around midnight, the week's end and a clock that is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ConfigInvalid
from edge_agent.timetable import DAYS, Timetable

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(day: str, time: str) -> datetime:
    hour, minute = map(int, time.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", ["mon 08:00", "fri 17:59"], ["mon 07:59", "fri 18:00", "sat 12:00"]),
        ("sat,sun 10:00-12:00", ["sat 10:00", "sun 11:59"], ["mon 11:00", "sat 12:00"]),
        ("fri 22:00-06:00", ["fri 22:00", "fri 23:59", "sat 05:59"], ["fri 05:00", "sat 06:00", "sat 22:00"]),
        ("sun 22:00-06:00", ["sun 23:00", "mon 05:59"], ["mon 06:00", "mon 23:00"]),
        ("fri-mon 9:00-10:00", ["fri 09:30", "sun 09:30", "mon 09:30"], ["tue 09:30", "thu 09:30"]),
        ("08:00-18:00", ["mon 08:00", "sun 17:59"], ["wed 18:00"]),
        ("SAT", ["sat 00:00", "sat 23:59"], ["fri 23:59", "sun 00:00"]),
        ("tue 18:00-24:00", ["tue 23:59"], ["wed 00:00"]),
        ("tue,thu-fri 12:00-00:00", ["tue 23:59", "fri 12:00"], ["wed 12:00", "sat 00:00"]),
    ],
)
def test_a_window_holds_what_it_says(window: str, inside: list[str], outside: list[str]) -> None:
    """The first minute is inside, the last is not, midnight and the end of the week are no walls."""
    table = Timetable.parse([window], UTC)
    assert [table.is_open(at(*moment.split())) for moment in inside] == [True] * len(inside)
    assert [table.is_open(at(*moment.split())) for moment in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("", "no window"),
        ("mon tue 08:00-18:00", "no window"),
        ("mon-fry 08:00-18:00", "'fry'"),
        ("mon-fri 8-18", "'8-18'"),
        ("mon 25:00-26:00", "no clock"),
        ("mon 08:60-09:00", "no clock"),
        ("mon 24:00-06:00", "no clock"),
        ("mon 08:00-08:00", "begins when it ends"),
        ("mon, 08:00-09:00", "''"),
        ("8:00-9:00 mon", "no window"),
        ("mon ٠٨:00-09:00", "no times"),
        ("mon\n08:00-09:00 x", "no window"),
    ],
)
def test_a_window_that_cannot_be_is_one_line(window: str, said: str) -> None:
    """What is wrong, which window, and how to write it."""
    with pytest.raises(ConfigInvalid) as caught:
        Timetable.parse(["mon 01:00-02:00", window])
    line = str(caught.value)
    assert said in line
    assert "window" in line
    assert line.isprintable()


def test_no_windows_are_always_open() -> None:
    """An empty timetable forbids nothing and never changes."""
    assert Timetable().is_open(MONDAY)
    assert Timetable().next_change(MONDAY) is None
    whole = Timetable.parse(["mon-sun"], UTC)
    assert whole.is_open(MONDAY)
    assert whole.next_change(MONDAY) is None


def test_the_next_change_is_found_over_the_weekend() -> None:
    """From Friday evening to Monday morning is one step."""
    table = Timetable.parse(["mon-fri 08:00-18:00"], UTC)
    assert table.next_change(at("mon", "07:30")) == at("mon", "08:00")
    assert table.next_change(at("mon", "08:00")) == at("mon", "18:00")
    assert table.next_change(at("fri", "18:00") + timedelta(seconds=30)) == at("mon", "08:00") + timedelta(days=7)


def test_the_clock_on_the_wall_counts() -> None:
    """A window opens by local time, on both sides of a change to summer time."""
    table = Timetable.parse(["08:00-09:00"], BERLIN)
    assert table.next_change(datetime(2026, 3, 28, 0, tzinfo=UTC)) == datetime(2026, 3, 28, 7, tzinfo=UTC)
    assert table.next_change(datetime(2026, 3, 29, 0, tzinfo=UTC)) == datetime(2026, 3, 29, 6, tzinfo=UTC)


def test_a_window_in_an_hour_that_is_left_out_or_repeated() -> None:
    """02:30 to 04:00 opens at 03:00 where 02:30 does not exist, and twice where it does."""
    table = Timetable.parse(["02:30-04:00"], BERLIN)
    assert table.next_change(datetime(2026, 3, 29, 0, tzinfo=UTC)) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    moment, changes = datetime(2026, 10, 24, 23, tzinfo=UTC), []
    for _ in range(4):
        found = table.next_change(moment)
        assert found is not None
        moment = found
        changes.append(moment.strftime("%H:%M"))
    assert changes == ["00:30", "01:00", "01:30", "03:00"]


TIMES = st.integers(0, 24 * 60 - 1)


@given(st.lists(st.tuples(st.sampled_from(DAYS), TIMES, TIMES), min_size=1, max_size=4), st.integers(0, 7 * 24 * 60))
def test_nothing_changes_before_the_next_change(spans: list[tuple[str, int, int]], minute: int) -> None:
    """Between a moment and its next change the state is one, and at the change it is the other."""
    windows = [f"{d} {a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for d, a, b in spans if a != b] or ["mon"]
    table = Timetable.parse(windows, UTC)
    moment = MONDAY + timedelta(minutes=minute)
    change = table.next_change(moment)
    week = [moment + timedelta(minutes=number) for number in range(0, 7 * 24 * 60, 7)]
    if change is None:
        assert len({table.is_open(m) for m in week}) == 1
    else:
        assert {table.is_open(m) for m in week if m < change} == {table.is_open(moment)}
        assert table.is_open(change) != table.is_open(moment)
