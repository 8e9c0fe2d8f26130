"""Waiting for something to come true, never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

BUSY = 5.0
"""How many times what is promised on a machine of its own may take on one that does other things."""

alone = False
"""Whether the machine does nothing else: in a storm. Set by tests/conftest.py before any test is imported."""

T = TypeVar("T")
_never = threading.Event()


def promised(seconds: float) -> float:
    """The limit for what is promised within *seconds*: in a storm no more than that, else BUSY times as long.

    So a promise that is kept, however late, is told from one that is broken. Whichever tests import this run in the
    storms, wherever they are (Makefile).
    """
    return seconds if alone else seconds * BUSY


def tries(count: int) -> range:
    """How often a promise of time may be tried, as a machine that stands still tells nothing: in a storm once."""
    return range(1 if alone else count)


def until(probe: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """The first true value of *probe*, asked fifty times a second; fails when *seconds* have passed without one.

    The limit is no promise of the product's but what a machine that does other things may take.
    """
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        _never.wait(0.02)
