"""Where a manifest goes: a folder of a store, or one of this machine. Each file is there whole, or as it was before."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol
from urllib.parse import unquote

from cloud.dataset.layout import MANIFEST_SUFFIX
from edge_agent.errors import ConfigInvalid, ObjectNotFound
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.files import fsync_directory
from edge_agent.store.uri import split_uri

_BLOCK = 1 << 20


class Place(Protocol):
    """A flat folder of files."""

    def address(self, name: str) -> str:
        """How a person or another command names the file *name*."""

    def read(self, name: str) -> bytes | None:
        """The file's bytes, None when there is none."""

    def write(self, name: str, file: Path, content_type: str) -> None:
        """Put the bytes of *file* there under *name*, replacing what was there."""

    def delete(self, name: str) -> None:
        """Remove *name*; it is no error if it is not there."""


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # fits every store and file system, with suffix


def place_at(out: str, endpoint_url: str | None = None) -> tuple[Place, str]:
    """The folder of *out*, ``s3://bucket/key``, ``file://…`` or a path, and the name there without ``.manifest``.

    Raises ConfigInvalid.
    """
    parts = split_uri(out)
    if parts.scheme == "s3":
        folder, _, last = parts.path.lstrip("/").rpartition("/")
        store = open_store(f"s3://{parts.netloc}", endpoint_url=endpoint_url)
        return StoreFolder(store, folder and f"{folder}/"), check_name(last.removesuffix(MANIFEST_SUFFIX))
    path = Path(unquote(parts.path) if parts.scheme == "file" else out).expanduser()
    if not path.parent.is_dir():
        raise ConfigInvalid("no such directory", where=str(path.parent), fix="make it, or choose another --out")
    return LocalFolder(path.parent), check_name(path.name.removesuffix(MANIFEST_SUFFIX))


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

    def delete(self, name: str) -> None:
        self.store.delete(self.prefix + name)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """An existing directory of this machine. Raises ConfigInvalid when it cannot be read or written."""

    directory: Path

    def address(self, name: str) -> str:
        return str(self.directory / name)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(name, error) from error

    def write(self, name: str, file: Path, content_type: str) -> None:  # noqa: ARG002
        try:
            with NamedTemporaryFile(dir=self.directory, prefix=".", suffix=".part", delete=False) as scratch:
                try:
                    with file.open("rb") as given:
                        while block := given.read(_BLOCK):
                            scratch.write(block)
                    scratch.flush()
                    os.fchmod(scratch.fileno(), 0o666 & ~_umask())
                    os.fsync(scratch.fileno())
                    Path(scratch.name).replace(self.directory / name)
                except BaseException:
                    Path(scratch.name).unlink(missing_ok=True)
                    raise
            fsync_directory(self.directory)
        except OSError as error:
            raise self._refused(name, error) from error

    def delete(self, name: str) -> None:
        try:
            (self.directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(name, error) from error

    def _refused(self, name: str, error: OSError) -> ConfigInvalid:
        return ConfigInvalid(
            f"cannot be read or written: {error.strerror}", where=self.address(name), fix="choose another --out"
        )


def _umask() -> int:
    """What a new file of this process must not allow. A scratch file is private, what it becomes is not."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
