"""Whether somebody looks at the camera's picture. The parent says so, again and again while somebody does."""

from __future__ import annotations

from edge_agent.clock import Clock

LOOK = "look"
MOST_SECONDS = 30.0  # an order to look holds no longer: whoever looks asks again


class Lookers:
    """What the parent last said. Written by one thread, read by another."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")

    def are_there(self, now: float) -> bool:
        """Whether anybody looks at *now* (monotonic seconds)."""
        return now < self._until

    def obey(self, line: str) -> None:
        """Take an order: ``look <seconds>``; others are for someone else."""
        order, _, seconds = line.strip().partition(" ")
        if order == LOOK and seconds.isdecimal():
            self._until = self._clock.monotonic() + min(float(seconds), MOST_SECONDS)
