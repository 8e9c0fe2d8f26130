"""From an example back to a line of an augmented manifest, as the labelling service writes and takes it.

Labels that are as they were read are written as they stood, value by value and key by key, and of changed ones what
they have in common with the former; so reading and writing loses nothing.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloud.dataset.findings import Findings
from cloud.dataset.lines import REFERENCE, Line
from cloud.labeling.labels import Box, Example, ImageLabel
from cloud.labeling.output import FAILURE, METADATA, Choice, Kind, State, kind_of, parse

_JPEG_DEPTH = 3
_SIDES = ("left", "top", "width", "height")
_Place = tuple[Any, ...]  # the class's name, then the sides


def to_line(
    example: Example, attribute: str, classes: Mapping[str, int] | None = None, order: Iterable[str] = ()
) -> str:
    """The line of *example* with its labels under *attribute*, without line end.

    ``example.extra`` gives the other fields and, where it has *attribute* as it was read, metadata, class ids and keys.
    *classes* are ids that hold for a whole manifest; a class that neither they nor the line know gets the next free id.
    *order* is that of the keys (``line.fields`` of the line that was read); keys it does not name come last.
    """
    fields: dict[str, Any] = {**({REFERENCE: example.source} if example.source else {}), **example.tag, **example.extra}
    if not _stands(example, attribute, fields):
        metadata = fields.get(attribute + METADATA)
        ids = _Ids.of(metadata if isinstance(metadata, dict) else {}, classes or {})
        if example.boxes is not None:
            fields |= _boxes(example, example.boxes, attribute, fields.get(attribute), ids)
        elif example.labels is not None:
            fields |= _classes(example.labels, attribute, ids)
    first = [key for key in order if key in fields]
    ordered = {key: fields[key] for key in [*first, *fields]}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))


def _stands(example: Example, attribute: str, fields: Mapping[str, Any]) -> bool:
    """Whether *fields* say of the labels what *example* says."""
    choice, line = Choice(attribute, Kind.OTHER), Line(0, "", "", fields)
    record = parse(line, choice, Findings(), ())
    if record.state is not State.LABELLED:
        return example.boxes is None and example.labels is None
    return not record.dropped and (record.example.boxes, record.example.labels) == (example.boxes, example.labels)


@dataclass(slots=True)
class _Ids:
    """Class ids of one line: those of its class map, then those of the manifest, then new ones."""

    metadata: Mapping[str, Any]
    names: dict[str, Any]
    fixed: Mapping[str, int]

    @classmethod
    def of(cls, metadata: Mapping[str, Any], fixed: Mapping[str, int]) -> _Ids:
        names = metadata.get("class-map")
        return cls(metadata, dict(names) if isinstance(names, dict) else {}, fixed)

    def kept(self) -> dict[str, Any]:
        """The former metadata; labels by hand end a failure."""
        return {key: value for key, value in self.metadata.items() if key != FAILURE}

    def name_of(self, number: str) -> str:
        """As the labels are read: an id whose name is not there, or no text, is its own name."""
        name = self.names.get(number)
        return name if isinstance(name, str) and name else number

    def id_of(self, label: str) -> int | str:
        for number, name in self.names.items():
            if name == label:
                return int(number) if number.isdecimal() else number
        if label not in self.fixed or str(self.fixed[label]) in self.names:
            taken = [int(number) for number in self.names if number.isdecimal()]
            new = max([*taken, *self.fixed.values()], default=-1) + 1
        else:
            new = self.fixed[label]
        self.names[str(new)] = label
        return new


def _boxes(
    example: Example, boxes: tuple[Box, ...], attribute: str, former: object, ids: _Ids
) -> dict[str, dict[str, Any]]:
    value: dict[str, Any] = dict(former) if isinstance(former, dict) else {}
    old, given = value.get("annotations"), ids.metadata.get("objects")
    stored = list(old) if isinstance(old, list) else []
    objects = list(given) if isinstance(given, list) and len(given) == len(stored) else [None] * len(stored)
    free: dict[_Place, deque[int]] = {}
    for number, raw in enumerate(stored):
        if (place := _place_of(raw, ids)) is not None:
            free.setdefault(place, deque()).append(number)
    value["annotations"], confidences = [], []
    for box in boxes:
        there = free.get((box.label, box.left, box.top, box.width, box.height))
        found = there.popleft() if there else None
        was = objects[found] if found is not None else None
        value["annotations"].append(_annotation(box, ids) if found is None else stored[found])
        same = isinstance(was, dict) and was.get("confidence") == box.confidence
        confidences.append(was if same else _sure(box.confidence))
    if "image_size" not in value and example.width is not None and example.height is not None:
        depth = example.depth or _JPEG_DEPTH
        value["image_size"] = [{"width": example.width, "height": example.height, "depth": depth}]
    told = {**ids.kept(), "objects": confidences, "class-map": ids.names}
    told.setdefault("type", Kind.BOXES.value)
    if "objects" not in ids.metadata and not any(confidences):
        del told["objects"]
    return {attribute: value, attribute + METADATA: told}


def _place_of(raw: object, ids: _Ids) -> _Place | None:
    """Class and place of the annotation *raw*; None when it is none. Two that are equal keep their order."""
    if not isinstance(raw, dict):
        return None
    place = tuple(raw.get(key) for key in _SIDES)
    return (
        (ids.name_of(str(raw.get("class_id"))), *place)
        if all(isinstance(side, int | float) for side in place)
        else None
    )


def _annotation(box: Box, ids: _Ids) -> dict[str, Any]:
    """*box* as the service writes one: whole pixels as integers."""
    place = {key: getattr(box, key) for key in _SIDES}
    return {
        "class_id": ids.id_of(box.label),
        **{key: int(side) if float(side).is_integer() else side for key, side in place.items()},
    }


def _classes(labels: tuple[ImageLabel, ...], attribute: str, ids: _Ids) -> dict[str, Any]:
    kind = kind_of(ids.metadata)
    if len(labels) == 1 and kind is not Kind.CLASSES:
        number = ids.id_of(labels[0].label)
        told = {**ids.kept(), "class-name": labels[0].label}
        told.setdefault("type", Kind.CLASS.value)
        told.pop("confidence", None)
        told |= _sure(labels[0].confidence)
        return {attribute: number, attribute + METADATA: told}
    numbers = [ids.id_of(label.label) for label in labels]
    told = {
        **ids.kept(),
        "type": Kind.CLASSES.value,
        "class-map": ids.names,
        "confidence-map": {
            str(number): label.confidence
            for number, label in zip(numbers, labels, strict=True)
            if label.confidence is not None
        },
    }
    return {attribute: numbers, attribute + METADATA: told}


def _sure(confidence: float | None) -> dict[str, float]:
    return {} if confidence is None else {"confidence": confidence}
