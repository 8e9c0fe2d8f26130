"""What a sidecar, and the object's metadata, say of a finished segment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from edge_agent.errors import NameInvalid
from edge_agent.segment.moments import format_moment, parse_moment
from edge_agent.segment.names import SegmentName, check_camera, check_device, check_fields


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished segment: its name, and what the sidecar and the object's metadata say of it.

    ``duration`` is in seconds, ``size`` in bytes, ``crc64nvme`` the base64 of the big-endian CRC-64/NVME of the file
    (as S3 spells it). ``clock`` is ``synchronised``, ``unsynchronised`` (nobody vouched for the wall clock when it
    began; then ``boot`` and ``monotonic`` say which boot that was, and when in it, in seconds) or ``corrected``
    (``start`` was worked out later, once the clock had been set). ``retimed`` packets have another timestamp than the
    camera gave.
    """

    name: SegmentName
    device: str
    camera: str
    start: datetime
    duration: float
    frames: int
    codec: str
    width: int
    height: int
    size: int = 0
    crc64nvme: str = ""
    clock: str = "synchronised"
    recovered: bool = False
    class_set_by: str = "config"
    class_set_at: str = ""
    boot: str = ""
    monotonic: float = 0.0
    retimed: int = 0

    def __post_init__(self) -> None:
        check_device(self.device)  # both become parts of object keys
        check_camera(self.camera)

    def as_dict(self) -> dict[str, Any]:
        """The sidecar's document: JSON types only; the class's fields under ``class``."""
        document = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "name"}
        document["start"] = format_moment(self.start)
        return {"name": self.name.stem, "class": self.name.tag.as_dict(), **document}

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=1) + "\n"

    def to_metadata(self) -> dict[str, str]:
        """The same as flat user metadata: lower-case keys, ASCII values, far below S3's 2 KB."""
        document = self.as_dict()
        document.update({f"class-{field}": value for field, value in document.pop("class").items()})
        return {key.replace("_", "-"): _flat(value) for key, value in document.items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Segment:
        """The segment a sidecar describes; unknown keys are ignored. Raises NameInvalid when it is none."""
        try:
            tag = document["class"]
            known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
            known["name"] = SegmentName.parse(document["name"], check_fields(tuple(tag)))
            known["start"] = parse_moment(document["start"])
            if misfits := sorted(key for key, value in known.items() if not _fits(key, value)):
                raise TypeError(f"{', '.join(misfits)} of the wrong type")
            segment = cls(**known)
            disagrees = segment.name.tag.as_dict() != dict(tag)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NameInvalid(f"sidecar is malformed ({error!r})", fix="delete the sidecar; it is made anew") from error
        if disagrees:
            raise NameInvalid(f"sidecar of {segment.name} gives another class than the name")
        return segment

    @classmethod
    def from_json(cls, text: str) -> Segment:
        """The inverse of :meth:`to_json`. Raises NameInvalid."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NameInvalid(f"sidecar is no JSON ({error})", fix="delete the sidecar; it is made anew") from error
        if not isinstance(document, dict):
            raise NameInvalid("sidecar is no JSON object", fix="delete the sidecar; it is made anew")
        return cls.from_dict(document)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Segment:
        """The inverse of :meth:`to_metadata`. Raises NameInvalid."""
        document: dict[str, Any] = {key.replace("-", "_"): value for key, value in metadata.items()}
        document["class"] = {
            key.removeprefix("class-"): value
            for key, value in metadata.items()
            if key.startswith("class-") and key not in _NOT_CLASS
        }
        try:
            for key in ("frames", "width", "height", "size"):
                document[key] = int(document[key])
            document["retimed"] = int(document.get("retimed", 0))
            document["duration"] = float(document["duration"])
            document["monotonic"] = float(document.get("monotonic", 0.0))
            if "class_set_by" in document:
                document["class_set_by"] = document["class_set_by"].encode("latin-1").decode("unicode_escape")
        except (KeyError, ValueError) as error:
            raise NameInvalid(f"object metadata is no segment's ({error!r})") from error
        document["recovered"] = document.get("recovered") == "true"
        return cls.from_dict(document)

    def with_file(self, size: int, crc64nvme: str) -> Segment:
        """The same segment, knowing its file."""
        return replace(self, size=size, crc64nvme=crc64nvme)


_NOT_CLASS = frozenset({"class-set-by", "class-set-at"})
_TEXTS = frozenset({"device", "camera", "codec", "crc64nvme", "clock", "class_set_by", "class_set_at", "boot"})
_COUNTS = frozenset({"frames", "width", "height", "size", "retimed"})


def _fits(key: str, value: object) -> bool:
    """Whether *value*, as JSON gave it, can be a segment's *key*."""
    if key in _TEXTS:
        return isinstance(value, str)
    if key in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if key in ("duration", "monotonic"):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return key != "recovered" or isinstance(value, bool)


def _flat(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).encode("unicode_escape").decode("ascii")  # who set a class may be called anything


def video_key(segment: Segment) -> str:
    """Where a segment stands in the raw store: ``videos/<device>/<yyyy>/<mm>/<dd>/<stem>.mp4``."""
    return f"videos/{segment.device}/{segment.start.year:04d}/{segment.start:%m/%d}/{segment.name.stem}.mp4"
