"""What an export has done so far, in SQLite inside its own directory: who has which name, which copies are whole.

The copies outlive a killed run; names are given anew in every run, in the order of the manifest, so they come out the
same. Memory does not grow with the number of pictures.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cloud.labeling.picture_names import hash_of, wished

FILE = ".ledger"

# No fsync: whatever a power cut takes is found by size and checksum, and copied again.
_SETTINGS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "PRAGMA temp_store=FILE")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS copies (picture TEXT PRIMARY KEY, source TEXT NOT NULL, mode TEXT NOT NULL,"
    " size INTEGER NOT NULL, sha256 TEXT NOT NULL, width INTEGER, height INTEGER) WITHOUT ROWID",
    "CREATE TEMP TABLE names (stem TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, picture TEXT) WITHOUT ROWID",
    "CREATE TEMP TABLE used (picture TEXT PRIMARY KEY) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that was copied whole; ``size`` in bytes, ``width`` and ``height`` in pixels."""

    size: int
    sha256: str
    width: int | None
    height: int | None


class Ledger:
    """Methods may be called from several threads."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(directory / FILE, check_same_thread=False, isolation_level=None)
        for statement in (*_SETTINGS, *_SCHEMA):
            self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._database.close()

    def name(self, source: str, *, dotless: bool) -> str | None:
        """A file name for the picture at *source* that no other has in this run; None when it had one before.

        The first to want a name gets it; the next of that name gets eight digits of its URI's hash behind it. Names are
        compared without case and without suffix, for file systems and formats that do.
        """
        wanted, suffix = wished(source, dotless=dotless)
        with self._lock:
            if self._database.execute("SELECT 1 FROM names WHERE source = ?", (source,)).fetchone():
                return None
            for digits in (0, 8, 64):
                stem = f"{wanted}-{hash_of(source)[:digits]}" if digits else wanted
                added = self._database.execute(
                    "INSERT OR IGNORE INTO names VALUES (?, ?, NULL)", (stem.lower(), source)
                )
                if added.rowcount:
                    return stem + suffix
        raise AssertionError("two sources have the same SHA-256")

    def copy_of(self, picture: str, source: str, mode: str) -> Copy | None:
        """The copy of *source* at *picture*, made by *mode*; None when there is none."""
        with self._lock:
            row = self._database.execute(
                "SELECT size, sha256, width, height FROM copies WHERE picture = ? AND source = ? AND mode = ?",
                (picture, source, mode),
            ).fetchone()
        return Copy(*row) if row else None

    def record(self, picture: str, source: str, mode: str, copy: Copy) -> None:
        """Say that the copy stands whole."""
        values = (picture, source, mode, copy.size, copy.sha256, copy.width, copy.height)
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def use(self, picture: str) -> None:
        """Say that *picture* is part of this export."""
        with self._lock:
            self._database.execute("INSERT OR IGNORE INTO used VALUES (?)", (picture,))

    def knows(self, picture: str) -> bool:
        with self._lock:
            return bool(self._database.execute("SELECT 1 FROM copies WHERE picture = ?", (picture,)).fetchone())

    def unused(self) -> Iterator[str]:
        """The copies that are no part of this export: of an earlier run with another manifest or format."""
        yield from self._all("SELECT picture FROM copies WHERE picture NOT IN (SELECT picture FROM used)")

    def checksum(self, picture: str) -> str | None:
        """The SHA-256 of the copy *picture*, in hexadecimal."""
        with self._lock:
            row = self._database.execute("SELECT sha256 FROM copies WHERE picture = ?", (picture,)).fetchone()
        return row[0] if row else None

    def _all(self, query: str) -> Iterator[str]:
        with self._lock:
            rows = self._database.execute(query)
        while chunk := rows.fetchmany(1000):
            yield from (row[0] for row in chunk)
