"""What the shadow is told: of each order what is in force, of what was refused why, and how the box does. Pure.

Where an order is in force, ``reported`` says it in the order's own words: then the shadow has no delta any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from edge_agent.capture.gate import GateState
from edge_agent.control.commands import Desired, TagChoice, Tuning
from edge_agent.control.shadow import Handled
from edge_agent.control.shadow_document import DEFAULT
from edge_agent.errors import NameInvalid
from edge_agent.segment import ClassTag, format_moment, parse_moment
from edge_agent.upload.limits import UploadOrder

SET_BY = "shadow"
"""Who gave an order that came this way."""

CameraStatus = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera: its process's status, what is ordered, the class in force; of how many packets it keeps one."""

    status: CameraStatus
    desired: Desired
    choice: TagChoice | None
    keep_every: int


@dataclass(frozen=True, slots=True)
class Upload:
    """What uploads may do: the *order* in force, why nothing may be sent (None: something may), bytes a second."""

    order: UploadOrder | None
    paused: str | None
    rate: float | None


def reported(
    cameras: Mapping[str, Camera],
    upload: Upload | None,
    tuning: Tuning,
    handled: Mapping[str, Handled],
    refused: Mapping[str, str],
    version: str,
) -> dict[str, Any]:
    """The whole ``reported`` state, as JSON types. None of it changes but by an order or by something that happened."""
    healthy = {name: bool(camera.status.get("healthy")) for name, camera in cameras.items()}
    return {
        "cameras": {name: _camera(name, camera, tuning, handled) for name, camera in cameras.items()},
        "upload": _upload(upload, tuning, handled) if upload else None,
        "refused": [{"path": path, "reason": reason} for path, reason in refused.items()],
        "health": {"ok": all(healthy.values()), "unwell": [name for name, well in healthy.items() if not well]},
        "versions": {"agent": version, "document": 1},
    }


def merge_patch(old: Any, new: Mapping[str, Any]) -> dict[str, Any]:
    """What to send so that a shadow that holds *old* holds *new*: changed keys, and null for those that are gone."""
    before = old if isinstance(old, Mapping) else {}
    patch: dict[str, Any] = {}
    for key in before.keys() - new.keys():
        patch[key] = None
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping):
            if inner := merge_patch(before[key], value):
                patch[key] = inner
        elif isinstance(value, Mapping):
            if filled := _without_nulls(value):
                patch[key] = filled
            elif before.get(key) is not None:
                patch[key] = None
        elif value != before.get(key) or isinstance(value, bool) != isinstance(before.get(key), bool):
            patch[key] = value
    return patch


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """*value* as it is written where nothing stood: null deletes, and there is nothing to delete."""
    kept = {key: _without_nulls(item) if isinstance(item, Mapping) else item for key, item in value.items()}
    return {key: item for key, item in kept.items() if item is not None}


def _camera(name: str, camera: Camera, tuning: Tuning, handled: Mapping[str, Handled]) -> dict[str, Any]:
    status, gate = camera.status, camera.status.get("gate")
    choice = camera.desired.choice
    recording = camera.desired.recording
    in_force = _class_in_force(camera)
    every = tuning.keep_every.get(name)
    return {
        "class": in_force,
        "until": _until(choice, handled.get(f"cameras.{name}.class")) if isinstance(in_force, dict) else None,
        "class_set_by": choice.set_by if choice and isinstance(in_force, dict) else None,
        "recording": None if not gate else gate != GateState.OFF,
        "recording_set_by": recording.set_by if recording else None,
        "sampling": {"keep_every": DEFAULT if every is None or every != camera.keep_every else every},
        "applied": {"tag": status.get("tag"), "keep_every": camera.keep_every},
        "state": status.get("state"),
        "healthy": bool(status.get("healthy")),
    }


def _class_in_force(camera: Camera) -> dict[str, str] | str | None:
    """The class that is recorded, as an order would spell it; None while nobody can say: the camera is away."""
    status, choice = camera.status, camera.choice
    tag, wanted = status.get("tag"), status.get("wanted")
    known = (wanted, status.get("wanted_at")) == (
        str(choice.tag) if choice else None,
        choice.set_at if choice else None,
    )
    if not status.get("gate"):
        return None
    if known and (tag == wanted or (not status.get("segment") and status.get("gate") != GateState.OPEN)):
        return choice.tag.as_dict() if choice and choice.set_at else DEFAULT
    if not isinstance(tag, str) or choice is None:
        return None
    with suppress(NameInvalid):
        return ClassTag.parse(tag, choice.tag.fields).as_dict()
    return None


def _until(choice: TagChoice | None, handled: Handled | None) -> str | None:
    if choice is None or choice.until is None:
        return None
    return _as_written(format_moment(choice.until), handled if choice.set_by == SET_BY else None)


def _upload(upload: Upload, tuning: Tuning, handled: Mapping[str, Handled]) -> dict[str, Any]:
    order = upload.order
    until = None
    if order is not None and order.until is not None:
        until = _as_written(
            format_moment(order.until), handled.get("upload.paused") if order.set_by == SET_BY else None
        )
    return {
        "paused": upload.paused is not None,
        "why": upload.paused,
        "until": until,
        "set_by": order.set_by if order else None,
        "bandwidth": _bandwidth(tuning, handled.get("upload.bandwidth")),
        "applied": {"bytes_per_second": upload.rate},
    }


def _bandwidth(tuning: Tuning, handled: Handled | None) -> Any:
    if tuning.bandwidth is None:
        return DEFAULT
    if handled is not None and not handled.reason:
        return json.loads(handled.value)
    return "off" if tuning.bandwidth.rate is None else tuning.bandwidth.rate


def _as_written(moment: str, handled: Handled | None) -> str:
    """*moment* as the order spelt it, where that means the same."""
    if handled is None:
        return moment
    with suppress(ValueError, TypeError, IndexError):
        spelt = json.loads(handled.value)[1]
        if isinstance(spelt, str) and format_moment(parse_moment(spelt)) == moment:
            return spelt
    return moment
