"""Commands and times as an operator types them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_agent.control.applied import told
from edge_agent.control.commands import (
    ClearClass,
    Command,
    Desired,
    SetClass,
    StartRecording,
    StopRecording,
    TagChoice,
    apply,
    in_force,
    parse_for,
    parse_until,
)
from edge_agent.errors import ConfigInvalid
from edge_agent.segment import ClassTag

FIELDS = ("color", "object")
NOW = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC)
YELLOW, BLUE = ClassTag(FIELDS, ("yellow", "box")), ClassTag(FIELDS, ("blue", "crate"))
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("1m1m", 120)]
)
def test_a_span_ends_as_long_after_now(text: str, seconds: int) -> None:
    """--for takes seconds, minutes, hours and days, also together."""
    assert parse_for(text, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "-5m", "0s", "1.5h", "soon", "999999d" * 9, "٣m"])
def test_a_span_that_cannot_be_is_refused(text: str) -> None:
    """A tag that would end at once, never, or nobody knows when, is not set."""
    with pytest.raises(ConfigInvalid):
        parse_for(text, NOW)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("18:30", "2026-11-22T17:30:00"),
        ("15:31", "2026-11-23T14:31:00"),  # it is 15:31:05 there
        ("9:00", "2026-11-23T08:00:00"),
        ("2026-11-23T08:00", "2026-11-23T07:00:00"),
        ("2026-11-23T08:00:00Z", "2026-11-23T08:00:00"),
        ("2026-11-23T08:00:00-05:00", "2026-11-23T13:00:00"),
        ("2026-11-23", "2026-11-22T23:00:00"),
    ],
)
def test_until_is_local_time_unless_it_says_otherwise(text: str, utc: str) -> None:
    """18:30 is the next one by the clock on the wall; a date and time with an offset is just that moment."""
    assert parse_until(text, NOW, BERLIN) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "24:00", "18:60", "18:30 tomorrow", "2026-13-01", "2026-11-22T14:00Z", "later"])
def test_a_moment_that_is_past_or_none_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigInvalid) as caught:
        parse_until(text, NOW, BERLIN)
    assert "--until" in str(caught.value)


def test_a_class_that_ran_out_is_as_good_as_none() -> None:
    """The configured class holds from that very moment on."""
    desired = apply(Desired(), SetClass("cam1", BLUE, NOW + timedelta(minutes=1)), "shell:me", NOW)
    default = TagChoice(YELLOW)
    assert in_force(desired, default, NOW) == desired.choice
    assert in_force(desired, default, NOW + timedelta(minutes=1)) == default
    assert in_force(desired, None, NOW + timedelta(minutes=1)) is None
    assert in_force(apply(desired, ClearClass("cam1"), "shell:me", NOW), default, NOW) == default


AT = "2026-11-22T14:31:05.000Z"
OPEN = {"gate": "open", "wanted": "blue_crate", "wanted_at": AT, "tag": "blue_crate", "segment": "blue_crate_x"}
SET = SetClass("cam1", BLUE)


@pytest.mark.parametrize(
    ("command", "default", "status", "said"),
    [
        (SET, YELLOW, OPEN, "blue_crate: recording blue_crate_x"),
        (SET, YELLOW, {**OPEN, "wanted_at": "earlier"}, None),
        (SET, YELLOW, {**OPEN, "tag": "yellow_box"}, None),
        (SET, YELLOW, {**OPEN, "tag": None, "segment": None}, None),
        (SET, YELLOW, {}, None),
        (SET, YELLOW, {"state": "waiting", "gate": None, "wanted": None}, None),
        (
            SET,
            YELLOW,
            {**OPEN, "tag": None, "segment": None, "gate": "outside schedule"},
            "blue_crate: nothing is recorded now (outside schedule)",
        ),
        (ClearClass("cam1"), YELLOW, OPEN, None),
        (
            ClearClass("cam1"),
            YELLOW,
            {**OPEN, "wanted": "yellow_box", "wanted_at": "", "tag": "yellow_box", "segment": "s"},
            "yellow_box: recording s",
        ),
        (
            ClearClass("cam1"),
            None,
            {"gate": "open", "wanted": None, "wanted_at": None, "tag": None, "segment": None},
            "no class: nothing is recorded without a class",
        ),
        (ClearClass("cam1"), None, {**OPEN, "wanted": None, "wanted_at": None}, None),
        (StopRecording("cam1"), YELLOW, OPEN, None),
        (StopRecording("cam1"), YELLOW, {"gate": "off", "segment": None}, "stopped: nothing is recorded"),
        (StartRecording("cam1"), YELLOW, {"gate": "off"}, None),
        (StartRecording("cam1"), YELLOW, OPEN, "started: recording blue_crate_x"),
        (StartRecording("cam1"), YELLOW, {**OPEN, "segment": None}, None),
        (
            StartRecording("cam1"),
            None,
            {"gate": "open", "wanted": None, "segment": None},
            "started: nothing is recorded without a class",
        ),
        (
            StartRecording("cam1"),
            YELLOW,
            {"gate": "waiting for motion", "wanted": "yellow_box", "segment": None},
            "started: nothing is recorded now (waiting for motion)",
        ),
    ],
)
def test_only_what_is_in_force_is_told(
    command: Command, default: ClassTag | None, status: dict[str, Any], said: str | None
) -> None:
    """A status tells of a command only when it shows it done; then the line says what the camera does."""
    desired = apply(Desired(), command, "shell:me", NOW)
    assert told(command, desired, TagChoice(default) if default else None, status, NOW) == said
