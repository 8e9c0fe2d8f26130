"""Media time to wall-clock time."""

from __future__ import annotations

from datetime import datetime, timedelta

from edge_agent.clock import Clock


class Timeline:
    """Wall-clock time of each packet of one connection, from the packets' own time.

    The first packet's arrival is the anchor; from there the camera's clock counts, so that network jitter and a busy
    disk do not move segments about.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor: tuple[float, datetime] | None = None

    def wall(self, media_time: float) -> datetime:
        """When the packet with *media_time* (seconds) was taken."""
        if self._anchor is None:
            self._anchor = (media_time, self._clock.now())
        began, moment = self._anchor
        return moment + timedelta(seconds=media_time - began)
