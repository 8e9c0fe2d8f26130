"""What the ledger can be asked, by its writer and, read-only, by another process."""

from __future__ import annotations

import enum
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import SpoolUnusable
from edge_agent.upload import schema


class State(enum.StrEnum):
    """Where a segment is in its life. The first three still wait in ``ready/``; the others are final.

    VERIFIED: the store has it, whether or not retention has deleted the copy in ``uploaded/`` since. EVICTED: it left
    ``ready/`` unsent, by the operator's policy or otherwise; a loss. QUARANTINED and CONFLICT lie in ``failed/``.
    """

    READY = "ready"
    UPLOADING = "uploading"
    COMPLETING = "completing"
    VERIFIED = "verified"
    EVICTED = "evicted"
    QUARANTINED = "quarantined"
    CONFLICT = "conflict"


WAITING = (State.READY, State.UPLOADING, State.COMPLETING)
WAITING_SQL = "('ready', 'uploading', 'completing')"


class Sent(enum.IntEnum):
    """What the ledger knows of sends of a segment: false only when there was none."""

    NEVER = 0
    BEGUN = 1  # once at least
    UNKNOWN = 2  # an earlier ledger, if there was one, may have known of some


@dataclass(frozen=True, slots=True)
class Row:
    """One segment. ``file`` is its name in ``ready/``; ``perhaps_stored`` is why the store may have it already."""

    stem: str
    file: str
    state: State
    size: int
    attempts: int
    due: float
    perhaps_stored: Sent
    key: str
    checksum: str
    etag: str
    error_code: str
    error: str
    first_seen: float
    changed: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error as a person should see it; ``since`` in epoch seconds, ``stem`` empty when it is the link's."""

    code: str
    message: str
    since: float
    stem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How it goes, as of ``at`` (epoch seconds): bytes a second lately, segments being sent, streams allowed.

    ``paused`` is the reason, for a person, why nothing is sent, "" while something may be.
    """

    at: float
    rate: float
    in_flight: int
    streams: int
    paused: str


FRESH_SECONDS = 30.0
"""A note of progress that is older was left by an uploader that does not run any more (or hangs)."""


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """A snapshot. ``link`` is set while the breaker is open; ``last_error`` is the newest of any file or the link.

    ``progress`` is the uploader's last note of how it goes, None before its first.
    """

    counts: Mapping[State, int]
    waiting: int
    waiting_bytes: int
    oldest_waiting: float | None
    link: Trouble | None
    last_error: Trouble | None
    last_success: Row | None
    progress: Progress | None = None

    def eta(self, now: float) -> float | None:
        """Seconds until all that waits has been sent, at the rate of lately; None when nothing is being sent."""
        if self.progress is None or self.progress.rate <= 0 or not 0 <= now - self.progress.at <= FRESH_SECONDS:
            return None
        return self.waiting_bytes / self.progress.rate


COLUMNS = (
    "stem, file, state, size, attempts, due, perhaps_stored, key, checksum, etag, "
    "error_code, error, first_seen, changed"
)


def row_of(values: sqlite3.Row) -> Row:
    """The row that a query for COLUMNS found."""
    fields = dict(values)
    fields["file"] = os.fsdecode(fields["file"])
    fields["state"] = State(fields["state"])
    fields["perhaps_stored"] = Sent(fields["perhaps_stored"])
    return Row(**fields)


def read_status(path: Path, recent: int = 0) -> tuple[UploadStatus, list[Row]]:
    """What another process's ledger at *path* says now, and its *recent* newest rows. Raises SpoolUnusable."""
    with schema.sqlite_errors(path), closing(schema.connect_for_reading(path)) as connection:
        if schema.version(connection) != len(schema.MIGRATIONS):
            raise SpoolUnusable("ledger is of another version", where=str(path), fix="use the edge-agent that wrote it")
        return status_in(connection), recent_in(connection, recent)


def counts_in(connection: sqlite3.Connection) -> dict[State, int]:
    found = dict(connection.execute("SELECT state, count(*) FROM segments GROUP BY state").fetchall())
    return {state: found.get(state.value, 0) for state in State}


def recent_in(connection: sqlite3.Connection, limit: int, where: str = "1") -> list[Row]:
    query = f"SELECT {COLUMNS} FROM segments WHERE {where} ORDER BY changed DESC, stem DESC LIMIT ?"  # noqa: S608
    return [row_of(found) for found in connection.execute(query, (limit,))]


def status_in(connection: sqlite3.Connection) -> UploadStatus:
    counts = counts_in(connection)
    size, oldest = connection.execute(
        f"SELECT coalesce(sum(size), 0), min(first_seen) FROM segments WHERE state IN {WAITING_SQL}"  # noqa: S608
    ).fetchone()
    broken = connection.execute("SELECT error_code, error, since FROM link").fetchone()
    failed = connection.execute(
        "SELECT error_code, error, error_at, stem FROM segments WHERE error_code <> '' ORDER BY error_at DESC LIMIT 1"
    ).fetchone()
    noted = connection.execute("SELECT at, rate, in_flight, streams, paused FROM progress").fetchone()
    link = None if broken is None else Trouble(*broken)
    errors = [trouble for trouble in (link, failed and Trouble(*failed)) if trouble]
    return UploadStatus(
        counts=counts,
        waiting=sum(counts[state] for state in WAITING),
        waiting_bytes=size,
        oldest_waiting=oldest,
        link=link,
        last_error=max(errors, key=lambda trouble: trouble.since, default=None),
        last_success=next(iter(recent_in(connection, 1, "state = 'verified'")), None),
        progress=None if noted is None else Progress(*noted),
    )
