"""What a lane asks about time: when a packet was taken, whether the wall clock was just set, whether it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.capture.timeline import STEP_SECONDS, Burst, Moment, Timeline, sent_at
from edge_agent.clock import Clock

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival

SYNCHRONISED, UNSYNCHRONISED = "synchronised", "unsynchronised"


@dataclass(frozen=True, slots=True)
class ClockState:
    """What a sidecar says of the clock its times come from; ``monotonic`` is when the segment began, in ``boot``."""

    clock: str = SYNCHRONISED
    boot: str = ""
    monotonic: float = 0.0


class Timekeeper:
    """One connection's timeline, fed with the machine's clock. ``tell(event, **fields)`` hears of every step."""

    def __init__(self, clock: Clock, tell: Callable[..., None]) -> None:
        self._clock = clock
        self._tell = tell
        self._timeline = Timeline()
        self._burst = Burst()
        self._complained = False
        self.steps = 0

    @property
    def reports_ignored(self) -> int:
        """Packets whose sender report was too far from our clock to be believed."""
        return self._timeline.reports_ignored

    def arrived(self, arrival: Arrival) -> Iterator[Arrival]:
        """Learn from *arrival*; it and what had to wait for it, or nothing while a connection's first burst lasts."""
        media = media_time(arrival)
        # libav repeats the last report's mapping on every packet; asking for it costs more than the rest of this.
        sent = sent_at(arrival) if arrival.packet.is_keyframe else None
        self._timeline.learn(media, arrival.monotonic, arrival.offset, sent)
        if self._timeline.reports_ignored and not self._complained:
            self._complained = True
            self._tell("camera_clock_ignored", seconds=round(self._timeline.report_error, 3))
        yield from self._burst.feed(arrival, media)

    def flush(self) -> Iterator[Arrival]:
        """What is still held when the connection ends."""
        yield from self._burst.flush()

    def moment(self, arrival: Arrival) -> Moment:
        """When *arrival*'s picture was taken; a step of the wall clock since the last call is told and counted."""
        moment = self._timeline.at(media_time(arrival), arrival.offset)
        if moment.stepped:
            self.steps += 1
            self._tell("clock_stepped", seconds=round(moment.stepped, 3))
        return moment

    def state(self, moment: Moment) -> ClockState:
        """What to note of the clock for a segment that begins at *moment*, which may be some seconds ago: pre-roll.

        A clock that is right now, but was set since, was not right then.
        """
        is_set_since = abs(self._clock.wall_offset() - moment.offset) > STEP_SECONDS
        if self._clock.synchronised() and not is_set_since:
            return ClockState()
        return ClockState(UNSYNCHRONISED, self._clock.boot_id(), round(moment.monotonic, 6))


def media_time(arrival: Arrival) -> float:
    """The packet's presentation time in seconds of the camera's clock."""
    return (arrival.packet.pts or 0) * arrival.seconds_per_tick
