"""From settings to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from edge_agent.errors import ConfigInvalid
from edge_agent.store.base import ObjectStore


class StoreSettings(BaseModel):
    """Where objects live. ``url`` is ``s3://bucket``, ``file:///directory`` or a plain directory path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    endpoint_url: str | None = Field(default=None, description="S3-compatible server; AWS when absent")
    region: str | None = None
    profile: str | None = Field(default=None, description="profile of the AWS configuration files")


def open_store(settings: StoreSettings) -> ObjectStore:
    """The store *settings* name. Nothing is contacted yet; ``check()`` does. Raises ConfigInvalid."""
    parts = urlsplit(settings.url)
    if parts.scheme == "s3":
        if not parts.netloc or parts.path.strip("/"):
            raise ConfigInvalid("an S3 store is a whole bucket", where=settings.url, fix="write s3://bucket")
        from edge_agent.store.s3 import S3Store

        return S3Store(
            parts.netloc, endpoint_url=settings.endpoint_url, region=settings.region, profile=settings.profile
        )
    if parts.scheme not in ("", "file") or (parts.scheme == "file" and parts.netloc not in ("", "localhost")):
        raise ConfigInvalid(
            "unknown kind of store", where=settings.url, fix="write s3://bucket, file:///directory or a directory"
        )
    from edge_agent.store.directory import DirectoryStore

    path = unquote(parts.path) if parts.scheme == "file" else settings.url
    return DirectoryStore(Path(path).expanduser())
