"""Pending multipart uploads of a directory store: files beside the objects, durable, gone with the upload.

::

    <root>/.store/uploads/<id>.json                          what is to become of it: there as long as it is pending
    <root>/.store/uploads/<id>/<number>.<sha256>.<crc64>     a part, whole: its name is the last thing it gets

Whoever changes an upload holds the lock of its key. OSErrors are the caller's to translate.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import IntegrityMismatch, UploadGone
from edge_agent.store.base import Checksum, Part, PendingUpload
from edge_agent.store.checksum import ALGORITHM, file_chunks
from edge_agent.store.files import fsync_directory, make_directories
from edge_agent.store.records import Record

_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"(?P<number>\d{5})\.(?P<etag>[0-9a-f]{64})\.(?P<crc>[0-9a-f]{16})")


class Begun(BaseModel):
    """What an upload is to become."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    content_type: str
    metadata: dict[str, str] = Field(default_factory=dict)


class Uploads:
    """The pending uploads below *root*. Reading creates nothing."""

    def __init__(self, root: Path, within: Path) -> None:
        self._root = root
        self._within = within

    def begin(self, begun: Begun, scratch: Path) -> str:
        """The id of a new upload, durable; *scratch* is an empty file on the same file system, and used up."""
        with scratch.open("wb") as file:
            file.write(begun.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        upload_id = uuid.uuid4().hex
        make_directories(self._root, self._within)
        scratch.replace(self._mark(upload_id))
        fsync_directory(self._root)
        return upload_id

    def require(self, key: str, upload_id: str) -> Begun:
        """The pending upload *upload_id* to *key*. Raises UploadGone."""
        begun = _parsed(self._mark(upload_id)) if _ID.fullmatch(upload_id) else None
        if begun is None or begun.key != key:
            raise UploadGone("no such upload is pending", where=f"{self._root} {upload_id!a}"[:200])
        return begun

    def add(self, upload_id: str, number: int, scratch: Path, record: Record) -> Part:
        """Make the finished file *scratch* part *number*, instead of an earlier one of that number."""
        directory = self._root / upload_id
        make_directories(directory, self._within)
        crc = binascii.hexlify(base64.b64decode(record.checksum)).decode("ascii")
        target = directory / f"{number:05d}.{record.etag}.{crc}"
        scratch.replace(target)
        for path in directory.glob(f"{number:05d}.*"):
            if path != target:
                path.unlink(missing_ok=True)
        fsync_directory(directory)
        return _part(target, target.stat())

    def parts(self, upload_id: str) -> list[Part]:
        """The parts that are there, by number; of two with one number, where a crash left them, the later."""
        found: dict[int, tuple[int, Part]] = {}
        with suppress(FileNotFoundError), os.scandir(self._root / upload_id) as entries:
            for entry in entries:
                if _PART.fullmatch(entry.name):
                    status = entry.stat()
                    part = _part(Path(entry.path), status)
                    found[part.number] = max(found.get(part.number, (-1, part)), (status.st_ctime_ns, part), key=_when)
        return [found[number][1] for number in sorted(found)]

    def chunks(self, upload_id: str, parts: Sequence[Part]) -> Iterator[bytes]:
        """The bytes of *parts*, one after the other. Raises IntegrityMismatch when one of them is not there."""
        there = {(part.number, part.etag): part for part in self.parts(upload_id)}
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)) or any((p.number, p.etag) not in there for p in parts):
            raise IntegrityMismatch("these parts, in this order, are not there", where=str(self._root / upload_id))
        for part in parts:
            name = next((self._root / upload_id).glob(f"{part.number:05d}.{part.etag}.*"))
            with name.open("rb") as file:
                yield from file_chunks(file)

    def remove(self, upload_id: str) -> None:
        """Forget the upload; its mark goes last, so that what a crash leaves of it is still pending."""
        directory = self._root / upload_id
        with suppress(FileNotFoundError):
            for path in directory.iterdir():
                path.unlink(missing_ok=True)
            directory.rmdir()
        self._mark(upload_id).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            fsync_directory(self._root)

    def pending(self, prefix: str) -> Iterator[PendingUpload]:
        """Every pending upload to a key that starts with *prefix*, by key and then by age."""
        found = []
        for path in self._root.glob("*.json"):
            begun = _parsed(path)
            if begun is not None and begun.key.startswith(prefix):
                with suppress(FileNotFoundError):
                    begun_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    found.append(PendingUpload(begun.key, path.stem, begun_at))
        yield from sorted(found, key=lambda upload: (upload.key, upload.initiated))

    def _mark(self, upload_id: str) -> Path:
        return self._root / f"{upload_id}.json"


def _part(path: Path, status: os.stat_result) -> Part:
    name = _PART.fullmatch(path.name)
    assert name is not None, path  # noqa: S101 - only paths of ours come here
    crc = base64.b64encode(bytes.fromhex(name["crc"])).decode("ascii")
    return Part(int(name["number"]), status.st_size, name["etag"], Checksum(ALGORITHM, crc))


def _when(pair: tuple[int, Part]) -> int:
    return pair[0]


def _parsed(path: Path) -> Begun | None:
    with suppress(FileNotFoundError, ValidationError):
        return Begun.model_validate_json(path.read_bytes())
    return None
