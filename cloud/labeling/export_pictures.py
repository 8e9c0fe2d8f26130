"""Pictures on their way into an export: from a directory or S3, by several threads, each whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloud.dataset.pictures import Pictures as Reader
from cloud.dataset.pictures import is_file
from cloud.labeling.export_ledger import Copy, Ledger
from cloud.labeling.export_size import size_in
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, ObjectConflict, ObjectNotFound, Scope
from edge_agent.store.s3_client import is_key
from edge_agent.store.uri import split_uri

Mode = Literal["copy", "link", "none"]


class PictureInvalid(EdgeCaptureError):
    """The bytes are no picture, or the URI names none."""

    scope = Scope.FILE


@dataclass(slots=True)
class Pictures:
    """Fetches pictures into *root*, as *reader* finds them. Methods may be called from several threads."""

    root: Path
    mode: Mode
    ledger: Ledger
    reader: Reader
    copied: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, source: str, picture: str, *, needs_size: bool) -> Copy | None:
        """Have *source* at *picture* below the root; what is known of it, None when nothing had to be looked at.

        A copy that an earlier run left is taken when its size and checksum are right. With mode ``none`` nothing is
        copied, and the picture is read only for its size. Raises ObjectNotFound, KeyInvalid, PictureInvalid, and what
        a store raises.
        """
        if self.mode == "none":
            if not needs_size:
                return None
            with self._opened(source) as path:
                return Copy(0, "", *_size(path, source))
        target = self.root / picture
        known = self.ledger.copy_of(picture, source, self.mode)
        if known is not None and _is_whole(target, known):
            return known
        with self._opened(source) as path:
            copy = _place(path, target, source, link=self.mode == "link")
        with self._lock:
            self.copied += 1
        self.ledger.record(picture, source, self.mode, copy)
        return copy

    @contextmanager
    def _opened(self, source: str) -> Iterator[Path]:
        path, parts = self.reader.local(source), split_uri(source)
        key = parts.path.removeprefix("/")
        if path is not None:
            if not is_file(path):
                raise ObjectNotFound("no such picture", where=source, fix="name the directory with --images")
            yield path
        elif parts.scheme != "s3":
            what = f"pictures cannot be had by {parts.scheme}:"
            raise PictureInvalid(what, where=source, fix="have them in a store")
        elif parts.netloc and is_key(key):
            with self.reader.asking(source, parts.netloc), self.reader.store(parts.netloc).checkout(key) as copy:
                yield copy
        else:
            with self._foreign(source) as copy:
                yield copy

    @contextmanager
    def _foreign(self, source: str) -> Iterator[Path]:
        """An object whose key our stores would not take, "IMG (1).jpg": others' manifests have such pictures."""
        with tempfile.NamedTemporaryFile(prefix="edge-capture-") as file:
            try:
                file.write(self.reader.read(source))
            except (ConfigInvalid, ObjectConflict) as error:
                raise PictureInvalid(error.what, where=source, fix=error.fix) from error
            file.flush()
            yield Path(file.name)


def _is_whole(path: Path, known: Copy) -> bool:
    try:
        return path.stat().st_size == known.size and _digest(path) == known.sha256
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path, source: str) -> tuple[int, int]:
    try:
        size = size_in(path)
    except OSError as error:
        raise PictureInvalid(f"cannot be read: {error.strerror}", where=source) from error
    if size is None:
        raise PictureInvalid("is no picture that can be read", where=source, fix="look at the file, or leave it out")
    return size


def _place(path: Path, target: Path, source: str, *, link: bool) -> Copy:
    """*path* at *target*, by a hard link if asked and possible; it appears there whole."""
    width, height = _size(path, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    linked = False
    if link:
        with suppress(OSError):  # another file system, or one without links
            os.link(path.resolve(), part)
            linked = True
    if not linked:
        shutil.copyfile(path, part)
    copy = Copy(part.stat().st_size, _digest(part), width, height)
    with suppress(FileNotFoundError):
        target.unlink()  # two links to one file: a rename of one over the other would leave both
    part.replace(target)
    return copy
