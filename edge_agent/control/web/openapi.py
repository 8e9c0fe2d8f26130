"""The API's own description, OpenAPI 3.1, made for one box: its fields and cameras stand in it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_agent import __version__

_OBJECT = {"type": "object"}
_JSON = "application/json"
_SPAN = {
    "type": ["string", "null"],
    "pattern": "^([0-9]{1,4}d)?([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$",
    "description": "ends by itself after that long: 90s, 10m, 1h30m, 2d",
}
_NUMBER = {
    "name": "number",
    "in": "query",
    "schema": {"type": "integer", "minimum": 0},
    "description": "of a `picture` event: that picture or the one after it, however old",
}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}


def description(fields: Sequence[str], cameras: Sequence[str]) -> dict[str, Any]:
    """The document at ``/api/v1/openapi.json``."""
    camera = {
        "name": "camera",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(cameras)},
    }
    wanted = _answer(
        "What is wanted of the camera now; it is kept, and takes effect at a keyframe.",
        _closed(
            {
                "class": {"oneOf": [_class(fields), {"type": "null"}]},
                "until": _MOMENT,
                "recording": {"type": ["boolean", "null"]},
            }
        ),
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-agent", "version": __version__, "description": "One capture box, on its own network."},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
        "paths": {**_reading(camera), **_ordering(camera, fields, wanted)},
    }


def _reading(camera: dict[str, Any]) -> dict[str, Any]:
    stem = {"name": "stem", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 200}}
    healthy = {"ok": {"type": "boolean"}}
    ready = {"ready": {"type": "boolean"}}
    return {
        "/healthz": {"get": _operation("Whether the agent answers.", {**_ok(_closed(healthy)), **_503})},
        "/readyz": {"get": _operation("Whether all is well.", {**_ok(_closed(ready)), **_503})},
        "/metrics": {"get": _operation("Prometheus metrics.", _plain("text/plain"))},
        "/snapshot/{camera}.jpg": {
            "parameters": [camera, _NUMBER],
            "get": _operation("What the camera shows; at most some seconds old.", {**_plain("image/jpeg"), **_404}),
        },
        "/thumbnail/{stem}.jpg": {
            "parameters": [stem],
            "get": _operation("The first picture of a segment that is still here.", {**_plain("image/jpeg"), **_404}),
        },
        "/api/v1/state": {"get": _operation("Everything the page shows.", _ok(_STATE))},
        "/api/v1/openapi.json": {"get": _operation("This document.", _ok(_OBJECT))},
        "/api/v1/events": {
            "get": _operation(
                "Server-sent events: `state` as /api/v1/state, `picture` when a camera has a new one.",
                {**_plain("text/event-stream"), **_error("429", "Too many pages are open.")},
            )
        },
    }


def _ordering(camera: dict[str, Any], fields: Sequence[str], wanted: dict[str, Any]) -> dict[str, Any]:
    paused = _closed({"paused": {"type": "boolean"}, "set_by": {"type": "string"}, "set_at": _MOMENT, "until": _MOMENT})
    empty = {"204": {"description": "Done."}}
    return {
        "/api/v1/cameras/{camera}/class": {
            "parameters": [camera],
            "put": _operation(
                "Record under this class.",
                {**wanted, **_BODY, **_404},
                _closed({"class": _class(fields), "for": _SPAN}, 1),
            ),
            "delete": _operation("Back to the class of the settings.", {**wanted, **_404}),
        },
        "/api/v1/cameras/{camera}/recording": {
            "parameters": [camera],
            "put": _operation(
                "Start or stop.", {**wanted, **_BODY, **_404}, _closed({"recording": {"type": "boolean"}})
            ),
        },
        "/api/v1/upload": {
            "put": _operation(
                "Pause uploads or let them go on.",
                {**_answer("What holds now.", paused), **_BODY},
                _closed({"paused": {"type": "boolean"}, "for": _SPAN}, 1),
            )
        },
        "/api/v1/session": {
            "post": _operation(
                "Be let in: the cookie goes with every request after it.",
                {**empty, **_BODY, **_error("401", "Wrong token."), **_error("429", "Too many wrong tokens.")},
                _closed({"token": {"type": "string", "maxLength": 200}}),
            ),
            "delete": _operation("Forget the cookie.", empty),
        },
    }


def _operation(summary: str, responses: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": {**responses, **_DENIED}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return operation


def _class(fields: Sequence[str]) -> dict[str, Any]:
    value = {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 40}
    return _closed(dict.fromkeys(fields, value))


def _closed(properties: dict[str, Any], required: int | None = None) -> dict[str, Any]:
    """An object with these keys alone, of which the first *required* must be there (None: all)."""
    names = list(properties)[:required]
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _ok(schema: dict[str, Any]) -> dict[str, Any]:
    return _answer("As it is now.", schema)


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": text, "content": {_JSON: {"schema": schema}}}}


def _plain(media: str) -> dict[str, Any]:
    return {"200": {"description": "As it is now.", "content": {media: {"schema": {"type": "string"}}}}}


def _error(status: str, text: str) -> dict[str, Any]:
    schema = _closed({"error": {"type": "string"}})
    return {status: {"description": text, "content": {_JSON: {"schema": schema}}}}


_DENIED = {
    **_error("401", "A token is needed."),
    **_error("403", "Called by a foreign name, or by another site's page."),
    **_error("413", "Too long."),
    **_error("429", "Too many wrong tokens, or too many pages."),
}
_BODY = {**_error("400", "Not understood; the error says why."), **_error("415", "Not application/json.")}
_404 = _error("404", "There is none.")
_503 = {"503": {"description": "No.", "content": {_JSON: {"schema": _OBJECT}}}}
_SAID = {"level": {"enum": ["ok", "idle", "bad"]}, "words": {"type": "string"}}
_CAMERA = {"type": "object", "required": ["name", "level", "words"], "properties": _SAID}
_STATE = {
    "type": "object",
    "required": ["device", "now", "running", "health", "fields", "classes", "cameras", "upload", "disk", "segments"],
    "properties": {
        "device": {"type": "string"},
        "version": {"type": "string"},
        "now": {"type": "string", "format": "date-time"},
        "running": {"type": "boolean"},
        "health": _closed({"ok": {"type": "boolean"}, "words": {"type": "array", "items": {"type": "string"}}}),
        "fields": {"type": "array", "items": {"type": "string"}},
        "classes": {"type": "array", "items": _OBJECT},
        "cameras": {"type": "array", "items": _CAMERA},
        "upload": {"type": "object", "properties": _SAID},
        "disk": {"type": "object", "properties": _SAID},
        "segments": {"type": "array", "items": _OBJECT},
        "errors": {"type": "array", "items": _OBJECT},
    },
}
