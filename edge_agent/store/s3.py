"""Objects in a bucket of S3, or of anything that speaks its protocol, through boto3."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import edge_agent
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import DiskFull, KeyInvalid, ObjectExists, ObjectNotFound, PreconditionFailed, StoreThrottled
from edge_agent.store.base import Body, Checksum, ObjectInfo, StoredObject, check_key, check_metadata
from edge_agent.store.checksum import ALGORITHM, CHUNK, RunningCrc64Nvme, crc64nvme
from edge_agent.store.s3_errors import CONFLICT, code_of, refuse_strange_redirects, translate, translated
from edge_agent.store.s3_replies import (
    OCTETS,
    Reply,
    checksum_in,
    date_in,
    etag_in,
    info_in,
    no_store,
    verify_put,
    verify_read,
    version_in,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FALLBACK_REGION = "us-east-1"  # servers other than AWS sign with it unless told otherwise
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 3  # of the library, for one call; whoever called may try again much later
_CONFLICT_ATTEMPTS = 5
_CONFLICT_SECONDS = 0.1  # first of the doubling pauses, fully jittered


class S3Store:
    """The :class:`~edge_agent.store.base.ObjectStore` on *bucket*. Nothing is contacted before the first call.

    A put counts only when the store's reply proves that it has our bytes: whatever answers 200 to anything, as the
    login page of a guest network does, stores nothing. A *body* file that cannot be read raises its own OSError.

    A put whose reply was lost is tried again by the library, and a condition then fails because of our own first try:
    ObjectExists and PreconditionFailed may stand for a success of which nobody heard. The caller looks and compares.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.bucket = bucket
        self._endpoint_url = endpoint_url
        self._region = region
        self._profile = profile
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    @property
    def name(self) -> str:
        return self.bucket

    @property
    def client(self) -> S3Client:
        """The library's client of this store, made at the first use. Raises ConfigInvalid or CredentialsRefused."""
        with self._lock:
            if self._client is None:
                try:
                    with translated(f"s3://{self.bucket}"):
                        self._client = self._connect()
                except ValueError as error:  # how the library refuses an endpoint URL
                    raise translate(error, f"s3://{self.bucket}") from error
            return self._client

    def close(self) -> None:
        """Let go of idle connections; the next call makes new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{check_key(key)}"

    def key_of(self, uri: str) -> str | None:
        key = uri.removeprefix(f"s3://{self.bucket}/")
        return key if key != uri and _is_key(key) else None

    def check(self) -> None:
        # Not HEAD: its replies have no body, so no error says what is wrong, and any web server can give them.
        self._page("", None, limit=1)

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(
        self, key: str, body: Body, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._put(key, body, content_type, metadata, {})

    def put_if_absent(
        self, key: str, body: Body, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        try:
            return self._put_if(key, body, content_type, metadata, {"IfNoneMatch": "*"})
        except PreconditionFailed as error:
            if code_of(error.__cause__) == CONFLICT and not self._exists(key):
                raise StoreThrottled("overtaken by other writers again and again", where=self.uri(key)) from error
            raise ObjectExists("the object exists already", where=self.uri(key)) from error

    def put_if_match(
        self, key: str, body: Body, etag: str, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        try:
            return self._put_if(key, body, content_type, metadata, {"IfMatch": f'"{etag}"'})
        except ObjectNotFound as error:
            raise PreconditionFailed("the object is gone", where=self.uri(key)) from error

    def delete(self, key: str) -> None:
        where = self.uri(key)
        with translated(where):
            reply = self.client.delete_object(Bucket=self.bucket, Key=key)
        if reply["ResponseMetadata"]["HTTPStatusCode"] != 204:
            raise no_store(where)

    def _put_if(
        self, key: str, body: Body, content_type: str, metadata: Mapping[str, str] | None, condition: dict[str, str]
    ) -> ObjectInfo:
        """A conditional put, started anew when S3 says that another one overtook it."""
        for attempt in range(_CONFLICT_ATTEMPTS - 1):
            try:
                return self._put(key, body, content_type, metadata, condition)
            except PreconditionFailed as error:
                if code_of(error.__cause__) != CONFLICT:
                    raise
                self._clock.wait(threading.Event(), random.uniform(0, _CONFLICT_SECONDS * 2**attempt))
        return self._put(key, body, content_type, metadata, condition)

    def _put(
        self, key: str, body: Body, content_type: str, metadata: Mapping[str, str] | None, condition: dict[str, str]
    ) -> ObjectInfo:
        where = self.uri(key)
        checked = check_metadata(metadata)
        checksum = crc64nvme(body)
        size = len(body) if isinstance(body, bytes) else body.stat().st_size
        with _content(body) as content, translated(where):
            arguments: dict[str, Any] = condition | {
                "Body": content,
                "ContentType": content_type,
                "Metadata": checked,
                "ChecksumAlgorithm": ALGORITHM,
                "ChecksumCRC64NVME": checksum.value,
            }
            reply: Reply = self.client.put_object(Bucket=self.bucket, Key=key, **arguments)
        if "ETag" not in reply:
            raise no_store(where)
        verify_put(checksum_in(reply) or self.head(key).checksum, checksum, body, etag_in(reply), where)
        return ObjectInfo(
            key=key,
            size=size,
            etag=etag_in(reply),
            modified=date_in(reply) or self._clock.now(),
            content_type=content_type,
            metadata=checked,
            checksum=checksum,
            version=version_in(reply),
        )

    def _exists(self, key: str) -> bool:
        try:
            self.head(key)
        except ObjectNotFound:
            return False
        return True

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> StoredObject:
        where = self.uri(key)
        with translated(where):
            reply = self.client.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            with closing(reply["Body"]) as stream:
                body = stream.read()
        info = info_in(reply, key, where)
        verify_read(info, crc64nvme(body), where)
        return StoredObject(info, body)

    def head(self, key: str) -> ObjectInfo:
        """A missing bucket cannot be told from a missing key here: both raise ObjectNotFound."""
        where = self.uri(key)
        with translated(where):
            reply = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        return info_in(reply, key, where)

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        """A temporary copy, verified, under the object's own last name. Raises DiskFull when there is no room."""
        where = self.uri(key)
        with tempfile.TemporaryDirectory(prefix="edge-capture-") as directory:
            path = Path(directory) / key.rpartition("/")[2]
            with translated(where):
                reply = self.client.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
                with closing(reply["Body"]) as stream:
                    found = _download(stream.iter_chunks(CHUNK), path)
            verify_read(info_in(reply, key, where), found, where)
            yield path

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects with keys that no other store could take are not ours, and are passed over."""
        token: str | None = None
        while True:
            page = self._page(prefix, token)
            for entry in page.get("Contents", ()):
                if _is_key(entry["Key"]):
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

    # -- the library -----------------------------------------------------------------------------------------------

    def _connect(self) -> S3Client:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(profile_name=self._profile)
        region = self._region or session.region_name or (_FALLBACK_REGION if self._endpoint_url else None)
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            user_agent_extra=f"edge-capture/{edge_agent.__version__}",
            # Every put carries a checksum of our own, and every get is compared with it here.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if self._endpoint_url else "auto"},
        )
        client = session.client("s3", region_name=region, endpoint_url=self._endpoint_url, config=config)
        client.meta.events.register_first("needs-retry.s3", refuse_strange_redirects)
        return client


def _is_key(key: str) -> bool:
    try:
        return bool(check_key(key))
    except KeyInvalid:
        return False


def _content(body: Body) -> AbstractContextManager[bytes | BinaryIO]:
    return nullcontext(body) if isinstance(body, bytes) else body.open("rb")


def _download(stream: Iterable[bytes], path: Path) -> Checksum:
    """Write *stream* to *path*; the checksum of what was written. Raises DiskFull."""
    running = RunningCrc64Nvme()
    with path.open("wb", buffering=0) as file:
        for chunk in stream:
            running.update(chunk)
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
    return running.checksum()
