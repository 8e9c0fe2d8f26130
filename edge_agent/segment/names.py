"""Segment names and class tags.

::

    yellow_box_dock7-cam1-20261122T143105123Z.mp4
    └────────┘ └────────────────────────────┘
     class tag   take: <device>-<camera>-<UTC start, milliseconds>

A stem is ``<field>(_<field>)*_<take>``. The underscore only separates. A field value is ``[a-z0-9]+(-[a-z0-9]+)*``, a
take ``[A-Za-z0-9]+([.-][A-Za-z0-9]+)*``; plain hand-made names such as ``blue_box_1`` parse under the same grammar.
A frame is ``<stem>_<index:06d>``, where index is the frame's ordinal in the segment, from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge_agent.errors import NameInvalid
from edge_agent.segment.moments import utc_milliseconds

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
