"""From a URL to a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edge_agent.errors import ConfigInvalid
from edge_agent.store.base import ChecksumName, ObjectStore
from edge_agent.store.uri import split_uri

if TYPE_CHECKING:
    import boto3


def open_store(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    session: Callable[[], boto3.session.Session] | None = None,
    checksum: ChecksumName = "crc64nvme",
) -> ObjectStore:
    """The store *url* names: ``s3://bucket``, ``file:///directory`` or a plain directory path.

    The other arguments are for S3: a compatible server's address, AWS region, profile of the AWS configuration files,
    or what makes the session whose credentials are used (called at the first use, the profile then says nothing), and
    the kind of checksum the server compares.
    Nothing is contacted yet; ``check()`` does. Raises ConfigInvalid.
    """
    parts = split_uri(url)
    if parts.scheme == "s3":
        if not parts.netloc or parts.path.strip("/"):
            raise ConfigInvalid("an S3 store is a whole bucket", where=url, fix="write s3://bucket")
        from edge_agent.store.s3 import S3Store

        return S3Store(
            parts.netloc,
            endpoint_url=endpoint_url,
            region=region,
            profile=profile,
            session=session,
            checksum=checksum,
        )
    if parts.scheme not in ("", "file") or (parts.scheme == "file" and parts.netloc not in ("", "localhost")):
        raise ConfigInvalid(
            "unknown kind of store", where=url, fix="write s3://bucket, file:///directory or a directory"
        )
    from edge_agent.store.directory import DirectoryStore

    path = unquote(parts.path) if parts.scheme == "file" else url
    try:
        return DirectoryStore(Path(path).expanduser())
    except RuntimeError as error:  # how pathlib says that nobody is called so
        raise ConfigInvalid("begins with the name of no user", where=url, fix="write the directory out") from error
