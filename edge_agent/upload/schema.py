"""The ledger's file: its tables through their versions, how it is opened, and what is done with a damaged one."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.durable import os_error
from edge_agent.errors import DiskFull, SpoolUnusable, WriteFailed

# One script for each version, only ever appended to: PRAGMA user_version counts how many have run. File names are
# bytes, as the kernel has them: one that is no UTF-8 must not stop the others.
MIGRATIONS = (
    """
    CREATE TABLE segments (
        stem TEXT PRIMARY KEY,
        file BLOB NOT NULL,
        state TEXT NOT NULL DEFAULT 'ready',
        size INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL,
        perhaps_stored INTEGER NOT NULL DEFAULT 0,
        key TEXT NOT NULL DEFAULT '',
        checksum TEXT NOT NULL DEFAULT '',
        etag TEXT NOT NULL DEFAULT '',
        error_code TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        error_at REAL,
        first_seen REAL NOT NULL,
        changed REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX segments_due ON segments (state, due);
    CREATE INDEX segments_changed ON segments (changed);
    CREATE INDEX segments_failed ON segments (error_at) WHERE error_code <> '';
    CREATE TABLE link (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        error_code TEXT NOT NULL,
        error TEXT NOT NULL,
        since REAL NOT NULL
    );
    """,
    """
    CREATE TABLE unfinished (
        stem TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        upload_id TEXT NOT NULL,
        part_size INTEGER NOT NULL,
        inode TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        begun REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE segments ADD COLUMN start REAL NOT NULL DEFAULT 0;
    ALTER TABLE segments ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE segments ADD COLUMN setbacks INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE segments ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE segments ADD COLUMN error_scope TEXT NOT NULL DEFAULT '';
    UPDATE segments SET start = first_seen, unsettled = state IN ('ready', 'uploading', 'completing');
    CREATE INDEX segments_turn ON segments (rank, start) WHERE state = 'ready';
    CREATE INDEX segments_unsettled ON segments (unsettled) WHERE unsettled;
    CREATE TABLE progress (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        at REAL NOT NULL,
        rate REAL NOT NULL,
        in_flight INTEGER NOT NULL,
        streams INTEGER NOT NULL,
        paused TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE scanned (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL);
    INSERT INTO scanned SELECT 1, changed FROM segments LIMIT 1;
    """,
)

_ROOM = 1 << 20  # bytes; the largest change, the notes of a hundred new segments, takes a tenth of it
_LOG_PAGES = 128  # of the log, after which it is begun anew: half the room, as nobody knows when the disk will be full

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNUSABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def printable(text: str) -> str:
    """*text* on one line, with control characters and what is no UTF-8, as odd file names have it, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite and the operating system refuse at *path* as SpoolUnusable, DiskFull or WriteFailed."""
    try:
        yield
    except BlockingIOError as error:
        raise SpoolUnusable(
            "another uploader is at work on this spool", where=str(path), fix="stop it first, or leave the work to it"
        ) from error
    except OSError as error:
        raise os_error(error, error.filename or path) from error
    except sqlite3.Error as error:
        raise _translated(error, path) from error


def _translated(error: sqlite3.Error, path: Path) -> SpoolUnusable | DiskFull | WriteFailed:
    # The low byte is the primary code. Errors of the sqlite3 module itself (misuse) have none and are bugs of ours.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(str(error), where=str(path), fix="free space on this disk")
    if code in _UNUSABLE:
        return SpoolUnusable(str(error), where=str(path), fix="create its directory, and let the agent's user write")
    if code in _DAMAGED:
        return SpoolUnusable(f"ledger is damaged ({error})", where=str(path), fix="restart; it is made anew")
    return WriteFailed(str(error), where=str(path), fix="check the disk")


def connect(path: Path) -> sqlite3.Connection:
    """An autocommit connection for the one writer, which may hand it from thread to thread."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing and leaves no file behind. Raises FileNotFoundError when there is no ledger."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no ledger yet", str(path))
    # Without a log, no writer is at work and nothing can change; "immutable" then spares a reader who may not write to
    # the directory the shared memory file.
    quiet = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    uri = f"{path.absolute().as_uri()}?mode=ro{quiet}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def claim(lock: Path) -> int:
    """A descriptor that keeps other writers out until it is closed, even by a kill. Raises BlockingIOError."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def prepare(connection: sqlite3.Connection) -> None:
    """Make every commit durable, and bring the tables to the newest version, each step whole or not at all."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    for number, script in enumerate(MIGRATIONS, start=1):
        if version(connection) < number:
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def reserve(connection: sqlite3.Connection) -> None:
    """Let the ledger and its log have some room on the disk that is theirs, to go on with when there is no more.

    Free pages in the one, and a length the other keeps until the last connection is closed. A disk that is full already
    gives none.
    """
    try:
        connection.executescript("DROP TABLE IF EXISTS room; CREATE TABLE room (filler BLOB);")
        connection.execute("INSERT INTO room VALUES (zeroblob(?))", (_ROOM,))
        connection.execute("PRAGMA wal_checkpoint(RESTART)")  # until then the ledger itself is no longer
        connection.execute("DROP TABLE room")
    except sqlite3.OperationalError as error:
        if not _says_full(error):
            raise


def _says_full(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


@contextmanager
def making_do(connection: sqlite3.Connection) -> Iterator[None]:
    """When a full disk refuses a change, begin the log anew: the next change may succeed."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _says_full(error):
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        raise


def set_aside(path: Path) -> Path | None:
    """Move what is no sound ledger of a known version to ``<name>.torn-<stamp>``; where it went, None when all is well.

    The stamp is when the file was last written, in UTC.
    """
    if not path.exists() or _is_sound(path):
        return None
    stamp = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y%m%dT%H%M%SZ}"
    target, number = path.with_name(f"{path.name}.torn-{stamp}"), 0
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.torn-{stamp}.{number}")
    for suffix in ("-wal", "-shm", ""):  # the ledger last: a crash in between finds it again
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(target.with_name(target.name + suffix))
    return target


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return verdict == "ok" and version(connection) <= len(MIGRATIONS)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            return False
        raise


def version(connection: sqlite3.Connection) -> int:
    """How many of the migrations the ledger has seen."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
