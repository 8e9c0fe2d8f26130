"""Segment names, class tags and sidecars: the contract between the box and the cloud. Standard library only.

::

    yellow_box_dock7-cam1-20261122T143105123Z.mp4
    └────────┘ └────────────────────────────┘
     class tag   take: <device>-<camera>-<UTC start, milliseconds>

A stem is ``<field>(_<field>)*_<take>``. The underscore only separates. A field value is ``[a-z0-9]+(-[a-z0-9]+)*``, a
take ``[A-Za-z0-9]+([.-][A-Za-z0-9]+)*``; plain hand-made names such as ``blue_box_1`` parse under the same grammar.
A frame is ``<stem>_<index:06d>``, where index is the frame's ordinal in the segment, from 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from edge_agent.errors import NameInvalid

DEFAULT_FIELDS = ("color", "object")

# NAME_MAX is 255 bytes on every file system in use; a frame, a sidecar and a hidden ".part" name must fit as well.
MAX_STEM = 200
MAX_VALUE = 63

_NO_FIELD = frozenset({"source", "set-by", "set-at"})
_VALUE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FIELD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_TAKE = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
_CAMERA = re.compile(r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*")
_STAMP = re.compile(r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(\d{3})Z", re.ASCII)
_INDEX = re.compile(r"\d{6}|[1-9]\d{6,17}", re.ASCII)


def _shown(text: str) -> str:
    """*text* as it may stand in a one-line message: control characters escaped, cut when very long."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:60]}… ({len(text)} characters)"


def check_fields(names: Sequence[str]) -> tuple[str, ...]:
    """The class fields' names, checked; they become keys of manifest lines.

    Ground Truth reserves names starting with ``$`` and ending in ``-metadata`` or ``-ref``, and ``source``; user
    metadata has ``class-set-by`` and ``class-set-at`` beside the fields. Raises NameInvalid.
    """
    for name in names:
        if not _FIELD.fullmatch(name) or name in _NO_FIELD or name.endswith(("-metadata", "-ref")):
            raise NameInvalid(
                f"class field name {_shown(name)} cannot be used",
                fix="use lower-case letters, digits and '-', not 'source', 'set-by' or 'set-at', "
                "not ending in '-metadata' or '-ref'",
            )
    if not names or len(set(names)) != len(names):
        raise NameInvalid(f"class fields {_shown(', '.join(names))} must be one or more different names")
    return tuple(names)


def check_device(name: str) -> str:
    """*name*, if it can stand in a take as the device. Raises NameInvalid."""
    if not _TAKE.fullmatch(name) or len(name) > MAX_VALUE:
        raise NameInvalid(
            f"device name {_shown(name)} cannot be used",
            fix=f"use letters, digits, and '-' or '.' between them, at most {MAX_VALUE} characters",
        )
    return name


def check_camera(name: str) -> str:
    """*name*, if it can stand in a take as the camera. Raises NameInvalid."""
    if not _CAMERA.fullmatch(name) or len(name) > MAX_VALUE:
        raise NameInvalid(
            f"camera name {_shown(name)} cannot be used",
            fix=f"use letters, digits, and '.' between them (no '-'), at most {MAX_VALUE} characters",
        )
    return name


