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
    """Where a segment is in its life. The first three still wait in ``ready/``; the others are final."""

    READY = "ready"
    UPLOADING = "uploading"
    COMPLETING = "completing"
    VERIFIED = "verified"
    EVICTED = "evicted"
    QUARANTINED = "quarantined"
    CONFLICT = "conflict"


WAITING = (State.READY, State.UPLOADING, State.COMPLETING)
WAITING_SQL = "('ready', 'uploading', 'completing')"


@dataclass(frozen=True, slots=True)
class Row:
    """One segment. ``file`` is its name in ``ready/``; ``perhaps_stored`` says a send was begun, or may have been."""

    stem: str
    file: str
    state: State
    size: int
    attempts: int
    due: float
    perhaps_stored: bool
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
class UploadStatus:
    """A snapshot. ``link`` is set while the breaker is open; ``last_error`` is the newest of any file or the link."""

    counts: Mapping[State, int]
    waiting: int
    waiting_bytes: int
    oldest_waiting: float | None
    link: Trouble | None
    last_error: Trouble | None
    last_success: Row | None


COLUMNS = (
    "stem, file, state, size, attempts, due, perhaps_stored, key, checksum, etag, "
    "error_code, error, first_seen, changed"
)


def row_of(values: sqlite3.Row) -> Row:
    """The row that a query for COLUMNS found."""
    fields = dict(values)
    fields["file"] = os.fsdecode(fields["file"])
    fields["state"] = State(fields["state"])
    fields["perhaps_stored"] = bool(fields["perhaps_stored"])
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
    )
