"""What the box tells without being asked: telemetry every so often, an event for each thing that happened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.capture.report import Scalar
from edge_agent.clock import Clock
from edge_agent.control.happenings import (
    OVERLAP,
    Happening,
    Told,
    camera_events,
    ledger_rows,
    losses,
    segment_events,
)
from edge_agent.control.outbox import Backlog, Kind, Message, Outbox
from edge_agent.errors import SpoolError
from edge_agent.redact import redact
from edge_agent.segment import format_moment
from edge_agent.tombstones import Tombstones
from edge_agent.upload.rows import State, UploadStatus, read_status

CameraStatuses = Mapping[str, Mapping[str, Scalar]]
SHOWN = (
    *("state", "healthy", "problem", "gate", "tag", "segment"),
    *("packets", "segments", "dropped", "corrupt", "picture"),
)
"""What telemetry says of each camera, as in ``edge-agent status`` (docs/operations/status.md)."""
_TOLD, _LOSSES, _LOST = "told", "losses", "cameras_lost"


def telemetry_topic(thing: str) -> str:
    return f"edge/{thing}/telemetry"


def events_topic(thing: str) -> str:
    return f"edge/{thing}/events"


@dataclass(slots=True)
class Teller:
    """Puts messages into *outbox*. Used by one thread. ``refused`` counts those the broker would not take."""

    thing: str
    outbox: Outbox
    clock: Clock
    ledger: Path
    tombstones: Tombstones
    spool: Path
    seconds: float
    refused: int = 0
    _due: float = 0.0
    _seen: tuple[int, ...] = ()
    _told: Told | None = None
    _losses: int | None = None
    _lost: dict[str, bool] = field(default_factory=dict)

    def look(self, statuses: CameraStatuses) -> None:
        """Keep a message for each thing that has happened, and telemetry when it is due. Raises SpoolError."""
        self._tell_events(statuses)
        if self.clock.monotonic() >= self._due:
            self._due = self.clock.monotonic() + self.seconds
            payload = telemetry(
                statuses, self._upload(), self._disk(), self.outbox.backlog(), self.refused, self.clock.now(),
                synchronised=self.clock.synchronised(),
            )  # fmt: skip
            self.outbox.add([Message(Kind.TELEMETRY, telemetry_topic(self.thing), _encoded(payload))])

    def _tell_events(self, statuses: CameraStatuses) -> None:
        now = self.clock.now().timestamp()
        if self._told is None or self._losses is None:
            self._told = Told.of_note(self.outbox.note(_TOLD, None), now)
            count = self.outbox.note(_LOSSES, None)
            self._losses = count if isinstance(count, int) else self.tombstones.losses().segments
            lost = self.outbox.note(_LOST, {})
            self._lost = {str(name): bool(it) for name, it in lost.items()} if isinstance(lost, dict) else {}
        happenings: list[Happening] = []
        told, count, lost = self._told, self._losses, self._lost
        if self._told.changed > now + OVERLAP:  # the clock was put back: from now on
            told = Told(now)
        seen = (*_signature(self.ledger), *_signature(self.tombstones.path))
        if seen != self._seen:
            happenings, told = segment_events(ledger_rows(self.ledger, told.changed - OVERLAP), told)
            stones, count = losses(self.tombstones, count)
            happenings += stones
        cameras, lost = camera_events(lost, statuses)
        happenings += cameras
        if happenings or (told, count, lost) != (self._told, self._losses, self._lost):
            topic = events_topic(self.thing)
            self.outbox.add(
                [Message(Kind.EVENT, topic, _encoded(_dated(happening, now))) for happening in happenings],
                {_TOLD: told.as_note(), _LOSSES: count, _LOST: lost},
            )
        self._told, self._losses, self._lost, self._seen = told, count, lost, seen

    def _upload(self) -> UploadStatus | None:
        with suppress(SpoolError):  # no ledger yet
            return read_status(self.ledger)[0]
        return None

    def _disk(self) -> dict[str, int]:
        with suppress(OSError):
            found = os.statvfs(self.spool)
            return {"free": found.f_bavail * found.f_frsize, "size": found.f_blocks * found.f_frsize}
        return {}


def telemetry(
    statuses: CameraStatuses,
    upload: UploadStatus | None,
    disk: Mapping[str, int],
    backlog: Backlog,
    refused: int,
    now: datetime,
    *,
    synchronised: bool,
) -> dict[str, Any]:
    """The message, as JSON types; sizes in bytes, rate in bytes a second. Pure."""
    return {
        "at": format_moment(now),
        "agent": __version__,
        "clock_synchronised": synchronised,
        "cameras": {name: {key: status.get(key) for key in SHOWN} for name, status in statuses.items()},
        "upload": None if upload is None else _of_upload(upload, now.timestamp()),
        "disk": dict(disk),
        "queue": {
            "waiting": backlog.waiting,
            "bytes": backlog.bytes,
            "refused": refused,
            **{f"dropped_{kind.name.lower()}": number for kind, number in backlog.dropped.items()},
        },
    }


def _of_upload(status: UploadStatus, now: float) -> dict[str, Any]:
    eta = status.eta(now)
    return {
        "waiting": status.waiting,
        "waiting_bytes": status.waiting_bytes,
        "uploaded": status.counts.get(State.VERIFIED, 0),
        "rate": round(status.progress.rate) if eta is not None and status.progress else 0,
        "eta": None if eta is None else round(eta),
        "link": status.link.message if status.link else None,
        "paused": (status.progress.paused or None) if status.progress else None,
    }


def _dated(happening: Happening, now: float) -> Happening:
    """*happening* with its time, or this one, as ISO 8601."""
    at = happening.get("at", now)
    return {**happening, "at": at if isinstance(at, str) else format_moment(datetime.fromtimestamp(at, UTC))}


def _encoded(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(_redacted(payload)).encode()


def _redacted(value: Any) -> Any:
    """*value* without what a URL in a camera's problem may carry."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _redacted(item) for key, item in value.items()}
    return value


def _signature(path: Path) -> tuple[int, ...]:
    """Changes when the file, or SQLite's log beside it, does."""
    found: tuple[int, ...] = ()
    for name in (path.name, f"{path.name}-wal"):
        with suppress(OSError):
            status = path.with_name(name).stat()
            found += (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
