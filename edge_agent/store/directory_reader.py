"""The reading half of a store in a directory: it takes no lock and creates nothing, so it may be read-only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from edge_agent.errors import ContainerMissing, IntegrityMismatch, KeyInvalid, ObjectNotFound
from edge_agent.store.base import Checksum, ObjectInfo, StoredObject, check_key
from edge_agent.store.checksum import ALGORITHM, crc64nvme, file_chunks
from edge_agent.store.files import ABSENT, opened, refusal
from edge_agent.store.records import Identity, Record, Records, record_of
from edge_agent.store.uri import split_uri

OWN = ".store"
"""The one part of the directory that holds no objects."""

_REMEMBERED = 10_000  # digests of hand-dropped files kept in memory, about 300 bytes each


class DirectoryReader:
    """Every reading method of :class:`~edge_agent.store.base.ObjectStore` on the directory *root*."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.own = self.root / OWN
        self.records = Records(self.own / "records", self.root)
        self._digests: dict[tuple[str, Identity], Record] = {}

    @property
    def name(self) -> str:
        return self.root.name

    def uri(self, key: str) -> str:
        return "file://" + quote(f"{self.root}/{check_key(key)}")

    def key_of(self, uri: str) -> str | None:
        parts = split_uri(uri)
        path = unquote(parts.path)
        inside = path.removeprefix(f"{self.root}/".replace("//", "/"))
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or inside == path:
            return None
        return inside if _is_key(inside) else None

    def check(self) -> None:
        with self.errors(str(self.root)):
            if not self.root.is_dir():
                raise self._missing()
            if not os.access(self.root, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.root))

    def get(self, key: str) -> StoredObject:
        path = self.path_of(key)
        with self._reading(path):
            while True:
                with opened(path) as file:
                    status = os.fstat(file.fileno())
                    body = file.read()
                    record = self.records.read(key, Identity.of(status))
                    # The record of a put outlives the file's name: without it, the file was replaced, or never put.
                    # The open file keeps its inode from being given to the next one.
                    if record is None and path.stat().st_ino != status.st_ino:
                        continue
                if record is None:
                    record = self._adopted(key, record_of([body]))
                elif crc64nvme(body).value != record.checksum:
                    raise IntegrityMismatch(
                        "the file's bytes are not what was stored", where=str(path), fix="check the disk, store it anew"
                    )
                return StoredObject(info_of(key, status, record, size=len(body)), body)

    def head(self, key: str) -> ObjectInfo:
        path = self.path_of(key)
        with self._reading(path):
            return self._described(key, path)

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        """The object's own file, not a copy: to be read only."""
        path = self.path_of(key)
        with self._reading(path), opened(path):
            pass
        yield path

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files whose names are no safe keys are not objects, and are passed over."""
        self.check()
        above = prefix.rpartition("/")[0]
        try:
            if above:
                self.path_of(above)
        except KeyInvalid:
            return  # nothing that is an object can be there
        with self.errors(str(self.root)):
            for key in self._keys(above, prefix):
                with suppress(*ABSENT):  # deleted since its directory was read
                    found = self._described(key, self.root / key)
                    yield ObjectInfo(key, found.size, found.etag, found.modified)

    def _keys(self, above: str, prefix: str) -> Iterator[str]:
        """The keys under the directory *above* that start with *prefix*, in key order, a directory at a time."""
        try:
            with os.scandir(self.root / above) as entries:
                # "a/…" sorts after "a-b" and "a.b": a directory takes its place with its slash.
                names = sorted(
                    entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                    if not entry.is_symlink()
                )
        except ABSENT:
            return
        for name in names:
            key = f"{above}/{name}" if above else name
            if not _is_key(key.removesuffix("/")):
                continue
            if not name.endswith("/"):
                if key.startswith(prefix):
                    yield key
            elif key.startswith(prefix) or prefix.startswith(key):
                yield from self._keys(key.removesuffix("/"), prefix)

    def _described(self, key: str, path: Path) -> ObjectInfo:
        """What is known of the file at *path* now. Raises one of ``ABSENT`` when there is none."""
        while True:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            record = self.records.read(key, Identity.of(status)) or self._computed(key, path, Identity.of(status))
            if record is not None:
                return info_of(key, status, record)

    def _computed(self, key: str, path: Path, identity: Identity) -> Record | None:
        """The record of a file that was not put here, from its bytes; None when *path* leads elsewhere by now."""
        if known := self._digests.get((key, identity)):
            return known
        with opened(path) as file:
            if Identity.of(os.fstat(file.fileno())) != identity:
                return None
            record = self._adopted(key, record_of(file_chunks(file)))
            if Identity.of(os.fstat(file.fileno())) == identity:  # else it is still being written
                if len(self._digests) >= _REMEMBERED:
                    self._digests.clear()
                self._digests[key, identity] = record
            return record

    def _adopted(self, key: str, computed: Record) -> Record:
        """What an earlier put of the same bytes under *key* said of them (the tree was copied), else *computed*."""
        return self.records.of_bytes(key, computed.etag) or computed.named(key)

    # -- keys and errors -------------------------------------------------------------------------------------------

    def path_of(self, key: str) -> Path:
        """The file that *key* names, there or not. Raises KeyInvalid."""
        path = self.root / check_key(key)
        if key.split("/", 1)[0] == OWN:
            raise KeyInvalid(f"keys under {OWN!r} are the store's own", where=str(self.root), fix="use another key")
        with self.errors(str(path)):
            linked = any(part.is_symlink() for part in (path, *path.parents[: key.count("/")]))
        if linked:
            raise KeyInvalid("the key leads through a symbolic link", where=str(path), fix="put the file itself there")
        return path

    def _missing(self) -> ContainerMissing:
        return ContainerMissing("no such directory", where=str(self.root), fix="check the path, or create it")

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        with self.errors(str(path)):
            try:
                yield
            except ABSENT as error:
                if not self.root.is_dir():
                    raise
                raise ObjectNotFound("no such object", where=str(path)) from error

    @contextmanager
    def errors(self, where: str) -> Iterator[None]:
        """Raise what the operating system refuses as one of ours."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) and not self.root.is_dir():
                raise self._missing() from error
            raise refusal(error, where) from error


def _is_key(key: str) -> bool:
    try:
        return check_key(key).split("/", 1)[0] != OWN
    except KeyInvalid:
        return False


def info_of(key: str, status: os.stat_result, record: Record, size: int | None = None) -> ObjectInfo:
    """What *status* and *record* together say of the object; *size* is that of the bytes actually read."""
    return ObjectInfo(
        key=key,
        size=status.st_size if size is None else size,
        etag=record.etag,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        content_type=record.content_type,
        metadata=record.metadata,
        checksum=Checksum(ALGORITHM, record.checksum),
    )
