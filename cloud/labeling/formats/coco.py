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

from cloud.dataset.findings import Findings
from cloud.dataset.pictures import is_file
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
    json_of,
    number_of,
    plain,
    score_of,
    size_of,
    unusable,
)
from cloud.labeling.labels import Box, Example, ImageLabel, Split
from cloud.words import quoted
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

    The pictures of a file without a list of annotations are unlabelled. Findings: ``bad_annotation`` (no category, no
    picture, no numbers), ``bad_image``, ``crowd``, ``no_categories`` (dropped), ``bad_category``, ``bad_confidence``.
    Raises ConfigInvalid for a file that is no COCO.
    """
    if path.is_file():
        yield from _read_file(path, path.parent, findings)
        return
    root = directory_of(path, "COCO")
    files = sorted((root / "annotations").glob("*.json")) or sorted(root.glob("*.json"))
    if not files:
        raise ConfigInvalid("has no COCO file", where=str(path), fix="name the .json file itself")
    # Of a picture that comes twice the first is kept: not the one of a list that only says which pictures there are.
    for file in sorted(files, key=lambda file: file.stem.startswith("image_info")):
        yield from _read_file(file, root, findings)


def _read_file(path: Path, root: Path, findings: Findings) -> Iterator[Found]:
    whole = json_of(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("images"), list):
        raise ConfigInvalid("is no COCO: it has no list of images", where=str(path))
    if isinstance(whole.get("annotations"), list) and not isinstance(whole.get("categories"), list):
        what = "has no list of categories, so neither boxes nor classes: it is passed over"
        unusable(findings, "no_categories", str(path), what)
        return
    split = LONG.get(path.stem.rpartition("_")[2])
    read = _File.of(whole, str(path), findings)
    _, shared = _named(whole["images"], "file_name")
    for place, image in enumerate(whole["images"]):
        name, number = (image.get("file_name"), _id(image.get("id"))) if isinstance(image, dict) else (None, None)
        if not isinstance(name, str) or not name or number is None:
            read.drop("bad_image", f"images[{place}] has no file_name or no id")
        elif number in shared:
            what = f"images[{place}], {quoted(name)}, has the id {number!a:.60}, as another picture has"
            read.drop("bad_image", what, "whose the annotations are cannot be told")
        else:
            before = findings.dropped
            example = _example(read, image, number, split, wants_boxes=not path.stem.startswith("labels_"))
            yield Found(example, picture_of(root, name, split), read.where, dropped=findings.dropped - before)
    read.finish()


def picture_of(root: Path, name: str, split: Split | None) -> str:
    """Where the picture *name* stands below *root*: where our own export puts it, else where the file says."""
    ours = f"images/{SHORT[split]}/{name}" if split is not None else name
    return ours if split is not None and not is_file(root / name) else name


def _example(read: _File, image: Mapping[str, Any], number: _Id, split: Split | None, *, wants_boxes: bool) -> Example:
    made = [read.parse(annotation) for annotation in read.waiting.pop(number, ())]
    boxes = tuple(each for each in made if isinstance(each, Box))
    labels = tuple(each for each in made if isinstance(each, ImageLabel))
    return Example(
        str(image["file_name"]),
        size_of(image.get("width")),
        size_of(image.get("height")),
        boxes=boxes if boxes or (read.labelled and wants_boxes and not labels) else None,
        labels=labels if labels or (read.labelled and not wants_boxes) else None,
        split=split,
    )


_Id = int | float | str


def _id(value: object) -> _Id | None:
    """*value* as an id; None when it is none. A whole number that a table made a float of is equal to it."""
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _named(items: object, key: str) -> tuple[dict[_Id, str], set[_Id]]:
    """The names that *items* have under *key*, by their ids; and the ids that two names have. Pure."""
    names: dict[_Id, str] = {}
    shared: set[_Id] = set()
    for each in items if isinstance(items, list) else ():
        number, name = (_id(each.get("id")), each.get(key)) if isinstance(each, dict) else (None, None)
        if number is not None and isinstance(name, str) and names.setdefault(number, name) != name:
            shared.add(number)
    return names, shared


@dataclass(frozen=True, slots=True)
class _File:
    """What a file says beside its images. ``waiting``: annotations whose image was not met yet, by its id.

    ``labelled``: there is a list of annotations, so that a picture without any was looked at.
    """

    where: str
    findings: Findings
    labelled: bool
    names: Mapping[_Id, str]
    waiting: dict[_Id, list[Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, whole: Mapping[str, Any], where: str, findings: Findings) -> _File:
        annotations = whole.get("annotations")
        names, shared = _named(whole.get("categories"), "name")
        known = {number: name for number, name in names.items() if number not in shared}
        read = cls(where, findings, isinstance(annotations, list), known)
        for number in names.keys() - known.keys():
            fix = "its annotations are left out"
            unusable(findings, "bad_category", where, f"category id {number!a:.60} has two names", fix, dropped=False)
        for place, each in enumerate(annotations if isinstance(annotations, list) else ()):
            image = _id(each.get("image_id")) if isinstance(each, dict) else None
            if image is None:
                read.drop("bad_annotation", f"annotations[{place}] names no image")
            else:
                read.waiting.setdefault(image, []).append(each)
        return read

    def drop(self, code: str, what: str, fix: str = "") -> None:
        unusable(self.findings, code, self.where, what, fix)

    def finish(self) -> None:
        """Report the annotations that no image took."""
        for number, left in self.waiting.items():
            for each in left:
                what = f"{_called(each)} is of image {number!a:.60}, of which there is none, or more than one"
                self.drop("bad_annotation", what)

    def parse(self, annotation: Mapping[str, Any]) -> Box | ImageLabel | None:
        called = _called(annotation)
        category = _id(annotation.get("category_id"))
        label = self.names.get(category) if category is not None else None
        if label is None:
            self.drop("bad_annotation", f"{called} is of no known category")
            return None
        if annotation.get("iscrowd") == 1:
            self.drop("crowd", f"{called} is a crowd's region, not an object's box")
            return None
        box = annotation.get("bbox")
        score = score_of(annotation.get("score"), self.findings, self.where)
        if box is None and not annotation.get("segmentation"):
            return ImageLabel(label, score)
        numbers = [number_of(each) for each in box] if isinstance(box, list) else []
        left, top, width, height = numbers if len(numbers) == 4 else [None] * 4
        if left is None or top is None or width is None or height is None or width < 0 or height < 0:
            self.drop("bad_annotation", f"{called} has no bbox of four numbers", "[left, top, width, height]")
            return None
        return Box(label, left, top, width, height, score)


def _called(annotation: Mapping[str, Any]) -> str:
    return f"annotation {annotation.get('id')!a:.60}"


FORMAT = Format("coco", "COCO JSON, a file a split", write, images_by_split, read, needs_size=True)
