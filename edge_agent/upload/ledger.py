"""What became of every segment, in SQLite beside the spool.

The spool is the truth about which files wait; the ledger remembers what was tried, when to try again, and how it ended.
A lost or torn ledger therefore costs some HEAD requests, never footage. Nothing here reads a clock: ``now`` and ``due``
are seconds since the epoch, given by the caller.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.errors import EdgeCaptureError
from edge_agent.upload import queue, schema
from edge_agent.upload.history import History
from edge_agent.upload.lanes import Lane, start_of
from edge_agent.upload.retry import FILE_LONGEST
from edge_agent.upload.rows import (
    COLUMNS,
    Progress,
    Row,
    Sent,
    State,
    UploadStatus,
    counts_in,
    recent_in,
    row_of,
    status_in,
)
from edge_agent.upload.schema import printable, sqlite_errors
from edge_agent.upload.unfinished import UnfinishedUploads

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
        self._mutex = threading.RLock()
        self._open_batch = False
        self._priorities: Mapping[str, int] = {}
        with sqlite_errors(path), ExitStack() as opened:
            opened.callback(os.close, schema.claim(path.with_name(f"{path.name}.lock")))
            self.torn = schema.set_aside(path)
            self._connection = opened.enter_context(closing(schema.connect(path)))
            schema.prepare(self._connection)
            schema.reserve(self._connection)
            self._opened = opened.pop_all()
        self.unfinished = UnfinishedUploads(self._using, self._changing)
        self.history = History(self._using, self._changing)

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
            if self._open_batch:
                yield connection
                return
            with schema.making_do(connection):
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes this thread makes in the block are durable at its end, at the price of one; or none of them."""
        with self._changing():
            self._open_batch = True
            try:
                yield
            finally:
                self._open_batch = False

    # -- what waits ------------------------------------------------------------------------------------------------

    def is_whole(self) -> bool:
        """Whether it has heard of all that is in ``ready/``: a new one has not, nor one begun anew after damage."""
        with self._using() as connection:
            return connection.execute("SELECT 1 FROM scanned").fetchone() is not None

    def scanned(self, now: float) -> None:
        """Everything in ``ready/`` was seen: from here on, what it does not know was never sent."""
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO scanned VALUES (1, ?)", (now,))

    def waiting(self) -> Iterator[str]:
        """The stem of every segment that should be in ``ready/``, however many; other threads get their turn between.

        One that changes meanwhile may be missing, or come twice.
        """
        last = ("", 0.0, "")
        while True:
            with self._using() as connection:
                page = queue.waiting_after(connection, last)
            yield from (stem for _, _, stem in page)
            if len(page) < queue.PAGE:
                return
            last = page[-1]

    def waiting_of(self, stems: Sequence[str]) -> set[str]:
        """Those of *stems* (some thousands at most) that are known to wait."""
        with self._using() as connection:
            return queue.waiting_of(connection, stems)

    def prioritise(self, priorities: Mapping[str, int]) -> None:
        """From now on a class tag has its number in *priorities*, or 0; the higher goes first."""
        self._priorities = dict(priorities)
        with self._changing() as connection:
            queue.rank_anew(connection, self._priorities)

    def due_now(self, now: float, limit: int, lane: Lane = Lane.BACKLOG) -> list[Row]:
        """Up to *limit* segments to try now, in the order of *lane* (see lanes); what set others back comes last."""
        with self._using() as connection:
            return queue.due(connection, now, now + FARTHEST_DUE, limit, lane)

    def unsettled(self) -> list[str]:
        """File names of segments that wait and may still get another start and name."""
        with self._using() as connection:
            return queue.unsettled(connection)

    def settled(self, stem: str) -> None:
        """The segment's start and name are what they will be."""
        with self._changing() as connection:
            connection.execute("UPDATE segments SET unsettled = 0 WHERE stem = ?", (stem,))

    def next_due(self) -> float | None:
        """When the next segment is to be tried, or None when none waits."""
        with self._using() as connection:
            (due,) = connection.execute("SELECT min(due) FROM segments WHERE state = 'ready'").fetchone()
        return None if due is None else float(due)

    # -- what happens to a segment ---------------------------------------------------------------------------------

    def discovered(
        self,
        files: Iterable[tuple[str, str, int]],
        now: float,
        *,
        perhaps_stored: bool = False,
        unsettled: Container[str] = (),
    ) -> None:
        """Stems, file names and sizes found in ``ready/``, to be uploaded; *unsettled*: stems that may yet be renamed.

        One that is known to wait stays as it is. One that was final has been put back: it begins anew, with its old
        attempts forgotten.
        """
        with self._changing() as connection:
            queue.discover(connection, files, now, self._priorities, perhaps_stored=perhaps_stored, unsettled=unsettled)

    def renamed(self, stem: str, new: str, file: str, now: float) -> None:
        """The segment *stem* is called *new* now, its file *file*. A second time, and of an unknown one, no matter."""
        with self._changing() as connection:
            connection.execute(
                "UPDATE OR REPLACE segments SET stem = ?, file = ?, changed = ?, start = ? WHERE stem = ?",
                (new, os.fsencode(file), now, start_of(new) or now, stem),
            )

    def recovered(self, now: float, but: Collection[str] = ()) -> int:
        """Whatever was in flight when its uploader ended is ready again; how many.

        One that has seen that twice goes behind all that is due: it may be what ends the uploader. *but*: stems that
        are in flight now.
        """
        with self._changing() as connection:
            return queue.recover(connection, now, but)

    def uploading(self, stem: str, now: float) -> None:
        """A send begins; from here on the store may have the object, whatever the reply."""
        self._change(stem, now, state=State.UPLOADING, perhaps_stored=Sent.BEGUN)

    def verified(self, stem: str, now: float, *, key: str, size: int, checksum: str, etag: str = "") -> None:
        """The store has the object, proved by its checksum."""
        self._change(
            stem, now, state=State.VERIFIED, key=key, size=size, checksum=checksum, etag=etag, error_code="", error=""
        )

    def released(self, stem: str, error: EdgeCaptureError, now: float, *, setback: bool = True) -> None:
        """The link failed, not the file: ready at once, with no attempt counted.

        A *setback* is to be noted when all was well before: with the second, it lets every other go first.
        """
        with self.together(), self._changing() as connection:
            self._failed(stem, error, now, state=State.READY, due=now)
            if setback:
                queue.set_back(connection, stem)

    def hurried(self, stems: Collection[str] | None, now: float) -> int:
        """These segments (None: all) wait no longer for their next try, if they do; how many did."""
        with self._changing() as connection:
            return queue.hurry(connection, stems, now)

    def returned(self, stem: str, now: float) -> None:
        """The segment was not sent, or not to its end, because it was to stop: ready, as if nothing had been."""
        self._change(stem, now, state=State.READY)

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
        said = printable(str(error))
        self._change(
            stem, now, error_code=error.code, error_scope=error.scope.value, error=said, error_at=now, **changes
        )

    def _change(self, stem: str, now: float, **changes: object) -> None:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        with self._changing() as connection:
            connection.execute(
                f"UPDATE segments SET {assignments}, changed = ? WHERE stem = ?",  # noqa: S608
                (*changes.values(), now, stem),
            )

    # -- the link, and how it goes ---------------------------------------------------------------------------------

    def link_lost(self, error: EdgeCaptureError, now: float) -> bool:
        """Every upload waits because of *error*; whether that is news. Another object with the same trouble is none."""
        trouble = (error.code, printable(str(error)))
        with self._changing() as connection:
            known = connection.execute("SELECT error_code, error FROM link").fetchone()
            if known is not None and known[0] == error.code and _cause(known[1]) == _cause(trouble[1]):
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

    def progressed(self, progress: Progress) -> None:
        """What another process's status is to show, until the next time."""
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO progress VALUES (1, ?, ?, ?, ?, ?)", astuple(progress))

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


def _cause(line: str) -> str:
    """What an error's *line* says went wrong, without where."""
    return line.partition(": ")[2] or line
