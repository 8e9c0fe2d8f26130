"""What has happened since it was last told: segments from the ledger, losses from the tombstones, cameras from status.

Events are read from what is durable anyway, with a note of how far was told (kept with the messages, see ``outbox``):
what happens while nobody looks is told later, and nothing is told never. A crash may tell one twice: consumers compare
``event`` and ``stem``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.capture.report import Scalar
from edge_agent.tombstones import Tombstones
from edge_agent.upload import schema
from edge_agent.upload.rows import COLUMNS, Row, State, row_of

MOST = 200  # events of one look; the rest comes with the next
OVERLAP = 10.0
"""Seconds that are looked at again: a row may be written a little later than its time says."""
LOST_STATES = frozenset({"waiting", "hanging", "restarting"})

Happening = dict[str, Any]
"""``event``, ``at`` (epoch seconds, made ISO 8601 when it is sent), and what belongs to it."""


@dataclass(frozen=True, slots=True)
class Told:
    """How far the ledger was told: up to *changed* (epoch seconds), and what of the last OVERLAP: event, stem."""

    changed: float
    recent: Mapping[str, float] = field(default_factory=dict)

    def as_note(self) -> list[Any]:
        return [self.changed, dict(self.recent)]

    @classmethod
    def of_note(cls, note: Any, now: float) -> Told:
        """The inverse of :meth:`as_note`; a note that is none, or from a clock that was ahead: from now on."""
        match note:
            case [int() | float() as changed, dict(recent)] if changed <= now + OVERLAP:
                return cls(float(changed), {str(k): float(v) for k, v in recent.items() if isinstance(v, int | float)})
        return cls(now)


def ledger_rows(ledger: Path, since: float) -> list[Row]:
    """Segments that changed after *since*, oldest first, MOST or a few more; none where there is no ledger yet.

    Those that changed in the same OVERLAP come together, or a burst would hide what is behind it. Raises SpoolError.
    """
    if not ledger.exists():
        return []
    query = f"SELECT {COLUMNS} FROM segments WHERE changed > ? ORDER BY changed, stem"  # noqa: S608 - constants
    with schema.sqlite_errors(ledger), closing(schema.connect_for_reading(ledger)) as connection:
        if schema.version(connection) == 0:
            return []  # just being made
        rows: list[Row] = []
        for found in connection.execute(query, (since,)):
            rows.append(row_of(found))
            if len(rows) >= MOST and rows[-1].changed > since + 2 * OVERLAP:
                break
        return rows


def segment_events(rows: list[Row], told: Told) -> tuple[list[Happening], Told]:
    """What *rows* say that was not *told* yet, oldest first; and what is told after that. Pure."""
    happenings: list[Happening] = []
    recent = dict(told.recent)
    for row in rows:
        for name, at, extra in _of(row, told.changed):
            key = f"{name} {row.stem}"
            if key not in recent:
                happenings.append({"event": name, "at": at, "stem": row.stem, "bytes": row.size, **extra})
                recent[key] = row.changed
    newest = max([told.changed, *(row.changed for row in rows)])
    kept = {key: changed for key, changed in recent.items() if changed >= newest - OVERLAP}
    return happenings, Told(newest, kept)


def _of(row: Row, told: float) -> list[tuple[str, float, dict[str, Any]]]:
    """The events of *row* that are not older than what was told."""
    found: list[tuple[str, float, dict[str, Any]]] = []
    if row.first_seen > told - OVERLAP:
        found.append(("segment_closed", row.first_seen, {}))
    if row.state is State.VERIFIED:
        found.append(("segment_uploaded", row.changed, {"key": row.key}))
    elif row.state in (State.QUARANTINED, State.CONFLICT):
        found.append(("segment_failed", row.changed, {"code": row.error_code, "reason": row.error}))
    return found


def losses(tombstones: Tombstones, told: int) -> tuple[list[Happening], int]:
    """Tombstones after the first *told* there ever were, oldest first; and how many there are. Raises SpoolError."""
    count = tombstones.losses().segments
    stones = tombstones.recent(min(max(0, count - told), MOST))
    return [
        {
            "event": "segment_lost",
            "at": stone.dropped_at,
            "stem": stone.stem,
            "bytes": stone.bytes,
            "frames": stone.frames,
            "reason": stone.reason,
        }
        for stone in reversed(stones)
    ], count


Statuses = Mapping[str, Mapping[str, Scalar]]


def camera_events(before: Mapping[str, bool], statuses: Statuses) -> tuple[list[Happening], dict[str, bool]]:
    """What cameras went away or came back since they were *before* (lost: True); and which are lost now. Pure."""
    happenings: list[Happening] = []
    now = dict(before)
    for name, status in statuses.items():
        state = status.get("state")
        lost = state in LOST_STATES
        if lost and not before.get(name, False):
            happenings.append({"event": "camera_lost", "camera": name, "problem": status.get("problem")})
        elif before.get(name, False) and not lost and state != "connecting":
            happenings.append({"event": "camera_back", "camera": name})
        elif before.get(name, False) and not lost:
            continue  # still trying
        now[name] = lost
    return happenings, {name: lost for name, lost in now.items() if name in statuses}
