"""The values under a label attribute, checked one by one: boxes, a class, several classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line
from cloud.labeling.labels import Box, ImageLabel
from cloud.words import quoted

FAR = 1e7
"""Pixels; no picture is that large, and areas of such boxes are still exact enough."""
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-FAR, le=FAR)]
_Size = tuple[int | None, int | None, int | None]
ClassId = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)]
"""The service writes numbers; its own documentation, and tools that rewrite manifests, also strings."""


class Annotation(BaseModel):
    """A box as the service writes it, in pixels."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    class_id: ClassId
    left: _Number
    top: _Number
    width: Annotated[_Number, Field(ge=0)]
    height: Annotated[_Number, Field(ge=0)]


class _ImageSize(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    width: Annotated[int, Field(strict=True, gt=0)]
    height: Annotated[int, Field(strict=True, gt=0)]
    depth: Annotated[int, Field(strict=True, gt=0)] | None = None


_CONFIDENCE = TypeAdapter[float](Annotated[_Number, Field(ge=0, le=1)])
_CLASS_ID = TypeAdapter[int | str](ClassId)


@dataclass(slots=True)
class Reader:
    """Reads the labels ``name`` of ``line``; what is wrong goes to ``findings`` with the line's number.

    ``dropped`` counts the labels that could not be read, out of those that could.
    """

    line: Line
    name: str
    findings: Findings
    dropped: int = 0

    def finding(self, code: str, what: str, fix: str = "", *, dropped: bool = False) -> None:
        self.dropped += dropped
        self.findings.add(Finding(code, self.line.where, self.line.number, what, fix, dropped))

    def boxes(self, value: object, metadata: Mapping[str, Any]) -> tuple[tuple[Box, ...], _Size] | None:
        """The boxes and the picture's width, height and depth; None when *value* has no list of annotations."""
        annotations = value.get("annotations") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(annotations, list):
            self.finding(
                "bad_labels", f"{quoted(self.name)} holds no list of 'annotations'", "the labels are passed over"
            )
            return None
        confidences = self._confidences(metadata, len(annotations))
        boxes = []
        for number, raw in enumerate(annotations):
            try:
                read = Annotation.model_validate(raw)
            except ValidationError as error:
                what = f"box {number + 1} of {quoted(self.name)}: {_first(error)}"
                self.finding("bad_box", what, "it is left out", dropped=True)
                continue
            if read.left < 0 or read.top < 0:
                what = f"box {number + 1} of {quoted(self.name)} begins outside, at {read.left:g}, {read.top:g}"
                self.finding("negative_position", what)
            label = self._class_name(read.class_id, metadata)
            boxes.append(Box(label, read.left, read.top, read.width, read.height, confidences[number]))
        return tuple(boxes), self._size(value.get("image_size"))

    def one_class(self, value: object, metadata: Mapping[str, Any]) -> tuple[ImageLabel, ...] | None:
        """The one class of a classification or verification; None when there is none that can be read."""
        name = metadata.get("class-name")
        if not isinstance(name, str):
            try:
                name = self._class_name(_CLASS_ID.validate_python(value), metadata)
            except ValidationError:
                self.finding("bad_labels", f"{quoted(self.name)} is no class id", "the labels are passed over")
                return None
        return (ImageLabel(name, self._confidence(metadata.get("confidence"))),)

    def classes(self, value: object, metadata: Mapping[str, Any]) -> tuple[ImageLabel, ...] | None:
        """The classes of a multi-label classification, perhaps none; None when *value* is no list."""
        if not isinstance(value, list):
            self.finding("bad_labels", f"{quoted(self.name)} is no list of class ids", "the labels are passed over")
            return None
        confidences = metadata.get("confidence-map")
        known = confidences if isinstance(confidences, dict) else {}
        labels = []
        for raw in value:
            try:
                number = _CLASS_ID.validate_python(raw)
            except ValidationError:
                self.finding(
                    "bad_labels", f"{quoted(self.name)} has {raw!r:.40}, no class id", "left out", dropped=True
                )
                continue
            labels.append(ImageLabel(self._class_name(number, metadata), self._confidence(known.get(str(number)))))
        return tuple(labels)

    def _class_name(self, number: int | str, metadata: Mapping[str, Any]) -> str:
        """By the class map, whose keys are strings in JSON; an id it lacks is its own name."""
        classes = metadata.get("class-map")
        name = classes.get(str(number)) if isinstance(classes, dict) else None
        if isinstance(name, str) and name:
            return name
        what = f"class id {str(number)!r:.60} of {quoted(self.name)} is not in its class map"
        self.finding("unknown_class", what, "the id stands for the name")
        return str(number)

    def _confidences(self, metadata: Mapping[str, Any], count: int) -> list[float | None]:
        """One for each annotation; all None where the job gave none."""
        objects = metadata.get("objects")
        if objects is None:
            return [None] * count
        if not isinstance(objects, list) or len(objects) != count:
            given = len(objects) if isinstance(objects, list) else "no list of"
            what = f"{quoted(self.name)} has {count} boxes and {given} confidences"
            self.finding("bad_confidence", what, "none is used")
            return [None] * count
        return [self._confidence(one.get("confidence") if isinstance(one, dict) else None) for one in objects]

    def _confidence(self, value: object) -> float | None:
        if value is None:
            return None
        try:
            return _CONFIDENCE.validate_python(value)
        except ValidationError:
            what = f"confidence {value!r:.40} of {quoted(self.name)} is not from 0 to 1"
            self.finding("bad_confidence", what, "it is not used")
            return None

    def _size(self, value: object) -> _Size:
        if value is None:
            return None, None, None
        first = value[0] if isinstance(value, list) and value else None
        try:
            size = _ImageSize.model_validate(first)
        except ValidationError as error:
            what = f"image_size of {quoted(self.name)}: {_first(error)}"
            self.finding("bad_image_size", what, "it is not used")
            return None, None, None
        return size.width, size.height, size.depth


def _first(error: ValidationError) -> str:
    """The first fault, in a few words. A class id may be two things, which pydantic reports as two faults."""
    fault = error.errors(include_url=False, include_input=True)[0]
    place = str(fault["loc"][0]) if fault["loc"] else "it"
    return f"{place} {fault['input']!r:.40}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
