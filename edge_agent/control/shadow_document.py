"""The shadow document's shape, and how it is read: hostile input, of which what is right is kept. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import EventInvalid

MAX_DOCUMENT = 64 << 10
"""Bytes of an answer that are read: a document has at most 8 KB of state (AWS IoT), its time stamps some more."""
REASON_CHARACTERS = 200
DEFAULT = "default"
"""Stands for: as the settings file says, which ``null`` cannot (in a shadow it deletes the key)."""


class _Wish(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SamplingWish(_Wish):
    keep_every: Annotated[int, Field(ge=1, le=1000)] | Literal["default"] | None = None


class CameraWish(_Wish):
    """What the document may want of one camera. None: nothing is wanted."""

    class_: dict[str, str] | Literal["default"] | None = Field(default=None, alias="class")
    until: str | None = None
    recording: bool | None = None
    sampling: SamplingWish = SamplingWish()


class UploadWish(_Wish):
    """What the document may want of uploads; ``bandwidth`` as in the settings file, or ``default``."""

    paused: bool | None = None
    until: str | None = None
    bandwidth: int | float | str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """An answer to ``get``: whole states, as JSON types; ``stamps`` is the metadata of ``desired``."""

    version: int
    desired: Any
    reported: Any
    stamps: Any


def parse_message(payload: bytes) -> dict[str, Any]:
    """The JSON object in *payload*. Raises EventInvalid."""
    if len(payload) > MAX_DOCUMENT:
        raise EventInvalid(f"message of {len(payload)} bytes is too large", where="shadow")
    try:
        document = json.loads(payload, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but text to nobody else
    except (ValueError, RecursionError) as error:
        raise EventInvalid("message is no JSON", where="shadow") from error
    if not isinstance(document, dict):
        raise EventInvalid("message is no JSON object", where="shadow")
    return document


def parse_document(message: Mapping[str, Any]) -> Document:
    """The document in an accepted answer. Raises EventInvalid where it is no shadow's at all."""
    version, state = message.get("version"), message.get("state")
    if not isinstance(version, int) or isinstance(version, bool) or not isinstance(state, dict):
        raise EventInvalid("document has no version or no state", where="shadow")
    metadata = message.get("metadata")
    stamps = metadata.get("desired") if isinstance(metadata, dict) else None
    return Document(version, state.get("desired") or {}, state.get("reported") or {}, stamps)


_M = TypeVar("_M", bound=_Wish)


def checked(model: type[_M], section: Any, path: str, refused: dict[str, str]) -> _M | None:
    """*section* without those of its keys that are at fault, each of which is refused."""
    if not isinstance(section, dict):
        refused[path] = "is no object"
        return None
    try:
        return model.model_validate(section)
    except ValidationError as error:
        bad = {fault["loc"][0] for fault in error.errors(include_url=False, include_input=False)}
        for fault in error.errors(include_url=False, include_input=False):
            refused.setdefault(f"{path}.{path_of(str(fault['loc'][0]))}", short(fault["msg"]))
    return model.model_validate({key: value for key, value in section.items() if key not in bad})


def newest_stamp(node: Any) -> float:
    """The newest ``timestamp`` in *node* of the metadata, epoch seconds; 0 where it has none. Nested at most 4 deep."""
    newest, nodes = 0.0, [(node, 0)]
    while nodes:
        here, depth = nodes.pop()
        if not isinstance(here, dict):
            continue
        for key, value in here.items():
            if key == "timestamp" and isinstance(value, int | float) and not isinstance(value, bool):
                newest = max(newest, _in_range(value))
            elif depth < 4:
                nodes.append((value, depth + 1))
    return newest


def _in_range(stamp: float) -> float:
    """*stamp*, unless no clock can have given it."""
    return float(stamp) if 0 <= stamp <= datetime.max.replace(tzinfo=UTC).timestamp() else 0.0


def below(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def path_of(*keys: str) -> str:
    return short(".".join(key if key.isidentifier() and key.isascii() else ascii(key) for key in keys), 80)


def short(text: str, most: int = REASON_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
