"""A clock whose time passes only by waiting."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Keeps the Clock contract in virtual time: a wait returns at once, with the time it asked for gone by.

    Actions planned with :meth:`after` run when a wait passes their moment, in the waiting thread. A wait beyond *limit*
    seconds of virtual time is a test that would never end, and fails.
    """

    def __init__(self, start: datetime = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC), limit: float = 1e6) -> None:
        self._wall = start
        self._elapsed = 0.0
        self._limit = limit
        self.is_synchronised = True
        self.is_setting_expected = True
        self.boot = "5d1a0c1e-0000-4000-8000-000000000001"
        self._lock = threading.RLock()
        self._order = itertools.count()
        self._plan: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> datetime:
        with self._lock:
            return self._wall

    def monotonic(self) -> float:
        with self._lock:
            return self._elapsed

    def wall_offset(self) -> float:
        with self._lock:
            return self._wall.timestamp() - self._elapsed

    def synchronised(self) -> bool:
        return self.is_synchronised

    def setting_expected(self) -> bool:
        return self.is_setting_expected

    def boot_id(self) -> str:
        return self.boot

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        end = self.monotonic() + max(0.0, seconds)
        while not stop.is_set():
            with self._lock:
                if not self._plan or self._plan[0][0] > end:
                    self.advance(max(0.0, end - self._elapsed))
                    break
                moment, _, action = heapq.heappop(self._plan)
                self.advance(max(0.0, moment - self._elapsed))
            action()
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, running no planned action."""
        with self._lock:
            self._elapsed += seconds
            self._wall += timedelta(seconds=seconds)
            assert self._elapsed <= self._limit, f"waited for more than {self._limit} virtual seconds"

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run *action* once *seconds* from now have passed."""
        with self._lock:
            heapq.heappush(self._plan, (self._elapsed + seconds, next(self._order), action))

    def step(self, seconds: float) -> None:
        """Set the wall clock by *seconds*, as NTP or a person does; monotonic time does not notice."""
        with self._lock:
            self._wall += timedelta(seconds=seconds)
