"""Times that only together keep what is promised: each is a constant of its own, far from the others."""

from __future__ import annotations

import pytest

from edge_agent import processes, supervisor
from edge_agent.capture.recorder import TICK
from edge_agent.capture.sources.libav import REST_SECONDS
from edge_agent.control import greengrass
from edge_agent.upload import dispatch
from tests.support import component
from tests.support.wait import BUSY, promised


def test_each_part_of_a_stop_ends_before_the_one_above_gives_it_up() -> None:
    """Uploads before their process, a process before its parent kills it, and that in less than three seconds."""
    assert dispatch.STOP_SECONDS < processes.STOP_SECONDS < supervisor.STOP_SECONDS < 3


def test_a_component_says_good_bye_before_the_nucleus_kills_it() -> None:
    """Even when a child has to be killed first: the nucleus is told last."""
    assert supervisor.STOP_SECONDS + greengrass.STOP_SECONDS < component.STOP_SECONDS


def test_nobody_wakes_to_find_that_nothing_was_read() -> None:
    """A camera's packets are left unread for less time than the recorder waits for one."""
    assert TICK > REST_SECONDS


def test_a_storm_holds_promises_to_their_time(request: pytest.FixtureRequest) -> None:
    """Only the ordinary suite, which shares its machine, takes one that is kept late for one that is kept."""
    assert promised(3) == 3 * (1 if request.config.getoption("--storm") else BUSY)
