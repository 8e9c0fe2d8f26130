"""Messages that wait for the link, on the disk: bounded in bytes, oldest telemetry let go before events, counted."""

from __future__ import annotations

import contextlib
import enum
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.durable import os_errors
from edge_agent.errors import DiskFull, WriteFailed

FILE_NAME = "outbox.sqlite"
LIMIT = 8 << 20
"""Bytes of payload kept: an event has about 300, telemetry of four cameras 2,000: some three days at one a minute."""

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_kind ON messages (kind, id);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_DROPPED = "dropped"


class Kind(enum.IntEnum):
    """What a message is; the lower is let go first when there is no room."""

    TELEMETRY = 0
    EVENT = 1


@dataclass(frozen=True, slots=True)
class Message:
    """``id`` grows with time; 0 before the message is kept."""

    kind: Kind
    topic: str
    payload: bytes
    id: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits (messages, bytes of payload), and how many were ever let go for want of room, by kind."""

    waiting: int
    bytes: int
    dropped: Mapping[Kind, int]


class Outbox:
    """The file ``outbox.sqlite`` in the state *directory*. Used by one thread; methods raise SpoolError.

    What :meth:`add` was given survives a crash of the process; a power cut may take the last seconds, notes and
    messages together: so whoever notes how far he has told begins there again, and nothing is told never.
    A file that is damaged is begun anew.
    """

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.path = directory / FILE_NAME
        self._limit = limit
        with self._errors():
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise
                for suffix in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                self._connection = self._open()
            self._bytes: int = self._one("SELECT coalesce(sum(length(payload)), 0) FROM messages")
            self._waiting: int = self._one("SELECT count(*) FROM messages")
        self._dropped = {kind: int(self.note(f"{_DROPPED}.{kind.name}", 0)) for kind in Kind}

    def add(self, messages: Iterable[Message], notes: Mapping[str, Any] | None = None) -> None:
        """Keep *messages*, in this order, and *notes* (JSON types) with them, all or nothing."""
        fresh = [message for message in messages if len(message.payload) <= self._limit]
        with self._errors(), self._transaction():
            for message in fresh:
                self._connection.execute(
                    "INSERT INTO messages (kind, topic, payload) VALUES (?, ?, ?)",
                    (message.kind, message.topic, message.payload),
                )
            gone = self._make_room(sum(len(message.payload) for message in fresh))
            for name, value in {**(notes or {}), **{f"{_DROPPED}.{k.name}": n for k, n in gone[2].items()}}.items():
                self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))
        self._waiting += len(fresh) - gone[0]
        self._bytes += sum(len(message.payload) for message in fresh) - gone[1]
        self._dropped = gone[2]

    def oldest(self, limit: int) -> list[Message]:
        """Up to *limit* messages that wait, oldest first."""
        with self._errors():
            found = self._connection.execute(
                "SELECT id, kind, topic, payload FROM messages ORDER BY id LIMIT ?", (limit,)
            ).fetchall()
        return [Message(Kind(kind), topic, payload, number) for number, kind, topic, payload in found]

    def remove(self, messages: Sequence[Message]) -> None:
        """They have arrived, or never will. Those that have been let go meanwhile are no error."""
        with self._errors(), self._transaction():
            for message in messages:
                if self._connection.execute("DELETE FROM messages WHERE id = ?", (message.id,)).rowcount:
                    self._waiting -= 1
                    self._bytes -= len(message.payload)

    def note(self, name: str, default: Any) -> Any:
        """What was last noted under *name*."""
        with self._errors():
            found = self._connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        with contextlib.suppress(ValueError):
            return default if found is None else json.loads(found[0])
        return default

    def backlog(self) -> Backlog:
        return Backlog(self._waiting, self._bytes, dict(self._dropped))

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_TABLES)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _one(self, query: str) -> Any:
        (value,) = self._connection.execute(query).fetchone()
        return value

    def _make_room(self, added: int) -> tuple[int, int, dict[Kind, int]]:
        """Let the oldest go until *added* bytes fit: how many went, their bytes, and the counts after that."""
        excess, number, size, dropped = self._bytes + added - self._limit, 0, 0, dict(self._dropped)
        while size < excess:
            row = self._connection.execute(
                "SELECT id, kind, length(payload) FROM messages ORDER BY kind, id LIMIT 1"
            ).fetchone()
            self._connection.execute("DELETE FROM messages WHERE id = ?", (row[0],))
            number, size = number + 1, size + row[2]
            dropped[Kind(row[1])] += 1
        return number, size, dropped

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with os_errors(self.path):
                yield
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_FULL:
                raise DiskFull(str(error), where=str(self.path), fix="free space on this disk") from error
            raise WriteFailed(str(error), where=str(self.path), fix="check the disk; stopped, delete it") from error


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code: the low byte."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
