"""``sources.jsonl``, in every export: which picture came from which line, whole, so that an import loses nothing.

::

    {"picture": "images/train/blue_box_1_000023.jpg", "attribute": "bb",
     "tag": ["color", "object"], "line": {"source-ref": "s3://…", …}}

Most formats know no confidences, no URIs, no difference between a picture nobody looked at and one without objects.
What an import finds in the format's own files is what counts; from here comes what they cannot say. A box that stands
where the line has it, within :data:`NEAR` pixels and of the same class, is the line's box, confidence included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line
from cloud.labeling.formats.base import Entry, class_folder
from cloud.labeling.labels import Box, Example, ImageLabel
from cloud.labeling.output import Choice, Kind, parse

FILE = "sources.jsonl"
NEAR = 1e-3
"""Pixels; ten times what the formats' roundings can add up to, a thousandth of what a hand can move a box by."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    picture: str
    attribute: str | None = None
    tag: tuple[str, ...] = ()
    tagged: bool = False
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a picture's line said: ``fields``, and what they mean. ``tagged``: its class was made of class fields."""

    fields: Mapping[str, Any]
    attribute: str | None
    tagged: bool
    example: Example


def row(entry: Entry, *, tagged: bool) -> bytes:
    """The row of *entry*; *tagged*: its class was made of class fields. Pure."""
    head: dict[str, object] = {"picture": entry.picture, "attribute": entry.attribute, "tag": list(entry.example.tag)}
    if tagged:
        head["tagged"] = True
    return f'{json.dumps(head)[:-1]}, "line": {entry.line.text}}}\n'.encode()


@dataclass(slots=True)
class Origins:
    """The rows of a sidecar by picture; memory holds an offset a row, not the row."""

    where: str = ""
    _file: BinaryIO | None = None
    _offsets: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def of(self, picture: str) -> Origin | None:
        """The origin of *picture*, told by its path in the export or, where that is not known, by its name."""
        offset = self._offsets.get(picture)
        if offset is None:
            offset = self._offsets.get(self._names.get(picture.rpartition("/")[2].rpartition(".")[0], ""))
        if offset is None or self._file is None:
            return None
        self._file.seek(offset)
        found = _Row.model_validate_json(self._file.readline())
        line = Line(0, self.where, "", found.line)
        record = parse(line, Choice(found.attribute, Kind.OTHER), Findings(), tuple(found.tag))
        return Origin(found.line, found.attribute, found.tagged, record.example)


@contextmanager
def origins(directory: Path, findings: Findings) -> Iterator[Origins]:
    """The sidecar of the export *directory*; nothing where there is none. Findings: ``bad_sidecar``."""
    path = directory / FILE
    if not path.is_file():
        yield Origins()
        return
    with path.open("rb") as file:
        found = Origins(str(path), file)
        offset, number = 0, 0
        while raw := file.readline():
            number += 1
            try:
                picture = _Row.model_validate_json(raw).picture
            except ValidationError:
                findings.add(Finding("bad_sidecar", str(path), number, "is no row of an export", "it is passed over"))
            else:
                found._offsets[picture] = offset
                found._names[picture.rpartition("/")[2].rpartition(".")[0]] = picture
            offset += len(raw)
        yield found


def restored(found: Example, origin: Origin) -> Example:
    """*found* with everything from *origin* that the format could not say. Pure.

    The split of a line that had none is ``train`` in an export: only another one is news.
    """
    was = origin.example
    extra = was.extra
    if found.split is not None and found.split != origin.fields.get("split", "train"):
        extra = {**extra, "split": found.split}
    return replace(
        was,
        boxes=was.boxes if found.boxes is None else _boxes(found.boxes, was.boxes or ()),
        labels=was.labels if found.labels is None else _labels(found.labels, was, tagged=origin.tagged),
        width=was.width or found.width,
        height=was.height or found.height,
        extra=extra,
    )


def _boxes(found: tuple[Box, ...], known: tuple[Box, ...]) -> tuple[Box, ...]:
    left = list(known)
    result = []
    for box in found:
        place = next((index for index, other in enumerate(left) if _same(box, other)), None)
        if place is None:
            result.append(box)
            continue
        same = left.pop(place)
        changed = box.confidence is not None and same.confidence != box.confidence
        result.append(replace(same, confidence=box.confidence) if changed else same)
    return tuple(result)


def _same(box: Box, other: Box) -> bool:
    near = (
        abs(box.left - other.left) <= NEAR
        and abs(box.top - other.top) <= NEAR
        and abs(box.width - other.width) <= NEAR
        and abs(box.height - other.height) <= NEAR
    )
    return near and box.label == other.label


def _labels(found: tuple[ImageLabel, ...], was: Example, *, tagged: bool) -> tuple[ImageLabel, ...] | None:
    """A class that was made of the class fields is no label of the line; a folder's name stands for its class."""
    known = {label.label: label for label in was.labels or ()}
    if tagged and [label.label for label in found] == [tag_label(was)]:
        return None
    folders = {class_folder(name): label for name, label in known.items()}
    result = []
    for label in found:
        same = known.get(label.label) or folders.get(label.label)
        keep = same is not None and label.confidence in (None, same.confidence)
        result.append(same if same is not None and keep else label)
    order = {label.label: index for index, label in enumerate(was.labels or ())}
    return tuple(sorted(result, key=lambda label: order.get(label.label, len(order))))


def tag_label(example: Example) -> str:
    """The class that the line's class fields make, as in names of videos: ``yellow_box``; "" where there are none."""
    return "_".join(example.tag.values())
