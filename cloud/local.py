"""Videos in a plain directory, read where they stand: nothing is written beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from edge_agent.errors import ConfigInvalid, ObjectNotFound
from edge_agent.store import ObjectInfo
from edge_agent.store.records import Identity
from edge_agent.store.uri import split_uri


class LocalVideos:
    """The part of a store that :func:`cloud.pipeline.process` reads from. A key is a file's absolute path.

    The ETag is the SHA-256 of the bytes, as in a directory store: a video that is later stored there is the same one.
    """

    def uri(self, key: str) -> str:
        return Path(key).as_uri()

    def key_of(self, uri: str) -> str | None:
        parts = split_uri(uri)
        return unquote(parts.path) if parts.scheme == "file" else None

    _latest: tuple[str, Identity, str] | None = None  # whoever asks twice whether a video changed reads it once

    def head(self, key: str) -> ObjectInfo:
        with _read(Path(key)) as path, path.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = self._known(key, Identity.of(status)) or hashlib.file_digest(file, "sha256").hexdigest()
            if Identity.of(os.fstat(file.fileno())) == Identity.of(status):  # else it is still being written
                self._latest = key, Identity.of(status), digest
        return ObjectInfo(key, status.st_size, digest, datetime.fromtimestamp(status.st_mtime, UTC))

    def _known(self, key: str, identity: Identity) -> str | None:
        latest = self._latest
        return latest[2] if latest is not None and latest[:2] == (key, identity) else None

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        yield Path(key)


@contextmanager
def _read(path: Path) -> Iterator[Path]:
    try:
        yield path
    except FileNotFoundError as error:
        raise ObjectNotFound("no such file", where=str(path)) from error
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=str(path)) from error
