"""What the JSON API is asked for, read as hostile input. Pure; everything raises InvalidInput."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from edge_agent.control.commands import (
    PauseUpload,
    ResumeUpload,
    SetClass,
    StartRecording,
    StopRecording,
    UploadCommand,
    parse_for,
)
from edge_agent.control.web.job import WebJob
from edge_agent.errors import ConfigInvalid
from edge_agent.segment import ClassTag, check_name_length


def parse(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """The JSON object *body*, with no other keys than those *known*."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid("is no JSON", where="request") from error
    if not isinstance(document, dict):
        raise ConfigInvalid("is no JSON object", where="request")
    if unknown := [key for key in document if key not in known]:
        raise ConfigInvalid(f"unknown key {unknown[0][:40]!a}", where="request", fix=f"give {', '.join(known)}")
    return document


def class_wanted(body: bytes, job: WebJob, camera: str, now: datetime) -> SetClass:
    """``{"class": {"color": "yellow", "object": "box"}, "for": "10m"}``; ``for`` may be left away or null."""
    document = parse(body, ("class", "for"))
    values = document.get("class")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ConfigInvalid("is no object of texts", where="class", fix=f"give exactly {', '.join(job.fields)}")
    tag = ClassTag.of(values, job.fields)
    check_name_length(tag, job.device, camera)
    return SetClass(camera, tag, _end(document, now))


def recording_wanted(body: bytes, camera: str) -> StartRecording | StopRecording:
    """``{"recording": true}``."""
    wanted = _flag(parse(body, ("recording",)), "recording")
    return StartRecording(camera) if wanted else StopRecording(camera)


def upload_wanted(body: bytes, now: datetime) -> UploadCommand:
    """``{"paused": true, "for": "2h"}``; ``for`` may be left away or null."""
    document = parse(body, ("paused", "for"))
    end = _end(document, now)
    return PauseUpload(end) if _flag(document, "paused") else ResumeUpload(end)


def token_shown(body: bytes) -> str:
    """``{"token": "…"}``."""
    token = parse(body, ("token",)).get("token")
    if not isinstance(token, str):
        raise ConfigInvalid("is no text", where="token")
    return token


def _flag(document: dict[str, Any], key: str) -> bool:
    if not isinstance(wanted := document.get(key), bool):
        raise ConfigInvalid("is neither true nor false", where=key)
    return wanted


def _end(document: dict[str, Any], now: datetime) -> datetime | None:
    span = document.get("for")
    if span is None:
        return None
    if not isinstance(span, str):
        raise ConfigInvalid("is no text", where="for", fix="write it as in 10m or 1h30m")
    return parse_for(span[:40], now)
