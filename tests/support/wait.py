"""Waiting for something to come true, never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_never = threading.Event()


def until(probe: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """The first true value of *probe*, asked fifty times a second; fails when *seconds* have passed without one."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        _never.wait(0.02)
