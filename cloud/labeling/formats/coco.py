"""COCO: ``annotations/instances_<split>.json`` and, of whole pictures' classes, ``annotations/labels_<split>.json``.

Boxes are ``[left, top, width, height]`` in pixels, category ids count from 1, confidences stand as ``score`` (which
readers of ground truth pass over). The lists are written apart as they come and joined at the end: memory stays flat.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from pydantic_core import from_json

from cloud.dataset.findings import Findings
from cloud.labeling.formats.base import (
    LONG,
    SHORT,
    Entry,
    Format,
    Found,
    Plan,
    Writer,
    directory_of,
    images_by_split,
    number_of,
    plain,
    size_of,
    unusable,
)
from cloud.labeling.labels import Box, Example, ImageLabel, Split
from edge_agent.errors import ConfigInvalid

_KINDS = {"boxes": "instances", "labels": "labels"}
_SEPARATORS = (",", ":")


@dataclass(slots=True)
class _Part:
    """The two lists of one split, while they grow."""

    images: BinaryIO
    annotations: BinaryIO
    first_image: bool = True
    first_annotation: bool = True


@dataclass(slots=True)
class CocoWriter:
    """Image and annotation ids count from 1 over all splits."""

    plan: Plan
    parts: Mapping[str, _Part]
    image: int = 0
    annotation: int = 0

    def add(self, entry: Entry) -> None:
        example, part = entry.example, self.parts[entry.split]
        self.image += 1
        image = {
            "id": self.image,
            "width": example.width,
            "height": example.height,
            "file_name": entry.name,
            "license": 0,
        }
        part.images.write(_item(image, first=part.first_image))
        part.first_image = False
        for values in self._annotations(example):
            self.annotation += 1
            annotation = {"id": self.annotation, "image_id": self.image, **values}
            part.annotations.write(_item(annotation, first=part.first_annotation))
            part.first_annotation = False

    def _annotations(self, example: Example) -> Iterator[dict[str, object]]:
        if self.plan.task == "boxes":
            for box in example.boxes or ():
                yield {
                    "category_id": self.plan.ids[box.label] + 1,
                    "bbox": [plain(box.left), plain(box.top), plain(box.width), plain(box.height)],
                    "area": plain(box.width * box.height),
                    "iscrowd": 0,
                    "segmentation": [],
                    **_score(box.confidence),
                }
        else:
            for label in example.labels or ():
                yield {"category_id": self.plan.ids[label.label] + 1, **_score(label.confidence)}


def _score(confidence: float | None) -> dict[str, float]:
    return {} if confidence is None else {"score": confidence}


def _item(value: object, *, first: bool) -> bytes:
    return (b"\n" if first else b",\n") + json.dumps(value, separators=_SEPARATORS).encode()


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """One file a split in ``annotations/``."""
    annotations = directory / "annotations"
    annotations.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        parts: dict[str, _Part] = {}
        for split in plan.splits:
            images, labels = (
                stack.enter_context((annotations / f".{split}.{name}").open("w+b")) for name in ("images", "labels")
            )
            parts[split] = _Part(images, labels)
        yield CocoWriter(plan, parts)
        for name, part in parts.items():
            _join(annotations / f"{_KINDS[plan.task]}_{SHORT[name]}.json", part, plan)
    for split in plan.splits:
        for name in ("images", "labels"):
            (annotations / f".{split}.{name}").unlink()


def _join(path: Path, part: _Part, plan: Plan) -> None:
    categories = [
        {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(plan.classes, start=1)
    ]
    info = {"description": plan.title, "version": "1.0"}
    with path.open("wb") as file:
        file.write(b'{"info":' + json.dumps(info).encode() + b',\n"licenses":[{"id":0,"name":"","url":""}],')
        file.write(b'\n"categories":' + json.dumps(categories).encode() + b',\n"images":[')
        for name, rows in (("annotations", part.images), ("", part.annotations)):
            rows.seek(0)
            shutil.copyfileobj(rows, file)
            file.write(f'\n],\n"{name}":['.encode() if name else b"\n]}\n")


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, findings: Findings) -> Iterator[Found]:
    """What the file *path*, or all of ``annotations/*.json`` in the directory *path*, hold; a file is in memory whole.

    Findings: ``bad_annotation`` (no category, no picture, no numbers; dropped), ``crowd`` (dropped).
    Raises ConfigInvalid for a file that is no COCO.
    """
    if path.is_file():
        yield from _read_file(path, path.parent, findings)
        return
    root = directory_of(path, "COCO")
    files = sorted((root / "annotations").glob("*.json")) or sorted(root.glob("*.json"))
    if not files:
        raise ConfigInvalid("has no COCO file", where=str(path), fix="name the .json file itself")
    for file in files:
        yield from _read_file(file, root, findings)


def _read_file(path: Path, root: Path, findings: Findings) -> Iterator[Found]:
    where = str(path)
    try:
        whole = from_json(path.read_bytes(), allow_inf_nan=False)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=where) from error
    except (ValueError, ValidationError) as error:
        raise ConfigInvalid(f"is no JSON: {error}", where=where) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("images"), list):
        raise ConfigInvalid("is no COCO: it has no list of images", where=where)
    split = LONG.get(path.stem.rpartition("_")[2])
    read = _File(where, _names(whole), findings)
    by_image = read.by_image(whole.get("annotations"))
    wants_boxes = not path.stem.startswith("labels_")
    for place, image in enumerate(whole["images"]):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name:
            unusable(findings, "bad_image", where, f"images[{place}] has no file_name")
            continue
        yield Found(_example(read, image, by_image, split, wants_boxes), picture_of(root, name, split), where)


def picture_of(root: Path, name: str, split: Split | None) -> str:
    """Where the picture *name* stands below *root*: where our own export puts it, else where the file says."""
    ours = f"images/{SHORT[split]}/{name}" if split is not None else name
    return ours if split is not None and not (root / name).exists() else name


def _example(
    read: _File,
    image: Mapping[str, Any],
    by_image: Mapping[object, list[Mapping[str, Any]]],
    split: Split | None,
    wants_boxes: bool,
) -> Example:
    boxes: list[Box] = []
    labels: list[ImageLabel] = []
    key = image.get("id")
    for annotation in by_image.get(key, ()) if isinstance(key, int | str) else ():
        made = read.parse(annotation)
        if isinstance(made, Box):
            boxes.append(made)
        elif made is not None:
            labels.append(made)
    return Example(
        str(image["file_name"]),
        size_of(image.get("width")),
        size_of(image.get("height")),
        boxes=tuple(boxes) if boxes or (wants_boxes and not labels) else None,
        labels=tuple(labels) if labels or not wants_boxes else None,
        split=split,
    )


def _names(whole: Mapping[str, Any]) -> dict[object, str]:
    categories = whole.get("categories")
    return {
        each["id"]: each["name"]
        for each in (categories if isinstance(categories, list) else ())
        if isinstance(each, dict) and isinstance(each.get("id"), int | str) and isinstance(each.get("name"), str)
    }


@dataclass(slots=True)
class _File:
    where: str
    names: Mapping[object, str]
    findings: Findings
    by_id: dict[object, list[Mapping[str, Any]]] = field(default_factory=dict)

    def by_image(self, annotations: object) -> dict[object, list[Mapping[str, Any]]]:
        for place, each in enumerate(annotations if isinstance(annotations, list) else ()):
            image = each.get("image_id") if isinstance(each, dict) else None
            if isinstance(image, int | str):
                self.by_id.setdefault(image, []).append(each)
            else:
                unusable(self.findings, "bad_annotation", self.where, f"annotations[{place}] names no image")
        return self.by_id

    def parse(self, annotation: Mapping[str, Any]) -> Box | ImageLabel | None:
        called = f"annotation {annotation.get('id')!a}"
        category = annotation.get("category_id")
        label = self.names.get(category) if isinstance(category, int | str) else None
        if label is None:
            unusable(self.findings, "bad_annotation", self.where, f"{called} is of no known category")
            return None
        if annotation.get("iscrowd") == 1:
            unusable(self.findings, "crowd", self.where, f"{called} is a crowd's region, not an object's box")
            return None
        score = number_of(annotation.get("score"))
        box = annotation.get("bbox")
        if box is None and not annotation.get("segmentation"):
            return ImageLabel(label, score)
        numbers = [number_of(each) for each in box] if isinstance(box, list) else []
        left, top, width, height = numbers if len(numbers) == 4 else [None] * 4
        if left is None or top is None or width is None or height is None or width < 0 or height < 0:
            what = f"{called} has no bbox of four numbers"
            unusable(self.findings, "bad_annotation", self.where, what, "[left, top, width, height]")
            return None
        return Box(label, left, top, width, height, score)


FORMAT = Format("coco", "COCO JSON, a file a split", write, images_by_split, read, needs_size=True)
