"""Pascal VOC: ``Annotations/<stem>.xml``, ``JPEGImages/``, ``ImageSets/Main/<split>.txt``.

Coordinates count from 1 and include the last pixel, as in the challenge and in its readers (supervision, datumaro,
Detectron2): a box of 10 pixels at the left edge is ``xmin`` 1, ``xmax`` 10. What is not of whole pixels keeps its
decimals. Whole pictures' classes are lists of ``<stem> 1`` or ``-1`` a class and split.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.dataset.findings import Findings
from cloud.labeling.formats.base import (
    LONG,
    SHORT,
    Entry,
    Format,
    Found,
    Plan,
    Writer,
    box_from,
    class_folder,
    directory_of,
    number_of,
    rows_of,
    size_of,
    text_of,
    unusable,
)
from cloud.labeling.formats.xml import XmlInvalid, child_text, escaped, root_of
from cloud.labeling.labels import Box, Example, ImageLabel, Split

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(slots=True)
class VocWriter:
    """An XML file a picture; names of the pictures of a split are appended to its list."""

    directory: Path
    plan: Plan

    def add(self, entry: Entry) -> None:
        (self.directory / "Annotations" / f"{entry.stem}.xml").write_text(self._xml(entry), encoding="utf-8")
        sets = self.directory / "ImageSets" / "Main"
        with (sets / f"{SHORT[entry.split]}.txt").open("a", encoding="ascii") as names:
            names.write(f"{entry.stem}\n")
        if self.plan.task == "labels":
            numbers = " ".join(str(self.plan.ids[label.label]) for label in entry.example.labels or ())
            with (sets / f".{SHORT[entry.split]}.classes").open("a", encoding="ascii") as classes:
                classes.write(f"{entry.stem} {numbers}\n")

    def _xml(self, entry: Entry) -> str:
        example = entry.example
        objects = "".join(map(_object, example.boxes or ())) if self.plan.task == "boxes" else ""
        return (
            f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{escaped(entry.name)}</filename>\n"
            f"  <source><database>{escaped(self.plan.title)}</database></source>\n"
            f"  <size><width>{example.width}</width><height>{example.height}</height>"
            f"<depth>{example.depth or 3}</depth></size>\n  <segmented>0</segmented>\n{objects}</annotation>\n"
        )

    def finish(self) -> None:
        """Name the classes, and make a list a class and split of the one list a split."""
        # As CVAT and datumaro have it, "name:colour:parts:actions": without it only the challenge's classes are known.
        names = "".join(f"{label.replace(':', ' ')}:::\n" for label in self.plan.classes)
        (self.directory / "labelmap.txt").write_text(f"# label:color_rgb:parts:actions\n{names}", encoding="utf-8")
        sets = self.directory / "ImageSets" / "Main"
        for split in self.plan.splits:
            source = sets / f".{SHORT[split]}.classes"
            if not source.exists():
                continue
            for number, label in enumerate(self.plan.classes):
                path = sets / f"{class_folder(label)}_{SHORT[split]}.txt"
                with source.open(encoding="ascii") as rows, path.open("w", encoding="ascii") as file:
                    for row in rows:
                        stem, *numbers = row.split()
                        file.write(f"{stem} {' 1' if str(number) in numbers else '-1'}\n")
            source.unlink()


def _object(box: Box) -> str:
    corners = (box.left + 1, box.top + 1, box.left + box.width, box.top + box.height)
    places = "".join(f"<{name}>{text_of(value)}</{name}>" for name, value in zip(_CORNERS, corners, strict=True))
    return (
        f"  <object><name>{escaped(box.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{places}</bndbox></object>\n"
    )


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """The three directories of a VOC data set, directly in *directory*."""
    for name in ("Annotations", "ImageSets/Main"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    writer = VocWriter(directory, plan)
    yield writer
    writer.finish()


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f"JPEGImages/{entry.name}"


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, findings: Findings) -> Iterator[Found]:
    """The data set in the directory *path*, or in the only ``VOCdevkit/VOC*`` below it.

    Findings: ``bad_xml``, ``bad_object``, ``unreadable`` (dropped), ``counts_from_zero``. Raises ConfigInvalid.
    """
    root = directory_of(path, "VOC")
    if not (root / "Annotations").is_dir():
        below = sorted(root.glob("VOC*/Annotations")) + sorted(root.glob("VOCdevkit/VOC*/Annotations"))
        root = below[0].parent if len(below) == 1 else directory_of(root / "Annotations", "VOC").parent
    sets = _Sets.of(root, findings)
    for file in sorted((root / "Annotations").glob("*.xml")):
        try:
            element = root_of(file)
        except XmlInvalid as error:
            unusable(findings, "bad_xml", str(file), error.what, error.fix)
            continue
        yield _found(element, file, sets, findings)


@dataclass(slots=True)
class _Sets:
    """Which picture is in which split, and of which classes. In memory, a name a picture.

    A class is called what its list's file is called, or as ``labelmap.txt`` has it, where the file could not be.
    ``unread``: how many lists of classes could not be read; any picture may stand in them.
    """

    splits: dict[str, Split] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    has_classes: bool = False
    unread: int = 0

    @classmethod
    def of(cls, root: Path, findings: Findings) -> _Sets:
        sets, labelmap = cls(), root / "labelmap.txt"
        named = rows_of(labelmap, findings) if labelmap.exists() else None
        names = {class_folder(name): name for name in (row.partition(":")[0] for row in named or ())}
        for file in sorted((root / "ImageSets" / "Main").glob("*.txt")):
            label, _, short = file.stem.rpartition("_")
            label, split = names.get(label, label), LONG.get(short)
            if split is None:
                continue
            rows = rows_of(file, findings)
            sets.unread += rows is None and bool(label)
            for row in filter(None, map(str.split, rows or ())):
                sets.splits[row[0]] = split
                if label and len(row) > 1 and row[1] == "1":
                    sets.classes.setdefault(row[0], []).append(label)
                sets.has_classes |= bool(label)
        return sets


def _found(root: Element, file: Path, sets: _Sets, findings: Findings) -> Found:
    name = child_text(root, "filename").strip() or f"{file.stem}.jpg"
    width, height = size_of(child_text(root, "size/width")), size_of(child_text(root, "size/height"))
    boxes, before = [], findings.dropped
    for place, element in enumerate(root.iter("object"), start=1):
        box = _box(element)
        if box is None:
            what = f"object {place} has no name or no bndbox of numbers"
            unusable(findings, "bad_object", str(file), what)
        else:
            if box.left < 0 or box.top < 0:
                what = f"object {place} begins before pixel 1, where VOC counts from: it may be one pixel off"
                fix = "the tool that made the file counts from 0"
                unusable(findings, "counts_from_zero", str(file), what, fix, dropped=False)
            boxes.append(box)
    labels = tuple(ImageLabel(label) for label in sets.classes.get(file.stem, ())) if sets.has_classes else None
    wanted = tuple(boxes) if boxes or not sets.has_classes else None
    split = sets.splits.get(file.stem)
    depth = size_of(child_text(root, "size/depth"))
    example = Example(name, width, height, depth, boxes=wanted, labels=labels, split=split)
    dropped = findings.dropped - before + sets.unread
    return Found(example, f"JPEGImages/{name}", str(file), dropped=dropped)


def _box(element: Element) -> Box | None:
    label = child_text(element, "name")
    left, top, right, bottom = (number_of(child_text(element, f"bndbox/{name}")) for name in _CORNERS)
    if not label or left is None or top is None or right is None or bottom is None:
        return None
    if right < left - 1 or bottom < top - 1:  # one less is a box without an extent
        return None
    return box_from(label, left - 1, top - 1, right, bottom)


FORMAT = Format("voc", "Pascal VOC XML, a file a picture", write, _place, read, needs_size=True)
