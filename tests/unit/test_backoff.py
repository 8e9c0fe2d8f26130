"""How long to wait before trying again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import FIRST_SECONDS, LONGEST_SECONDS, backoff


def test_the_wait_doubles_from_one_to_thirty_seconds() -> None:
    """Without jitter the ceilings are 1, 2, 4, 8, 16, 30 and 30 for ever."""
    assert [backoff(attempt, lambda: 1.0) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_every_wait_is_between_half_a_second_and_half_a_minute(attempt: int, chance: float) -> None:
    """However often it failed, the next try comes, and not at once."""
    assert FIRST_SECONDS / 2 <= backoff(attempt, lambda: chance) <= LONGEST_SECONDS


@given(st.integers(1, 100))
def test_half_of_the_wait_is_jitter(attempt: int) -> None:
    """A thousand boxes that lost the same camera switch do not come back at the same moment."""
    assert backoff(attempt, lambda: 0.0) * 2 == backoff(attempt, lambda: 1.0)