def utc_milliseconds(moment: datetime) -> datetime:
    """*moment* in UTC, cut to whole milliseconds, as names and sidecars carry it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class ClassTag:
    """The class of the object on show: one value for each configured field, in the configured order."""

    fields: tuple[str, ...]
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.fields) != len(self.values):
            wanted = _shown(", ".join(self.fields))
            raise NameInvalid(f"a class tag needs the fields {wanted}; got {len(self.values)} values")
        for field, value in zip(self.fields, self.values, strict=True):
            if not _VALUE.fullmatch(value) or len(value) > MAX_VALUE:
                raise NameInvalid(
                    f"class field {_shown(field)} cannot be {_shown(value)}",
                    fix=f"use lower-case letters and digits, with '-' between them, at most {MAX_VALUE} characters",
                )

    @classmethod
    def of(cls, values: Mapping[str, str], names: Sequence[str] = DEFAULT_FIELDS) -> ClassTag:
        """The tag with *values* for exactly the fields *names*. Raises NameInvalid."""
        missing = [name for name in names if name not in values]
        unknown = [name for name in values if name not in names]
        if missing or unknown:
            fault = f"no {', '.join(missing)}" if missing else f"unknown field {', '.join(map(_shown, unknown))}"
            raise NameInvalid(f"class has {fault}", fix=f"give exactly {', '.join(names)}")
        return cls(tuple(names), tuple(values[name] for name in names))

    @classmethod
    def parse(cls, text: str, names: Sequence[str] = DEFAULT_FIELDS) -> ClassTag:
        """The inverse of ``str()``: ``yellow_box``. Raises NameInvalid."""
        return cls(tuple(names), tuple(text.split("_")))

    def as_dict(self) -> dict[str, str]:
        return dict(zip(self.fields, self.values, strict=True))

    def __str__(self) -> str:
        return "_".join(self.values)


@dataclass(frozen=True, slots=True)
class Take:
    """A take made by the daemon: which camera of which device, and when (UTC, whole milliseconds)."""

    device: str
    camera: str
    start: datetime

    def __post_init__(self) -> None:
        check_device(self.device)
        check_camera(self.camera)
        if self.start.tzinfo is not UTC or self.start.microsecond % 1000:
            object.__setattr__(self, "start", utc_milliseconds(self.start))

    @classmethod
    def parse(cls, text: str) -> Take | None:
        """The take that *text* spells, or None for a hand-made take such as ``1``."""
        parts = text.rsplit("-", 2)
        if len(parts) != 3 or not (stamp := _STAMP.fullmatch(parts[2])):
            return None
        year, month, day, hour, minute, second, millisecond = map(int, stamp.groups())
        try:
            start = datetime(year, month, day, hour, minute, second, millisecond * 1000, UTC)
            return cls(parts[0], parts[1], start)
        except (ValueError, NameInvalid):
            return None

    def __str__(self) -> str:
        start = self.start
        stamp = f"{start.year:04d}{start:%m%dT%H%M%S}{start.microsecond // 1000:03d}Z"
        return f"{self.device}-{self.camera}-{stamp}"


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The name every artefact of one segment is derived from."""

    tag: ClassTag
    take: str

    def __post_init__(self) -> None:
        if not _TAKE.fullmatch(self.take):
            raise NameInvalid(
                f"take {_shown(self.take)} cannot be used in a name",
                fix="use letters, digits, and '-' or '.' between them",
            )
        if len(self.stem) > MAX_STEM:
            raise NameInvalid(f"name {_shown(self.stem)} is too long", fix=f"keep it within {MAX_STEM} characters")

    @classmethod
    def parse(cls, stem: str, names: Sequence[str] = DEFAULT_FIELDS) -> SegmentName:
        """The name that *stem* (no directory, no suffix) spells. Raises NameInvalid."""
        *values, take = stem.split("_")
        if len(values) != len(names) or not all(map(_VALUE.fullmatch, values)) or not _TAKE.fullmatch(take):
            grammar = _shown("_".join(f"<{name}>" for name in (*names, "take"))).strip("'")
            raise NameInvalid(
                f"{_shown(stem)} is no segment name", fix=f"name it {grammar}, for instance {_example(names)}"
            )
        return cls(ClassTag(tuple(names), tuple(values)), take)

    @property
    def stem(self) -> str:
        return f"{self.tag}_{self.take}"

    @property
    def made_by(self) -> Take | None:
        """Device, camera and start where the take spells them, None for hand-made takes."""
        return Take.parse(self.take)

    def frame(self, index: int) -> str:
        """Stem of the frame with ordinal *index*. Raises NameInvalid when negative."""
        if index < 0:
            raise NameInvalid(f"frame index {index} is negative")
        return f"{self.stem}_{index:06d}"

    def __str__(self) -> str:
        return self.stem


def check_name_length(tag: ClassTag, device: str, camera: str) -> None:
    """Raise NameInvalid when segments of *camera* under *tag* would have a name that is too long."""
    SegmentName(tag, str(Take(device, camera, datetime(2000, 1, 1, tzinfo=UTC))))


def parse_frame(stem: str, names: Sequence[str] = DEFAULT_FIELDS) -> tuple[SegmentName, int]:
    """Segment name and ordinal of a frame's stem: the inverse of :meth:`SegmentName.frame`. Raises NameInvalid."""
    head, _, index = stem.rpartition("_")
    if not _INDEX.fullmatch(index):
        raise NameInvalid(f"{_shown(stem)} is no frame name", fix="a frame is <segment>_<index of six digits>")
    return SegmentName.parse(head, names), int(index)


def _example(names: Sequence[str]) -> str:
    known = {"color": "blue", "object": "box"}
    return "_".join([*(known.get(name, "a") for name in names), "1"])


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


def format_moment(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-22T14:31:05.123Z``."""
    return utc_milliseconds(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: str) -> datetime:
    """The inverse of :func:`format_moment`. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error


def video_key(segment: Segment) -> str:
    """Where a segment stands in the raw store: ``videos/<device>/<yyyy>/<mm>/<dd>/<stem>.mp4``."""
    return f"videos/{segment.device}/{segment.start.year:04d}/{segment.start:%m/%d}/{segment.name.stem}.mp4"
