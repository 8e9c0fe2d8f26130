"""How long to wait before trying again. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


def backoff(attempt: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait before try number *attempt* (from 1): at most 1, doubling to at most 30; at least half of it."""
    ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    return ceiling * (0.5 + jitter() / 2)
