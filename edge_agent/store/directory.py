"""Objects as plain files in a directory: the embedded store, for one machine and no account.

::

    <root>/<key>                          the object, a file a person can open, copy or drop in by hand
    <root>/.store/records/<key>/@….json   what is known of it beside its bytes, see ``records.py``
    <root>/.store/tmp/                    what is being put
    <root>/.store/uploads/                what is being put in parts, see ``directory_uploads.py``
    <root>/.store/locks/                  writers of one key take turns, across threads and processes

A put writes and fsyncs a scratch file, then its record, then renames the scratch into place: readers, who take no lock,
see the old object or the new one, whole. (Records of pictures need no sync: see ``records.py``.) Reading creates
nothing, so a read-only directory can be read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import IntegrityMismatch, ObjectExists, ObjectNotFound, PreconditionFailed, UploadGone
from edge_agent.store.base import Body, Checksum, ObjectInfo, Part, PendingUpload, check_metadata
from edge_agent.store.checksum import ALGORITHM, paced_chunks
from edge_agent.store.directory_reader import DirectoryReader, info_of
from edge_agent.store.directory_uploads import Begun, Uploads
from edge_agent.store.files import ABSENT, fsync_directory, make_directories, new_scratch, prune, rename, sweep
from edge_agent.store.records import Identity, Record, RunningRecord

_OCTETS = "application/octet-stream"
_PUBLISH_ATTEMPTS = 100  # each lost only to a delete that pruned the same directory in the same instant


class DirectoryStore(DirectoryReader):
    """The :class:`~edge_agent.store.base.ObjectStore` on the existing directory *root*.

    A key cannot be both an object and a part of other keys (``a`` and ``a/b``), and symbolic links are not followed:
    both raise KeyInvalid. A *body* file that cannot be read raises its own OSError.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._swept = False
        self._uploads = Uploads(self.own / "uploads", self.root)

    def put(
        self, key: str, body: Body, *, content_type: str = _OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._put(key, body, content_type, metadata)

    def put_if_absent(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = _OCTETS,
        metadata: Mapping[str, str] | None = None,
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        return self._put(key, body, content_type, metadata, absent=True, checksum=checksum)

    def put_if_match(
        self, key: str, body: Body, etag: str, *, content_type: str = _OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._put(key, body, content_type, metadata, etag=etag)

    def delete(self, key: str) -> None:
        path = self.path_of(key)
        with self.errors(str(path)), self._locked(key):
            with suppress(*ABSENT):
                path.unlink()
                fsync_directory(path.parent)
            self.records.keep_only(key, None)
            prune(path.parent, self.root)

    # -- in parts --------------------------------------------------------------------------------------------------

    def create_multipart(
        self, key: str, *, content_type: str = _OCTETS, metadata: Mapping[str, str] | None = None
    ) -> str:
        target = self.path_of(key)
        begun = Begun(key=key, content_type=content_type, metadata=check_metadata(metadata))
        with self._scratch() as scratch, self.errors(str(target)):
            return self._uploads.begin(begun, Path(scratch.name))

    def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, *, checksum: Checksum | None = None
    ) -> Part:
        target = self.path_of(key)
        with self.errors(str(target)):
            self._uploads.require(key, upload_id)  # before the copy: what is gone should cost nothing
        with self._scratch() as scratch:
            record = self._fill(scratch, paced_chunks(body), target, checksum)
            with self.errors(str(target)), self._locked(key):
                self._uploads.require(key, upload_id)
                return self._uploads.add(upload_id, number, Path(scratch.name), record)

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        with self.errors(str(self.path_of(key))):
            self._uploads.require(key, upload_id)
            return self._uploads.parts(upload_id)

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
        target = self.path_of(key)
        with self.errors(str(target)):
            begun = self._uploads.require(key, upload_id)
        self._require(key, target, absent=True)
        with self._scratch() as scratch:
            record = self._fill(scratch, self._uploads.chunks(upload_id, parts), target, checksum)
            record = record.model_copy(update={"content_type": begun.content_type, "metadata": begun.metadata})
            with self.errors(str(target)):
                status = os.fstat(scratch.fileno())
                with self._locked(key):
                    self._uploads.require(key, upload_id)
                    self._require(key, target, absent=True)
                    self._publish(key, Path(scratch.name), target, Identity.of(status), record, absent=True)
                    self._uploads.remove(upload_id)
        return info_of(key, status, record)

    def abort_multipart(self, key: str, upload_id: str) -> None:
        with self.errors(str(self.path_of(key))), suppress(UploadGone):
            self._uploads.require(key, upload_id)
            with self._locked(key):
                self._uploads.require(key, upload_id)
                self._uploads.remove(upload_id)

    def list_multiparts(self, prefix: str = "") -> Iterator[PendingUpload]:
        self.check()
        with self.errors(str(self.root)):
            yield from self._uploads.pending(prefix)

    # -- how a file becomes an object ------------------------------------------------------------------------------

    def _put(
        self,
        key: str,
        body: Body,
        content_type: str,
        metadata: Mapping[str, str] | None,
        *,
        absent: bool = False,
        etag: str | None = None,
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        target = self.path_of(key)
        checked = check_metadata(metadata)
        self._require(key, target, absent=absent, etag=etag)  # before the copy: a lost race should cost nothing
        with self._scratch() as scratch:
            record = self._fill(scratch, paced_chunks(body), target, checksum)
            record = record.model_copy(update={"content_type": content_type, "metadata": checked})
            with self.errors(str(target)):
                status = os.fstat(scratch.fileno())
                with self._locked(key):
                    self._require(key, target, absent=absent, etag=etag)
                    self._publish(key, Path(scratch.name), target, Identity.of(status), record, absent=absent)
        return info_of(key, status, record)

    def _fill(self, scratch: BinaryIO, chunks: Iterable[bytes], target: Path, known: Checksum | None) -> Record:
        """Write *chunks* to *scratch*, durably; what follows from them. Raises IntegrityMismatch if not *known*."""
        running = RunningRecord()
        for chunk in chunks:
            running.update(chunk)
            with self.errors(str(target)):
                scratch.write(chunk)
        record = running.record()
        if known is not None and known != Checksum(ALGORITHM, record.checksum):
            raise IntegrityMismatch(f"sent with the checksum {record.checksum}, not {known.value}", where=str(target))
        with self.errors(str(target)):
            scratch.flush()
            os.fsync(scratch.fileno())
        return record

    def _require(self, key: str, target: Path, *, absent: bool, etag: str | None = None) -> None:
        """Raise unless *target* can be an object and meets the condition of the put."""
        with self.errors(str(target)):
            if target.is_dir():
                with suppress(OSError):
                    target.rmdir()  # an empty directory means nothing
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
            if absent and target.exists():
                raise ObjectExists("the object exists already", where=str(target))
        if etag is not None:
            try:
                found = self.head(key).etag
            except ObjectNotFound as error:
                raise PreconditionFailed("the object is gone", where=str(target)) from error
            if found != etag:
                raise PreconditionFailed("the object was changed by somebody else", where=str(target))

    def _publish(
        self, key: str, scratch: Path, target: Path, identity: Identity, record: Record, *, absent: bool
    ) -> None:
        """Give the finished *scratch* file its name, durably. To be called with the key's lock held."""
        for attempt in range(_PUBLISH_ATTEMPTS):
            try:
                make_directories(target.parent, self.root)
                self.records.write(key, identity, record)
                rename(scratch, target, absent=absent)
                fsync_directory(target.parent)
                break
            except FileNotFoundError:
                # A delete of a neighbour pruned a directory that was just made; or somebody removed the root.
                if attempt == _PUBLISH_ATTEMPTS - 1 or not self.root.is_dir():
                    raise
        self.records.keep_only(key, identity)

    @contextmanager
    def _scratch(self) -> Iterator[BinaryIO]:
        """A new file on the store's file system, locked for as long as its writer lives, gone when the block ends."""
        directory = self.own / "tmp"
        with self.errors(str(directory)):
            make_directories(directory, self.root)
            if not self._swept:
                sweep(directory)
                self._swept = True
            file = new_scratch(directory)
        try:
            yield file
        finally:
            with self.errors(str(directory)), file:
                Path(file.name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock of *key* against other threads and processes."""
        locks = self.own / "locks"
        make_directories(locks, self.root)
        with (locks / hashlib.sha256(key.encode()).hexdigest()[:2]).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
