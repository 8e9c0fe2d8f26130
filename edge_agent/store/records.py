"""What a directory store knows of an object beside its bytes: one small JSON file per version of a key.

A record is bound to the file it describes by the file's identity (inode, modification time, size), so that it can be
written before the object appears and never describes bytes it was not written for. A tree that was copied elsewhere
has new inodes; there a record still counts when its ETag is the digest of the bytes found.

A picture's record says nothing but what its key and its bytes say. Such a record is a note that saves reading the file:
it is not synced, which halves what a put costs, and who finds it gone after a power cut computes it anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.store.checksum import RunningCrc64Nvme
from edge_agent.store.files import fsync_directory, make_directories, prune

# No key can contain "@": a record of key "a" never stands in the way of the records of key "a/…".
_MARK = "@"

_OCTETS = "application/octet-stream"
_BY_SUFFIX = {".jpg": "image/jpeg", ".png": "image/png"}  # of what is put by the thousand


class Identity(NamedTuple):
    """What tells one file from the next under the same name. Renaming and linking a file leave it as it is."""

    inode: int
    modified_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


class Record(BaseModel):
    """What is known of one version of an object. ``etag`` is the SHA-256 of its bytes in hex."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    etag: str
    checksum: str
    content_type: str = _OCTETS
    metadata: dict[str, str] = Field(default_factory=dict)

    def is_plain(self, key: str) -> bool:
        """Whether it says no more than the object's *key* and bytes do."""
        return not self.metadata and self.content_type == _BY_SUFFIX.get(PurePosixPath(key).suffix)

    def named(self, key: str) -> Record:
        """The same, with the content type that *key* stands for."""
        kind = _BY_SUFFIX.get(PurePosixPath(key).suffix, self.content_type)
        return self.model_copy(update={"content_type": kind})


class RunningRecord:
    """Digests bytes chunk by chunk into a :class:`Record`."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._crc = RunningCrc64Nvme()

    def update(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self._crc.update(chunk)

    def record(self) -> Record:
        """The record of everything so far, with nothing but what follows from the bytes."""
        return Record(etag=self._sha256.hexdigest(), checksum=self._crc.checksum().value)


def record_of(chunks: Iterable[bytes]) -> Record:
    """The record that follows from the bytes of *chunks* alone."""
    running = RunningRecord()
    for chunk in chunks:
        running.update(chunk)
    return running.record()


class Records:
    """The records below *root*. Reading creates nothing; OSErrors of writing are the caller's to translate."""

    def __init__(self, root: Path, within: Path) -> None:
        self._root = root
        self._within = within

    def read(self, key: str, identity: Identity) -> Record | None:
        """The record of exactly the file of this *identity*, or None."""
        return _parsed(self._path(key, identity))

    def of_bytes(self, key: str, etag: str) -> Record | None:
        """The latest record of *key* whose bytes have the digest *etag*, or None."""
        found = [(record, path) for path in self._paths(key) if (record := _parsed(path)) and record.etag == etag]
        return max(found, key=lambda pair: pair[1].name)[0] if found else None

    def write(self, key: str, identity: Identity, record: Record) -> None:
        """Make *record* durable; to be done before the file it describes gets its name.

        Not so the first of a key that is plain: nothing else can be taken for it when it is lost.
        """
        path = self._path(key, identity)
        own, shared = path.parent, path.parent.parent
        make_directories(shared, self._within)
        passing = _made(own) and record.is_plain(key)
        with path.open("wb") as file:
            file.write(record.model_dump_json().encode())
            if not passing:
                file.flush()
                os.fsync(file.fileno())
        if not passing:
            fsync_directory(own)
            fsync_directory(shared)  # a passing one may have made the directory

    def keep_only(self, key: str, identity: Identity | None) -> None:
        """Remove all records of *key* but that of *identity*; with None remove them all, and empty directories."""
        keep = self._path(key, identity) if identity else None
        unwanted = [path for path in self._paths(key) if path != keep]
        for path in unwanted:
            path.unlink(missing_ok=True)
        if identity is None:
            if unwanted:  # none may come back and speak for the same bytes, put anew
                fsync_directory(self._root / key)
            prune(self._root / key, self._root)

    def _path(self, key: str, identity: Identity) -> Path:
        return self._root / key / f"{_MARK}{identity.inode}-{identity.modified_ns}-{identity.size}.json"

    def _paths(self, key: str) -> list[Path]:
        try:
            with os.scandir(self._root / key) as entries:
                return [Path(entry.path) for entry in entries if entry.name.startswith(_MARK)]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _made(directory: Path) -> bool:
    """Create *directory*; False if it is there already."""
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    return True


def _parsed(path: Path) -> Record | None:
    """The record at *path*; None when it is absent, or torn by a crash before its object was published."""
    with suppress(FileNotFoundError, NotADirectoryError, ValidationError):
        return Record.model_validate_json(path.read_bytes())
    return None
