"""The ledger's notes of uploads in parts that were begun and not ended. Which parts arrived, the store itself knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from edge_agent.upload.prepared import Identity, Prepared

Using = Callable[[], AbstractContextManager[sqlite3.Connection]]

_COLUMNS = "stem, key, upload_id, part_size, inode, size, mtime_ns, checksum"
_WAITING = "EXISTS (SELECT 1 FROM segments s WHERE s.stem = {} AND s.state IN ('ready', 'uploading', 'completing'))"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Upload *upload_id* of the segment *stem* to *key*, in parts of *part_size* bytes.

    The id is "" from when the store is asked to begin until it has answered. *identity* and *checksum* (of the whole)
    are those of its file when it was begun.
    """

    stem: str
    key: str
    upload_id: str
    part_size: int
    identity: Identity
    checksum: str

    def is_of(self, prepared: Prepared) -> bool:
        """Whether it can go on with the file as it is now: each part that is not known to fit is compared."""
        return (self.key, self.identity.size, self.checksum) == (
            prepared.key,
            prepared.size,
            prepared.segment.crc64nvme,
        )


class UnfinishedUploads:
    """Part of a :class:`~edge_agent.upload.ledger.Ledger`: durable, for several threads, raises SpoolError."""

    def __init__(self, using: Using, changing: Using) -> None:
        self._using = using
        self._changing = changing

    def of(self, stem: str) -> Unfinished | None:
        with self._using() as connection:
            query = f"SELECT {_COLUMNS} FROM unfinished WHERE stem = ?"  # noqa: S608
            found = connection.execute(query, (stem,)).fetchone()
        return None if found is None else _of(found)

    def begun(self, upload: Unfinished, now: float) -> None:
        """The store has begun *upload*, or is about to; another one of that segment is forgotten."""
        identity = upload.identity
        values = (str(identity.inode), identity.size, identity.mtime_ns, upload.checksum, now)
        with self._changing() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO unfinished ({_COLUMNS}, begun) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (upload.stem, upload.key, upload.upload_id, upload.part_size, *values),
            )

    def completing(self, stem: str, now: float) -> None:
        """Every part arrived; from here on the store may have the object."""
        with self._changing() as connection:
            connection.execute("UPDATE segments SET state = 'completing', changed = ? WHERE stem = ?", (now, stem))

    def forgotten(self, stem: str) -> None:
        """The segment's upload is completed, aborted or gone."""
        with self._changing() as connection:
            connection.execute("DELETE FROM unfinished WHERE stem = ?", (stem,))

    def ownerless(self) -> list[Unfinished]:
        """Those whose segment waits no more: it was given up, or arrived in another way."""
        query = f"SELECT {_COLUMNS} FROM unfinished u WHERE NOT {_WAITING.format('u.stem')}"  # noqa: S608
        with self._using() as connection:
            return [_of(found) for found in connection.execute(query)]

    def is_known(self, upload_id: str) -> bool:
        """Whether a segment of ours will go on with *upload_id*."""
        with self._using() as connection:
            query = "SELECT 1 FROM unfinished WHERE upload_id = ?"
            return connection.execute(query, (upload_id,)).fetchone() is not None

    def is_waiting(self, stem: str) -> bool:
        with self._using() as connection:
            (found,) = connection.execute(f"SELECT {_WAITING.format('?')}", (stem,)).fetchone()
        return bool(found)


def _of(values: sqlite3.Row) -> Unfinished:
    stem, key, upload_id, part_size, inode, size, mtime_ns, checksum = values
    # As text: an inode may have 64 bits, an integer of SQLite's has one less.
    return Unfinished(stem, key, upload_id, part_size, Identity(int(inode), size, mtime_ns), checksum)
