"""Which of the segments that wait goes next. Pure.

Two lanes lead into the same queue from its two ends: the live lane takes the newest, so that fresh footage is seen
soon, the backlog lane the oldest, so that nothing waits for ever. Both take the class of the highest priority first:
a lower class waits while a higher one has anything due, which is what a priority is for.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Iterator, Mapping, Sequence

from edge_agent.segment import Take
from edge_agent.upload.rows import Row

LIVE_SHARE = 3
"""Of four turns, this many are the live lane's: a camera that keeps the link busy still lets a quarter of it drain."""


class Lane(enum.StrEnum):
    """An end of the queue."""

    LIVE = "live"
    BACKLOG = "backlog"


def lane_of(turn: int) -> Lane:
    """Whose turn number *turn* (from 0) is."""
    return Lane.BACKLOG if turn % (LIVE_SHARE + 1) == LIVE_SHARE else Lane.LIVE


def interleaved(
    live: Sequence[Row], backlog: Sequence[Row], turn: int, avoid: Container[str] = ()
) -> Iterator[tuple[Lane, Row]]:
    """The rows of both lanes in the order in which they go from turn number *turn* on, each once.

    What is in *avoid* comes last. A lane that has nothing lets the other one go.
    """
    rows = {Lane.LIVE: live, Lane.BACKLOG: backlog}
    for wanted in (False, True):
        waiting = {lane: iter([row for row in rows[lane] if (row.stem in avoid) is wanted]) for lane in Lane}
        seen: set[str] = set()
        while True:
            first = lane_of(turn)
            for lane in (first, Lane.LIVE if first is Lane.BACKLOG else Lane.BACKLOG):
                row = next((row for row in waiting[lane] if row.stem not in seen), None)
                if row is not None:
                    break
            else:
                break
            seen.add(row.stem)
            turn += 1
            yield lane, row


def start_of(stem: str) -> float | None:
    """When the segment *stem* began, in seconds since the epoch; None when its take does not tell."""
    made = Take.parse(stem.rpartition("_")[2])
    return made.start.timestamp() if made else None


def priority_of(stem: str, priorities: Mapping[str, int]) -> int:
    """The priority of the class of *stem*; 0 where none is set."""
    return priorities.get(stem.rpartition("_")[0], 0) if priorities else 0
