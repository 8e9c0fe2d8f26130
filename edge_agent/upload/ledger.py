"""What became of every segment, in SQLite beside the spool.

The spool is the truth about which files wait; the ledger remembers what was tried, when to try again, and how it ended.
A lost or torn ledger therefore costs some HEAD requests, never footage. Nothing here reads a clock: ``now`` and ``due``
are seconds since the epoch, given by the caller.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.errors import EdgeCaptureError
from edge_agent.upload import schema
from edge_agent.upload.retry import FILE_LONGEST
from edge_agent.upload.rows import (
    COLUMNS,
    WAITING_SQL,
    Row,
    State,
    UploadStatus,
    counts_in,
    recent_in,
    row_of,
    status_in,
)
from edge_agent.upload.schema import printable, sqlite_errors

LEDGER_FILE = "ledger.sqlite"
"""The ledger's usual name, directly under the spool's root."""

# No back-off is longer; a due time further ahead was written before the wall clock stepped back.
FARTHEST_DUE = FILE_LONGEST


class Ledger:
    """The one writer's ledger at *path*; a second writer is refused while this one is open.

    A file that is no sound ledger is moved aside as ``<name>.torn-<stamp>`` and begun anew; ``torn`` then says where it
    went. Every change is durable when its method returns. May be used by several threads. Raises SpoolUnusable,
    DiskFull or WriteFailed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        with sqlite_errors(path), ExitStack() as opened:
            opened.callback(os.close, _claim(path.with_name(f"{path.name}.lock")))
            self.torn = schema.set_aside(path)
            self._connection = opened.enter_context(closing(schema.connect(path)))
            schema.prepare(self._connection)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Give the ledger free for another writer."""
        with self._mutex:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, sqlite_errors(self.path):
            yield self._connection

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    # -- what waits ------------------------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        """Whether it has never heard of a segment: new, or begun anew after damage."""
        with self._using() as connection:
            return connection.execute("SELECT 1 FROM segments LIMIT 1").fetchone() is None

    def waiting(self) -> dict[str, str]:
        """Stem to file name of every segment that should be in ``ready/``."""
        with self._using() as connection:
            found = connection.execute(f"SELECT stem, file FROM segments WHERE state IN {WAITING_SQL}")  # noqa: S608
            return {stem: os.fsdecode(file) for stem, file in found}

    def due_now(self, now: float, limit: int) -> list[Row]:
        """Up to *limit* segments to try now, longest due first."""
        query = (
            f"SELECT {COLUMNS} FROM segments WHERE state = 'ready' AND (due <= ? OR due > ?)"  # noqa: S608
            " ORDER BY due, first_seen, stem LIMIT ?"
        )
        with self._using() as connection:
            return [row_of(r) for r in connection.execute(query, (now, now + FARTHEST_DUE, limit))]

    def next_due(self) -> float | None:
        """When the next segment is to be tried, or None when none waits."""
        with self._using() as connection:
            (due,) = connection.execute("SELECT min(due) FROM segments WHERE state = 'ready'").fetchone()
        return None if due is None else float(due)

    # -- what happens to a segment ---------------------------------------------------------------------------------

    def discovered(self, files: Iterable[tuple[str, str, int]], now: float, *, perhaps_stored: bool = False) -> None:
        """Stems, file names and sizes found in ``ready/``, to be uploaded.

        One that is known already was final and has been put back: it begins anew, with its old attempts forgotten.
        """
        query = (
            "INSERT INTO segments (stem, file, size, due, first_seen, changed, perhaps_stored)"
            " VALUES (:stem, :file, :size, :now, :now, :now, :perhaps) ON CONFLICT (stem) DO UPDATE SET"
            " state = 'ready', file = :file, size = :size, due = :now, changed = :now, attempts = 0,"
            " perhaps_stored = 1, error_code = '', error = '', error_at = NULL"
        )
        with self._changing() as connection:
            connection.executemany(
                query,
                (
                    {"stem": stem, "file": os.fsencode(file), "size": size, "now": now, "perhaps": perhaps_stored}
                    for stem, file, size in files
                ),
            )

    def renamed(self, stem: str, new: str, file: str, now: float) -> None:
        """The segment *stem* is called *new* now, its file *file*. A second time, and of an unknown one, no matter."""
        with self._changing() as connection:
            connection.execute(
                "UPDATE OR REPLACE segments SET stem = ?, file = ?, changed = ? WHERE stem = ?",
                (new, os.fsencode(file), now, stem),
            )

    def recovered(self, now: float) -> int:
        """Whatever was in flight when its uploader ended is ready again, behind all that is due; how many."""
        with self._changing() as connection:
            return connection.execute(
                "UPDATE segments SET state = 'ready', due = ?, changed = ? WHERE state IN ('uploading', 'completing')",
                (now, now),
            ).rowcount

    def uploading(self, stem: str, now: float) -> None:
        """A send begins; from here on the store may have the object, whatever the reply."""
        self._change(stem, now, state=State.UPLOADING, perhaps_stored=1)

    def verified(self, stem: str, now: float, *, key: str, size: int, checksum: str, etag: str = "") -> None:
        """The store has the object, proved by its checksum."""
        self._change(
            stem, now, state=State.VERIFIED, key=key, size=size, checksum=checksum, etag=etag, error_code="", error=""
        )

    def released(self, stem: str, error: EdgeCaptureError, now: float) -> None:
        """The link failed, not the file: ready at once, behind the others, with no attempt counted."""
        self._failed(stem, error, now, state=State.READY, due=now)

    def postponed(self, stem: str, error: EdgeCaptureError, now: float, *, attempts: int, due: float) -> None:
        """The file failed for the *attempts*-th time and is to be tried again at *due*."""
        self._failed(stem, error, now, state=State.READY, attempts=attempts, due=due)

    def quarantined(self, stem: str, error: EdgeCaptureError, now: float) -> None:
        """The file needs a person."""
        self._failed(stem, error, now, state=State.QUARANTINED)

    def conflicted(self, stem: str, error: EdgeCaptureError, now: float) -> None:
        """The store has other bytes under the segment's key; both are kept."""
        self._failed(stem, error, now, state=State.CONFLICT)

    def vanished(self, stem: str, error: EdgeCaptureError, now: float) -> None:
        """The file left ``ready/`` before it was uploaded: a tombstone."""
        self._failed(stem, error, now, state=State.EVICTED)

    def _failed(self, stem: str, error: EdgeCaptureError, now: float, **changes: object) -> None:
        self._change(stem, now, error_code=error.code, error=printable(str(error)), error_at=now, **changes)

    def _change(self, stem: str, now: float, **changes: object) -> None:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        with self._changing() as connection:
            connection.execute(
                f"UPDATE segments SET {assignments}, changed = ? WHERE stem = ?",  # noqa: S608
                (*changes.values(), now, stem),
            )

    # -- the link --------------------------------------------------------------------------------------------------

    def link_lost(self, error: EdgeCaptureError, now: float) -> bool:
        """Every upload waits because of *error*; whether that is news."""
        trouble = (error.code, printable(str(error)))
        with self._changing() as connection:
            known = connection.execute("SELECT error_code, error FROM link").fetchone()
            if known is not None and tuple(known) == trouble:
                return False
            connection.execute("INSERT OR REPLACE INTO link VALUES (1, ?, ?, ?)", (*trouble, now))
            return True

    def link_restored(self) -> bool:
        """The store answers; whether that is news."""
        with self._using() as connection:
            if connection.execute("SELECT 1 FROM link").fetchone() is None:
                return False
        with self._changing() as connection:
            connection.execute("DELETE FROM link")
            return True

    # -- looking ---------------------------------------------------------------------------------------------------

    def get(self, stem: str) -> Row | None:
        with self._using() as connection:
            found = connection.execute(f"SELECT {COLUMNS} FROM segments WHERE stem = ?", (stem,)).fetchone()  # noqa: S608
        return None if found is None else row_of(found)

    def counts(self) -> dict[State, int]:
        """How many segments are in each state; every state is a key."""
        with self._using() as connection:
            return counts_in(connection)

    def recent(self, limit: int) -> list[Row]:
        """The segments that changed last, newest first."""
        with self._using() as connection:
            return recent_in(connection, limit)

    def status(self) -> UploadStatus:
        with self._using() as connection:
            return status_in(connection)


def _claim(lock: Path) -> int:
    """A descriptor that keeps other writers out until it is closed, even by a kill. Raises BlockingIOError."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
