"""What an upload may do: settings, orders, and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bandwidth import Bandwidth
from edge_agent.errors import SpoolUnusable
from edge_agent.upload.limits import Allowance, Limits, Rules, UploadOrder, allowance, next_change
from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
OFFICE = Rules(Bandwidth.parse("2M", {"mon-fri 08:00-18:00": "512k", "mon-fri 18:00-20:00": 0}, UTC))
ON_DEMAND = Rules(on_demand=True)


def given_(on: bool, until: datetime | None = None) -> UploadOrder:
    return UploadOrder(on, "shell:me", "2026-11-23T06:00:00.000Z", until)


def test_a_pause_says_by_whom_since_when_and_until_when() -> None:
    """The reason is for a person; after its end the settings hold again."""
    paused = allowance(OFFICE, given_(False), NOW).paused
    assert paused == "paused by shell:me since 2026-11-23T06:00:00.000Z"
    end = NOW + HOUR
    assert f" until {end.astimezone():%Y-%m-%d %H:%M:%S}" in (allowance(OFFICE, given_(False, end), NOW).paused or "")
    assert allowance(OFFICE, given_(False, end), end) == Allowance(None, 524288)


def test_on_demand_waits_for_an_order_and_again_when_it_ends() -> None:
    """Nothing goes over a metered link unless somebody said so, and no longer than they said."""
    assert "resume-upload" in (allowance(ON_DEMAND, None, NOW).paused or "")
    assert allowance(ON_DEMAND, given_(True), NOW) == Allowance()
    assert allowance(ON_DEMAND, given_(True, NOW + HOUR), NOW) == Allowance()
    assert allowance(ON_DEMAND, given_(True, NOW + HOUR), NOW + HOUR).paused is not None
    assert allowance(ON_DEMAND, given_(False), NOW).paused is not None


def test_a_window_pauses_unless_somebody_asked_for_some_time() -> None:
    """``resume-upload --for`` goes before a window of rate 0; without an end it only ends a pause by command."""
    evening = NOW + 11 * HOUR
    assert "timetable" in (allowance(OFFICE, None, evening).paused or "")
    assert "timetable" in (allowance(OFFICE, given_(True), evening).paused or "")
    assert allowance(OFFICE, given_(True, evening + HOUR), evening) == Allowance(None, 2097152)
    never = Rules(Bandwidth.parse(0, {}))
    assert allowance(never, given_(True, NOW + HOUR), NOW) == Allowance(None, None)


def test_the_next_change_is_that_of_windows_and_orders() -> None:
    """Whichever comes first and changes anything."""
    assert next_change(OFFICE, None, NOW) == NOW + HOUR
    assert next_change(OFFICE, given_(False), NOW) is None
    assert next_change(OFFICE, given_(False, NOW + 2 * HOUR), NOW) == NOW + 2 * HOUR
    assert next_change(OFFICE, given_(True, NOW + HOUR / 2), NOW) == NOW + HOUR
    assert next_change(ON_DEMAND, given_(True, NOW + HOUR), NOW) == NOW + HOUR
    assert next_change(Rules(), None, NOW) is None
    assert next_change(Rules(), given_(True, NOW + HOUR), NOW) is None
    lent = UploadOrder(True, "drain", "", NOW + HOUR, after=given_(False, NOW + 2 * HOUR))
    assert next_change(Rules(), lent, NOW) == NOW + HOUR
    assert next_change(Rules(), lent, NOW + HOUR) == NOW + 2 * HOUR


@given(
    on=st.booleans(),
    minutes=st.one_of(st.none(), st.integers(-100, 3000)),
    moment=st.integers(0, 10_000),
    rules=st.sampled_from([OFFICE, ON_DEMAND, Rules()]),
)
def test_a_rate_that_is_allowed_is_never_zero(on: bool, minutes: int | None, moment: int, rules: Rules) -> None:
    """Whoever may upload may upload something; whoever may not is told why."""
    end = None if minutes is None else NOW + timedelta(minutes=minutes)
    allowed = allowance(rules, given_(on, end), NOW + timedelta(minutes=moment))
    assert (allowed.paused is None and (allowed.rate is None or allowed.rate > 0)) or bool(allowed.paused)


def test_every_change_is_told_once_to_everyone_who_listens() -> None:
    """An order, its end and a window are noticed by looking, and nothing else is told."""
    clock = FakeClock(NOW)
    order: list[UploadOrder | None] = [None]
    limits = Limits(OFFICE, lambda: order[0], clock)
    told: list[tuple[str | None, float | None]] = []
    limits.listen(lambda: told.append((limits.paused(), limits.rate())))
    limits.look()
    assert told == []
    order[0] = given_(False, NOW + HOUR / 2)
    limits.look()
    limits.look()
    assert limits.paused() is not None
    assert limits.next_change() == NOW + HOUR / 2
    clock.advance(1800)
    limits.look()
    clock.advance(1800)
    limits.look()
    assert [(bool(paused), rate) for paused, rate in told] == [(True, None), (False, 2097152), (False, 524288)]


def test_nothing_is_uploaded_while_nobody_knows_what_was_ordered() -> None:
    """A desired state that cannot be read pauses: what was not sent can be sent later, the other way round cannot."""
    readable = [False]

    def order() -> UploadOrder | None:
        if not readable[0]:
            raise SpoolUnusable("no rights", where="desired.json", fix="let the agent's user read it")
        return None

    limits = Limits(Rules(), order, FakeClock())
    assert "desired.json: no rights" in (limits.paused() or "")
    readable[0] = True
    limits.look()
    assert limits.paused() is None


@pytest.mark.parametrize("rate", [None, 4096.0])
def test_without_settings_and_orders_nothing_is_limited(rate: float | None) -> None:
    """The bandwidth alone holds."""
    assert Limits(Rules(Bandwidth(rate)), lambda: None, FakeClock()).rate() == rate
    assert Limits.none(FakeClock()).rate() is None
