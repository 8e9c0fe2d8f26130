"""How a running loop is woken, stopped and told to wait longer: shared by ``watch`` and ``worker``."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cloud.pipeline import Progress
from edge_agent.clock import Clock

_FIRST_RETRY, _LONGEST_RETRY = 2.0, 300.0  # seconds; with jitter, so that loops on one store or queue spread out


class Stopped(Exception):
    """Stopping was asked for while a video was being processed; whoever gets it next takes it up again."""


class Bell:
    """Wakes a waiting loop, to look again or to stop."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.stopping = False

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        self.stopping = True
        self._rung.set()

    def wait(self, clock: Clock, seconds: float) -> None:
        clock.wait(self._rung, seconds)
        self._rung.clear()

    def check(self, _: Progress | None = None) -> None:
        """Raises Stopped when stopping was asked for; fits as a listener to progress."""
        if self.stopping:
            raise Stopped


class PatientBell(Bell):
    """A bell that lets the video at hand be finished within *grace* seconds of the first :meth:`stop`."""

    def __init__(self, clock: Clock, grace: float) -> None:
        super().__init__()
        self._clock, self._grace = clock, grace
        self._deadline: float | None = None

    def stop(self) -> None:
        if self._deadline is None:
            self._deadline = self._clock.monotonic() + self._grace
        super().stop()

    def check(self, _: Progress | None = None) -> None:
        """Raises Stopped when the grace is over."""
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            raise Stopped


def back_off(attempt: int) -> float:
    """Seconds to wait before try *attempt* + 1: doubling, half of it random."""
    full = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(attempt - 1, 16))
    return full * random.uniform(0.5, 1.0)


@contextmanager
def terminating(bell: Bell, *signals: signal.Signals) -> Iterator[None]:
    """Within the block, *signals* (SIGTERM when none is named) stop *bell*. For the main thread."""

    def stop(*_: object) -> None:
        # From a thread: the interrupted code may hold the very lock that stopping needs.
        threading.Thread(target=bell.stop, name="stop").start()

    former = {number: signal.signal(number, stop) for number in signals or (signal.SIGTERM,)}
    try:
        yield
    finally:
        for number, action in former.items():
            signal.signal(number, action)
