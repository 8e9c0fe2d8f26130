"""The queue in the ledger's tables: what waits, and what goes next. Every query reads no more rows than it returns.

``rank`` orders before ``start``: the priority of a segment's class, but far below all of them for one that was set
back twice, as one that takes the whole link or the whole process down with it would be.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from edge_agent.upload.lanes import Lane, priority_of, start_of
from edge_agent.upload.rows import COLUMNS, WAITING_SQL, Row, Sent, row_of

PAGE = 2000  # rows read at a time, so that nobody else waits for the ledger for more than some milliseconds
SETBACKS = 2  # with so many, others go first: one may be chance, and what was begun is best ended
_BEHIND = 1 << 40  # more than any priority


def due(connection: sqlite3.Connection, now: float, farthest: float, limit: int, lane: Lane) -> list[Row]:
    """Up to *limit* ready rows that are due at *now*, or later than *farthest*, in the order of *lane*."""
    order = "DESC" if lane is Lane.LIVE else "ASC"
    query = (
        f"SELECT {COLUMNS} FROM segments WHERE state = 'ready' AND rank = ? AND (due <= ? OR due > ?)"  # noqa: S608
        f" ORDER BY start {order}, stem {order} LIMIT ?"
    )
    found: list[Row] = []
    (rank,) = connection.execute("SELECT max(rank) FROM segments WHERE state = 'ready'").fetchone()
    while rank is not None and len(found) < limit:
        page = connection.execute(query, (rank, now, farthest, limit - len(found)))
        found += [row_of(values) for values in page]
        (rank,) = connection.execute(
            "SELECT max(rank) FROM segments WHERE state = 'ready' AND rank < ?", (rank,)
        ).fetchone()
    return found


def waiting_after(connection: sqlite3.Connection, last: tuple[str, float, str]) -> list[tuple[str, float, str]]:
    """State, due time and stem of the next PAGE rows that wait, after *last*, in the index's order."""
    query = (
        f"SELECT state, due, stem FROM segments WHERE state IN {WAITING_SQL} AND (state, due, stem) > (?, ?, ?)"  # noqa: S608
        f" ORDER BY state, due, stem LIMIT {PAGE}"
    )
    return [tuple(values) for values in connection.execute(query, last)]


def waiting_of(connection: sqlite3.Connection, stems: Sequence[str]) -> set[str]:
    places = ", ".join("?" * len(stems))
    # The plus keeps SQLite from the index over states: most rows are in one of these.
    query = f"SELECT stem FROM segments WHERE stem IN ({places}) AND +state IN {WAITING_SQL}"  # noqa: S608
    return {stem for (stem,) in connection.execute(query, stems)}


def unsettled(connection: sqlite3.Connection) -> list[str]:
    query = f"SELECT file FROM segments WHERE unsettled AND state IN {WAITING_SQL}"  # noqa: S608
    return [os.fsdecode(file) for (file,) in connection.execute(query)]


def discover(
    connection: sqlite3.Connection,
    files: Iterable[tuple[str, str, int]],
    now: float,
    priorities: Mapping[str, int],
    *,
    perhaps_stored: bool,
    unsettled: Container[str],
) -> None:
    query = (
        "INSERT INTO segments (stem, file, size, due, first_seen, changed, perhaps_stored, start, rank, unsettled)"  # noqa: S608
        " VALUES (:stem, :file, :size, :now, :now, :now, :perhaps, :start, :rank, :unsettled)"
        " ON CONFLICT (stem) DO UPDATE SET"
        " state = 'ready', file = :file, size = :size, due = :now, changed = :now, attempts = 0, setbacks = 0,"
        f" perhaps_stored = {Sent.BEGUN:d}, error_code = '', error_scope = '', error = '', error_at = NULL,"
        " start = :start, rank = :rank, unsettled = :unsettled"
        f" WHERE segments.state NOT IN {WAITING_SQL}"
    )
    connection.executemany(
        query,
        (
            {
                "stem": stem,
                "file": os.fsencode(file),
                "size": size,
                "now": now,
                "perhaps": Sent.UNKNOWN if perhaps_stored else Sent.NEVER,
                "start": now if (start := start_of(stem)) is None else start,
                "rank": priority_of(stem, priorities),
                "unsettled": stem in unsettled,
            }
            for stem, file, size in files
        ),
    )


def rank_anew(connection: sqlite3.Connection, priorities: Mapping[str, int]) -> None:
    """Let every row that waits have the rank that *priorities* give it."""

    def rank(stem: str, setbacks: int) -> int:
        return priority_of(stem, priorities) - (_BEHIND if setbacks >= SETBACKS else 0)

    connection.create_function("rank_of", 2, rank, deterministic=True)
    connection.execute(
        f"UPDATE segments SET rank = rank_of(stem, setbacks) WHERE state IN {WAITING_SQL}"  # noqa: S608
        " AND rank <> rank_of(stem, setbacks)"
    )


def set_back(connection: sqlite3.Connection, stem: str) -> None:
    connection.execute(
        "UPDATE segments SET setbacks = setbacks + 1,"
        " rank = rank - CASE setbacks WHEN ? THEN ? ELSE 0 END WHERE stem = ?",
        (SETBACKS - 1, _BEHIND, stem),
    )


def recover(connection: sqlite3.Connection, now: float, but: Collection[str]) -> int:
    """Make rows in flight, other than *but*, ready again, each with a setback; how many."""
    there = connection.execute("SELECT stem FROM segments WHERE state IN ('uploading', 'completing')").fetchall()
    stems = [stem for (stem,) in there if stem not in but]
    for stem in stems:
        set_back(connection, stem)
    connection.executemany(
        "UPDATE segments SET state = 'ready', due = ?, changed = ? WHERE stem = ?",
        ((now, now, stem) for stem in stems),
    )
    return len(stems)


def hurry(connection: sqlite3.Connection, stems: Collection[str] | None, now: float) -> int:
    """Make ready rows of *stems* (None: all) due, if they are not; how many."""
    query = "UPDATE segments SET due = ?, changed = ? WHERE state = 'ready' AND due > ?"
    if stems is None:
        return connection.execute(query, (now, now, now)).rowcount
    return connection.executemany(f"{query} AND stem = ?", ((now, now, now, stem) for stem in stems)).rowcount
