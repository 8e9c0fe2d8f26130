"""The reading half of the S3 adapter."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.errors import DiskFull, ObjectNotFound
from edge_agent.store.base import Checksum, ObjectInfo, StoredObject
from edge_agent.store.checksum import CHUNK, checksums, running
from edge_agent.store.s3_client import S3Connection, is_key
from edge_agent.store.s3_errors import translated
from edge_agent.store.s3_replies import Reply, etag_in, info_in, no_store, read_algorithm, verify_read


class S3Reader(S3Connection):
    """Every reading method of :class:`~edge_agent.store.base.ObjectStore` on a bucket."""

    def check(self) -> None:
        # Not HEAD: its replies have no body, so no error says what is wrong, and any web server can give them.
        self._page("", None, limit=1)

    def get(self, key: str) -> StoredObject:
        where = self.uri(key)
        with translated(where):
            reply = self.client.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            with closing(reply["Body"]) as stream:
                body = stream.read()
        info = info_in(reply, key, where)
        verify_read(info, checksums([body], read_algorithm(info))[0], where)
        return StoredObject(info, body)

    def head(self, key: str) -> ObjectInfo:
        """A missing bucket cannot be told from a missing key here: both raise ObjectNotFound."""
        where = self.uri(key)
        with translated(where):
            reply = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        return info_in(reply, key, where)

    def exists(self, key: str) -> bool:
        try:
            self.head(key)
        except ObjectNotFound:
            return False
        return True

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        """A temporary copy, verified, under the object's own last name. Raises DiskFull when there is no room."""
        where = self.uri(key)
        with tempfile.TemporaryDirectory(prefix="edge-capture-") as directory:
            path = Path(directory) / key.rpartition("/")[2]
            with translated(where):
                reply = self.client.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
                info = info_in(reply, key, where)
                with closing(reply["Body"]) as stream:
                    found = _download(stream.iter_chunks(CHUNK), path, read_algorithm(info))
            verify_read(info, found, where)
            yield path

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects with keys that no other store could take are not ours, and are passed over."""
        token: str | None = None
        while True:
            page = self._page(prefix, token)
            for entry in page.get("Contents", ()):
                if is_key(entry["Key"]):
                    yield ObjectInfo(entry["Key"], entry["Size"], etag_in(entry), entry["LastModified"])
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return

    def _page(self, prefix: str, token: str | None, limit: int = 1000) -> Reply:
        where = f"s3://{self.bucket}/{prefix}"
        following: dict[str, Any] = {"ContinuationToken": token} if token else {}
        with translated(where):
            page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=limit, **following)
        if "Name" not in page:
            raise no_store(where)
        return page


def _download(stream: Iterable[bytes], path: Path, algorithm: str) -> Checksum:
    """Write *stream* to *path*; the checksum of what was written. Raises DiskFull."""
    found = running(algorithm)
    with path.open("wb", buffering=0) as file:
        for chunk in stream:
            found.update(chunk)
            try:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise DiskFull(
                    error.strerror or str(error),
                    where=str(path.parent),
                    fix="free space, or set TMPDIR to a larger disk",
                ) from error
    return found.checksum()
