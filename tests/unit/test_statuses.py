"""What is told of cameras whose processes may have fallen silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.statuses import STALE_SECONDS, Cameras, aged
from tests.support.clock import FakeClock

WELL: dict[str, Scalar] = {"state": "recording", "healthy": True, "problem": "", "last_durable_age": 0.4}


@given(st.floats(0, STALE_SECONDS, exclude_max=True), st.floats(STALE_SECONDS, 1e6))
def test_a_status_is_believed_for_four_seconds(young: float, old: float) -> None:
    """A status is told as it came while it is young, and never as healthy when it is old."""
    assert aged(WELL, young) == WELL
    assert aged(WELL, old)["healthy"] is False


def test_silence_is_told_and_counts_as_time_without_footage() -> None:
    """Of a process that hangs, the page, the metrics and the shadow hear for how long, until it speaks again."""
    clock = FakeClock()
    cameras = Cameras(clock, lambda _: None)
    cameras.take(Event(STATUS, "cam1", WELL))
    clock.advance(9.0)
    silent = {"healthy": False, "problem": "its process has said nothing for 9 s", "last_durable_age": 9.4}
    assert cameras.status() == {"cam1": {**WELL, **silent}}
    cameras.take(Event(STATUS, "cam1", WELL))
    assert cameras.status() == {"cam1": WELL}


@pytest.mark.parametrize("state", ["stopped", "hanging", "restarting"])
def test_last_words_stand(state: str) -> None:
    """A process that has ended is silent for a reason, which is not replaced; healthy it is not."""
    assert aged({"state": state, "problem": "why"}, 60.0) == {"state": state, "problem": "why", "healthy": False}
    assert aged({**WELL, "state": state, "last_durable_age": None}, 60.0) == {
        **WELL,
        "state": state,
        "last_durable_age": None,
        "healthy": False,
    }
