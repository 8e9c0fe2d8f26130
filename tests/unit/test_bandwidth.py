"""Rates as people write them, and which of them holds when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bandwidth import PAUSED, SLOWEST, Bandwidth, parse_rate
from edge_agent.errors import ConfigInvalid

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("512k", 512 * 1024),
        ("2M", 2 * 1024**2),
        ("2 MiB", 2 * 1024**2),
        ("1.5MB", 1_500_000),
        ("20Mbit", 2_500_000),
        ("1g", 1024**3),
        ("65536", 65536),
        (65536, 65536),
        (4096.0, 4096),
        ("0", PAUSED),
        (0, PAUSED),
        ("pause", PAUSED),
        ("off", None),
        ("Unlimited", None),
        (False, None),
        (None, None),
    ],
)
def test_a_rate_is_what_it_is_written_as(text: object, rate: float | None) -> None:
    """One letter is a power of 1024 as for rclone; the units of sizes and of links mean what they say."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "-1", -1, "512x", "1k5", "1e6", True, "5", 17, float("nan"), float("inf"), [], {}, "9" * 40]
)
def test_what_is_no_rate_or_too_slow_for_any_store_is_refused(text: object) -> None:
    """The settings are refused in one line, not the upload hours later."""
    with pytest.raises(ConfigInvalid) as caught:
        parse_rate(text)
    assert "write" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.one_of(st.none(), st.just(PAUSED), st.floats(SLOWEST, 1e12)))
def test_a_rate_that_was_read_reads_as_itself(rate: float | None) -> None:
    """What the parent understood is what the upload process understands."""
    assert parse_rate(rate) == rate


def test_the_first_window_that_holds_wins_and_outside_all_the_usual_rate() -> None:
    """Order in the file is precedence; ``off`` in a window means no limit there."""
    bandwidth = Bandwidth.parse(
        "2M", {"mon 12:00-13:00": "off", "mon-fri 08:00-18:00": "512k", "mon 17:00-19:00": 0}, UTC
    )
    rates = {hour: bandwidth.at(MONDAY + timedelta(hours=hour)) for hour in (7, 8, 12, 13, 17, 18, 19)}
    assert rates == {7: 2097152, 8: 524288, 12: None, 13: 524288, 17: 524288, 18: PAUSED, 19: 2097152}


def test_the_next_change_passes_over_windows_that_change_nothing() -> None:
    """A window that another one covers is no change."""
    bandwidth = Bandwidth.parse(
        "off", {"mon-fri 08:00-18:00": "512k", "mon 10:00-12:00": "1M", "mon 18:00-19:00": "512k"}, UTC
    )
    assert bandwidth.next_change(MONDAY) == MONDAY + timedelta(hours=8)
    assert bandwidth.next_change(MONDAY + timedelta(hours=8)) == MONDAY + timedelta(hours=19)
    assert Bandwidth(4096.0).next_change(MONDAY) is None
    assert Bandwidth.parse("1M", {"mon-sun": "512k"}, UTC).next_change(MONDAY) is None
