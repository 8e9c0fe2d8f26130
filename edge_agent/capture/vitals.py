"""How a camera does, as its status tells: what lands on the disk, what it shows, what had to be mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from edge_agent.camera import HealthSettings
from edge_agent.capture.health import Picture, PictureWatch
from edge_agent.capture.stamps import Mended
from edge_agent.capture.writer import FRAGMENT_SECONDS

if TYPE_CHECKING:
    from edge_agent.capture.reader import Arrival
    from edge_agent.capture.segments import OpenSegment
    from edge_agent.capture.timekeeper import Timekeeper

LEARN = 1 / 16  # how much one packet's interval counts in the usual one

SHOWN = {
    Picture.FROZEN: "the picture is frozen: the camera sends the same one again and again; restart it",
    Picture.BLACK: "the picture is black; switch the light on, or look at the camera",
    Picture.COVERED: "the picture shows nothing, as if the lens were covered; look at the camera",
}


@dataclass(frozen=True, slots=True)
class Landing:
    """When something of *segment* last reached the disk, in monotonic seconds, and how often it had by then."""

    segment: str
    syncs: int
    at: float


def is_healthy(age: float | None, silence: float, interval: float) -> bool:
    """Whether footage lands as it should. Pure; all in seconds.

    *age*: since something was last made durable, None where nothing is to be recorded (then packets suffice);
    *silence*: since the last packet; *interval*: what usually lies between two packets. A fragment ends with the first
    packet after FRAGMENT_SECONDS: a camera of one picture in five seconds has that much longer.
    """
    bound = 2 * (FRAGMENT_SECONDS + interval)
    return (silence if age is None else age) <= bound


class Vitals:
    """Counts over all the recorder's connections. ``tell(event, **fields)`` hears of what the picture does."""

    def __init__(self, settings: HealthSettings, tell: Callable[..., None]) -> None:
        self._watch = PictureWatch(settings, tell)
        self._past: dict[str, int] = {}
        self._mended = Mended()
        self._time: Timekeeper | None = None
        self._corrupt = 0
        self._packet_at: float | None = None
        self._interval = 0.0
        self._landing = Landing("", 0, 0.0)

    def connected(self, mended: Mended, time: Timekeeper) -> None:
        """A connection begins, whose counts are in *mended* and *time*."""
        self._past = self._counts()
        self._mended, self._time, self._packet_at = mended, time, None

    def packet(self, arrival: Arrival) -> None:
        """Look at a packet as it came."""
        if self._packet_at is not None:
            self._interval += (arrival.monotonic - self._packet_at - self._interval) * LEARN
        self._packet_at = arrival.monotonic
        if arrival.packet.is_corrupt:
            self._corrupt += 1
        self._watch.look(arrival)

    def status(self, now: float, segment: OpenSegment | None, problem: str) -> dict[str, str | float | bool | None]:
        """The status fields; *problem* is what is wrong already, and wins."""
        age = self._age(now, segment)
        silence = now - self._packet_at if self._packet_at is not None else float("inf")
        healthy = not problem and is_healthy(age, silence, self._interval)
        if not problem and not healthy and age is not None:
            problem = f"nothing has reached the disk for {age:.0f} s; check the camera and the disk"
        return {
            "problem": problem or SHOWN.get(self._watch.picture, ""),
            "healthy": healthy,
            "last_durable_age": None if age is None else round(age, 1),
            "picture": self._watch.picture.value,
            **self._counts(),
        }

    def _age(self, now: float, segment: OpenSegment | None) -> float | None:
        """Seconds since footage of the open segment was made durable; None when none is open."""
        if segment is None:
            return None
        stem, syncs = segment.name.stem, segment.syncs
        if (stem, syncs) != (self._landing.segment, self._landing.syncs):
            self._landing = Landing(stem, syncs, now)
        return now - self._landing.at

    def _counts(self) -> dict[str, int]:
        """Everything counted so far, of this connection and those before it."""
        mended, time = self._mended, self._time
        kinds = [field.name for field in fields(mended) if field.name not in ("lost", "retimed")]
        counts = {
            "retimed": mended.retimed,
            **{f"retimed_{kind}": getattr(mended, kind) for kind in kinds},
            "dropped": mended.lost,
            "clock_steps": time.steps if time else 0,
            "camera_clock_ignored": time.reports_ignored if time else 0,
        }
        return {**{name: self._past.get(name, 0) + count for name, count in counts.items()}, "corrupt": self._corrupt}
