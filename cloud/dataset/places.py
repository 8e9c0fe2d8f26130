"""Where a manifest goes: a folder of a store, or one of this machine. Each file is there whole, or as it was before."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from cloud.dataset.layout import MANIFEST_SUFFIX
from cloud.dataset.whole import whole, writing
from edge_agent.errors import ConfigInvalid, ObjectConflict, ObjectExists, ObjectNotFound
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.uri import split_uri


class Place(Protocol):
    """A flat folder of files."""

    def address(self, name: str) -> str:
        """How a person or another command names the file *name*."""

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None when there is none."""

    def write(self, name: str, file: Path, content_type: str) -> None:
        """Put the bytes of *file* there under *name*, replacing what was there."""

    def write_new(self, name: str, file: Path, content_type: str) -> bool:
        """Put the bytes of *file* there under *name*; False when these very bytes stand there.

        Raises ObjectConflict, never overwriting, when others do.
        """

    def delete(self, name: str) -> None:
        """Remove *name*; it is no error if it is not there."""


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # fits every store and file system, with suffix


def place_at(out: str, endpoint_url: str | None = None) -> tuple[Place, str]:
    """The folder of *out*, as :func:`folder_of` has it, and a data set's name there: *out* without ``.manifest``.

    Raises ConfigInvalid, also when a local folder is not there.
    """
    place, name = folder_of(out, endpoint_url)
    if isinstance(place, LocalFolder) and not place.directory.is_dir():
        raise ConfigInvalid("no such directory", where=str(place.directory), fix="make it, or choose another --out")
    return place, check_name(name.removesuffix(MANIFEST_SUFFIX))


def folder_of(location: str, endpoint_url: str | None = None) -> tuple[Place, str]:
    """The folder of *location*, ``s3://bucket/key``, ``file://…`` or a path, and the name there.

    Raises ConfigInvalid.
    """
    parts = split_uri(location)
    if parts.scheme == "s3":
        folder, slash, name = parts.path.lstrip("/").rpartition("/")
        if not parts.netloc or not name:
            raise ConfigInvalid("names no object", where=location, fix="write s3://bucket/key")
        return StoreFolder(open_store(f"s3://{parts.netloc}", endpoint_url=endpoint_url), folder + slash), name
    path = Path(unquote(parts.path) if parts.scheme == "file" else location).expanduser()
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost") or not path.name:
        fix = "write s3://bucket/key, file:///directory/file or a path"
        raise ConfigInvalid("names no file", where=location, fix=fix)
    return LocalFolder(path.parent), path.name


def check_name(name: str) -> str:
    """*name*, if a manifest can be called so everywhere. Raises ConfigInvalid."""
    if not _NAME.fullmatch(name):
        raise ConfigInvalid(
            f"a manifest cannot be called {ascii(name)[:120]}", fix="use letters, digits, '.', '_' and '-', at most 100"
        )
    return name


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """The keys of *store* that start with *prefix*, which ends in a slash or is empty."""

    store: ObjectStore
    prefix: str

    def address(self, name: str) -> str:
        return self.store.uri(self.prefix + name)

    def read(self, name: str) -> bytes | None:
        try:
            return self.store.get(self.prefix + name).body
        except ObjectNotFound:
            return None

    def write(self, name: str, file: Path, content_type: str) -> None:
        self.store.put(self.prefix + name, file, content_type=content_type)

    def write_new(self, name: str, file: Path, content_type: str) -> bool:
        try:
            self.store.put_if_absent(self.prefix + name, file, content_type=content_type)
        except ObjectExists as error:
            with self.store.checkout(self.prefix + name) as there:
                _check_same(file, there, self.address(name), error)
            return False
        return True

    def delete(self, name: str) -> None:
        self.store.delete(self.prefix + name)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A directory of this machine. Raises ConfigInvalid when it cannot be read or written, DiskFull, WriteFailed."""

    directory: Path

    def address(self, name: str) -> str:
        return str(self.directory / name)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigInvalid(f"cannot be read: {error.strerror}", where=self.address(name)) from error

    def write(self, name: str, file: Path, content_type: str) -> None:  # noqa: ARG002
        self._put(name, file, absent=False)

    def write_new(self, name: str, file: Path, content_type: str) -> bool:  # noqa: ARG002
        try:
            self._put(name, file, absent=True)
        except ObjectExists as error:
            with writing(self.address(name)):
                _check_same(file, self.directory / name, self.address(name), error)
            return False
        return True

    def delete(self, name: str) -> None:
        with writing(self.address(name)):
            (self.directory / name).unlink(missing_ok=True)

    def _put(self, name: str, file: Path, *, absent: bool) -> None:
        with whole(self.directory / name, absent=absent) as made, file.open("rb") as given:
            shutil.copyfileobj(given, made)


def _check_same(file: Path, there: Path, address: str, error: ObjectExists) -> None:
    """Raise ObjectConflict unless *there* has the bytes of *file*."""
    if not cmp(file, there, shallow=False):
        fix = "name another place: nothing is overwritten"
        raise ObjectConflict("holds something else", where=address, fix=fix) from error
