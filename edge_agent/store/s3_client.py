"""The connection to a bucket: the client library's settings, and keys as URIs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import edge_agent
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import KeyInvalid
from edge_agent.store.base import ChecksumName, check_key
from edge_agent.store.checksum import ALGORITHM, MD5, SHA256
from edge_agent.store.s3_body import begin_sending
from edge_agent.store.s3_errors import begin_only_once, refuse_strange_redirects, translate, translated, wants_new_keys

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

_FALLBACK_REGION = "us-east-1"  # servers other than AWS sign with it unless told otherwise
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 3  # of the library, for one call; whoever called may try again much later
_CONNECTIONS = 10  # more threads than that on one store would make and drop one for each call
_ALGORITHMS: dict[ChecksumName, str] = {"crc64nvme": ALGORITHM, "sha256": SHA256, "md5": MD5}


class S3Connection:
    """The client of *bucket*, made at the first use, and what can be said of the bucket without it."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        session: Callable[[], boto3.session.Session] | None = None,
        checksum: ChecksumName = "crc64nvme",
        clock: Clock | None = None,
    ) -> None:
        self.bucket = bucket
        self.algorithm = _ALGORITHMS[checksum]
        self.clock = clock or SystemClock()
        self._endpoint_url = endpoint_url
        self._region = region
        self._session = session or (lambda: _session_of(profile))
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
        return key if key != uri and is_key(key) else None

    def _connect(self) -> S3Client:
        import boto3
        from botocore.config import Config

        session = self._session()
        region = self._region or session.region_name or (_FALLBACK_REGION if self._endpoint_url else None)
        options: Any = {"addressing_style": "path" if self._endpoint_url else "auto"}
        if not (self._endpoint_url or "https:").startswith("http:"):
            # TLS and the checksum guard the bytes: a SHA-256 for the signature would read each of them once more. The
            # library skips it by itself only for a checksum that it computed itself (botocore 1.44).
            options["payload_signing_enabled"] = False
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            # A name of our own: the library's, put together anew for each request, is a tenth of a request's cost.
            user_agent=f"edge-capture/{edge_agent.__version__} Boto3/{boto3.__version__}",
            # Every put carries a checksum of our own, and every get is compared with it here.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3=options,
        )
        client = session.client("s3", region_name=region, endpoint_url=self._endpoint_url, config=config)
        client.meta.events.register_first("needs-retry.s3", refuse_strange_redirects)
        client.meta.events.register_first("needs-retry.s3", begin_only_once)
        client.meta.events.register_last("request-created.s3", begin_sending)
        client.meta.events.register("needs-retry.s3", partial(self._keys_refused, client))
        return client

    def _keys_refused(self, client: S3Client, response: tuple[Any, dict[str, Any]] | None, **_: object) -> None:
        """For the event ``needs-retry.s3`` of *client*: refused keys, expired ones too, are not used again.

        The next call makes a new client, from a session that obtains its keys anew.
        """
        if response is not None and wants_new_keys(response[1]):
            with self._lock:
                if self._client is client:  # else that was done already; others may still be using the old one
                    self._client = None


def _session_of(profile: str | None) -> boto3.session.Session:
    import boto3

    return boto3.session.Session(profile_name=profile)


def is_key(key: str) -> bool:
    """Whether *key* is one that every store can take."""
    try:
        return bool(check_key(key))
    except KeyInvalid:
        return False
