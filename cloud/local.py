"""Videos in a plain directory, read where they stand: nothing is written beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_agent.errors import ConfigInvalid, ObjectNotFound
from edge_agent.store import ObjectInfo


class LocalVideos:
    """The part of a store that :func:`cloud.pipeline.process` reads from. A key is a file's absolute path.

    The ETag is the SHA-256 of the bytes, as in a directory store: a video that is later stored there is the same one.
    """

    def uri(self, key: str) -> str:
        return Path(key).as_uri()

    def key_of(self, uri: str) -> str | None:
        parts = urlsplit(uri)
        return unquote(parts.path) if parts.scheme == "file" else None

    def head(self, key: str) -> ObjectInfo:
        with _read(Path(key)) as path, path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = path.stat()
        return ObjectInfo(key, status.st_size, digest, datetime.fromtimestamp(status.st_mtime, UTC))

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
