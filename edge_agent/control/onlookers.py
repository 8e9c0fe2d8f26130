"""What the running agent shows those who look: the cameras' pictures, and the last lines of its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.capture.lookers import LOOK
from edge_agent.capture.report import PICTURE, Event
from edge_agent.clock import Clock
from edge_agent.control.journal import KEPT, LOG, Journal
from edge_agent.control.pictures import Picture, Pictures

LOOK_SECONDS = 10  # a camera goes on drawing so long after it was last asked
FRESH_SECONDS = 2.0  # a picture that is no older needs no new one
FIRST_SECONDS = 5.0  # to wait for a picture; a keyframe every few seconds is usual
NEXT_SECONDS = 2.0  # to wait for another one, when the one before it is known


class Onlookers:
    """Part of the agent. ``say(camera, line)`` tells a capture process something. Safe to use from several threads."""

    def __init__(self, clock: Clock, journal: Journal, say: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._journal = journal
        self._say = say
        self._pictures = Pictures(clock)

    def hear(self, event: Event) -> bool:
        """Keep what *event* shows; False when it is for somebody else."""
        if event.name == PICTURE:
            self._pictures.take(event.camera, str(event.fields.get("jpeg", "")))
            return True
        if event.name == LOG:
            self._journal.add(event.fields)
            return True
        return False

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a request on the local socket; None when it is for somebody else.

        ``snapshot``: the *camera*'s picture, another one than *after* where that is given; ``logs``: up to *limit*
        lines after number *after*, only of *trouble* where that is true.
        """
        match request:
            case {"command": "snapshot", "camera": str(camera)}:
                return self._snapshot(camera, request.get("after"))
            case {"command": "logs"}:
                after, limit = request.get("after"), request.get("limit")
                number, lines = self._journal.since(
                    after if isinstance(after, int) else 0,
                    limit if isinstance(limit, int) else KEPT,
                    trouble=request.get("trouble") is True,
                )
                return {"number": number, "lines": lines}
        return None

    def _snapshot(self, camera: str, after: object) -> dict[str, Any]:
        self._say(camera, f"{LOOK} {LOOK_SECONDS}")
        if isinstance(after, int):
            picture = self._pictures.after(camera, after, NEXT_SECONDS)
        else:
            picture = self._pictures.fresh(camera, FRESH_SECONDS, FIRST_SECONDS)
        return {} if picture is None else self._shown(picture)

    def _shown(self, picture: Picture) -> dict[str, Any]:
        return {"number": picture.number, "jpeg": picture.jpeg, "age": round(self._clock.monotonic() - picture.at, 2)}
