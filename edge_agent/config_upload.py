"""The settings of what leaves the box: where to, when and how fast, and what other programs add to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edge_agent.bandwidth import parse_rate
from edge_agent.config_base import StrictSettings, checked
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.identity import IotIdentity, check_identity
from edge_agent.redact import safe
from edge_agent.segment import check_camera
from edge_agent.timetable import Timetable


def _check_store(url: str) -> None:
    """Refuse here what opening the store would refuse in the upload process, out of sight."""
    scheme, mark, rest = url.partition("://")
    if mark and (scheme not in ("s3", "file") or (scheme == "s3" and not re.fullmatch(r"[^/?#@:]+/?", rest))):
        raise ConfigInvalid("is no store", fix="write s3://bucket, file:///directory or a directory")


class StoreSettings(StrictSettings):
    """Where segments go. ``url`` is ``s3://bucket``, ``file:///directory`` or a plain directory path."""

    url: Annotated[str, Field(min_length=1), checked(_check_store)]
    endpoint_url: str | None = Field(default=None, description="S3-compatible server; AWS when absent")
    region: str | None = None
    profile: str | None = Field(default=None, description="profile of the AWS configuration files")
    iot: Annotated[IotIdentity, checked(check_identity)] | None = Field(
        default=None, description="certificate whose role alias gives the credentials"
    )
    checksum: Literal["crc64nvme", "sha256", "md5"] = Field(
        default="crc64nvme", description="what the server verifies; the others are for those that lack newer ones"
    )


def _rate(value: object) -> float | None:
    try:
        return parse_rate(value)
    except EdgeCaptureError as error:
        raise ValueError(str(error)) from error


Rate = Annotated[float | None, BeforeValidator(_rate)]
"""Bytes a second: ``512k``, ``2M``, ``20Mbit``; ``0`` pauses, ``off`` is no limit."""


class UploadSettings(StrictSettings):
    rescan_seconds: float = Field(default=30, gt=0, le=3600)
    mode: Literal["continuous", "on_demand"] = Field(default="continuous", description="on_demand: only when asked to")
    bandwidth: Rate = Field(default=None, description="bytes a second, for all transfers together")
    timetable: dict[Annotated[str, checked(lambda window: Timetable.parse([window]))], Rate] = Field(
        default={}, description="weekly windows with a bandwidth of their own; the first that holds wins"
    )


class ForeignSettings(StrictSettings):
    """A directory where other programs drop videos, and what they are called unless a name says so itself."""

    path: Path
    class_: dict[str, str] = Field(alias="class", description="of what bears no segment's name")
    camera: Annotated[str, checked(lambda name: check_camera(safe(name)))] = "foreign"
    settle_seconds: float = Field(default=10, ge=0.1, le=3600, description="unchanged for this long: finished")
