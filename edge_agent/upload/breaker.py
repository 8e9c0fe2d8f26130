"""One breaker for all that is wrong beyond a single file: link, DNS, TLS, clock, throttling, credentials.

While it is open, one segment at a time is tried, 1 to 30 s apart, fully jittered; the first that arrives closes it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from edge_agent.upload.retry import link_delay


class Breaker:
    """Used by one thread, but for :meth:`hurry`. Moments in monotonic seconds.

    What was begun before the link returned may still fail after that: a hurry lasts until something is tried after it.
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._failures = 0
        self._retry_at = 0.0
        self._hurried = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether the last thing heard of the link was trouble."""
        return self._failures > 0

    def trip(self, now: float) -> float:
        """A try failed; seconds until the next, unless somebody hurries."""
        self._failures += 1
        delay = link_delay(self._failures, self._draw)
        self._retry_at = now + delay
        return delay

    def close(self) -> None:
        """The store answered."""
        self._failures = 0

    def hurry(self) -> None:
        """The link may be back: the next try is due at once, and the delays begin anew. From any thread."""
        self._hurried.set()

    @property
    def is_hurried(self) -> bool:
        """Whether nothing has been tried since the last hurry."""
        return self._hurried.is_set()

    def trying(self) -> None:
        """Something is tried now."""
        if self._hurried.is_set():
            self._hurried.clear()
            self._failures = min(self._failures, 1)  # it was another outage that had made the delays long

    def seconds_left(self, now: float) -> float:
        """Until something may be tried; 0: now."""
        if not self.is_open or self._hurried.is_set():
            return 0.0
        return max(0.0, self._retry_at - now)
