"""YOLO as Ultralytics reads it: ``data.yaml``, ``labels/<split>/<stem>.txt``; of classes alone, class folders.

A line is ``<class> <x centre> <y centre> <width> <height>``, as fractions of the picture's size. Boxes must lie within
the picture, so what sticks out is clipped. There is no room for confidences; the sidecar has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from cloud.dataset.findings import Findings
from cloud.labeling.export_size import size_in
from cloud.labeling.formats import folders
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
    rows_of,
    score_of,
    text_of,
    unusable,
)
from cloud.labeling.labels import Box, Example
from edge_agent.errors import ConfigInvalid
from edge_agent.settings_file import read_mapping

_DIGITS = 10
"""Of a fraction: a ten-millionth of a pixel of the largest picture there is, so whole pixels come back whole."""


@dataclass(slots=True)
class YoloWriter:
    """A text file a picture; that of a picture without objects is empty."""

    directory: Path
    plan: Plan

    def add(self, entry: Entry) -> None:
        lines = [line_of(box, entry.example, self.plan.ids[box.label]) for box in entry.example.boxes or ()]
        path = self.directory / "labels" / SHORT[entry.split] / f"{entry.stem}.txt"
        path.write_text("".join(lines), encoding="ascii")


def line_of(box: Box, example: Example, number: int) -> str:
    """The line, with its end, of *box*. The picture's size is known."""
    width, height = example.width or 1, example.height or 1
    middle = (box.left + box.width / 2) / width, (box.top + box.height / 2) / height
    values = (*middle, box.width / width, box.height / height)
    return " ".join([str(number), *(text_of(round(value, _DIGITS)) for value in values)]) + "\n"


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """``data.yaml`` without a ``path``: the trainer then looks beside the file, wherever it was moved to."""
    if plan.task == "labels":
        yield folders.Folders()
        return
    for split in plan.splits:
        (directory / "labels" / SHORT[split]).mkdir(parents=True, exist_ok=True)
    yield YoloWriter(directory, plan)
    places: dict[str, object] = {SHORT[split]: f"images/{SHORT[split]}" for split in plan.splits}
    comment = ""
    for needed in ("train", "val"):
        if needed not in places:
            comment += f"# The manifest has no split for '{needed}', which trainers want: it is that of another.\n"
            places[needed] = next(iter(places.values()))
    document = {**places, "names": dict(enumerate(plan.classes))}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (directory / "data.yaml").write_text(comment + text, encoding="utf-8")


def _place(plan: Plan, entry: Entry) -> str:
    if plan.task == "boxes":
        return images_by_split(plan, entry)
    return folders.place(SHORT[entry.split], entry)


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, findings: Findings) -> Iterator[Found]:
    """The data set whose directory, or whose ``data.yaml``, is *path*; or class folders.

    Sizes come from the pictures. Boxes of a picture that is not there are fractions of an unknown size: they need the
    sidecar, else they are dropped. Findings: ``bad_label_line``, ``unknown_class``, ``polygon``, ``size_unknown``,
    ``unreadable``, ``bad_confidence``. Raises ConfigInvalid.
    """
    root = path.parent if path.is_file() else directory_of(path, "YOLO")
    config = path if path.is_file() else next((p for p in sorted(root.glob("*.y*ml")) if p.stem != "args"), None)
    if config is None:
        if folders.is_folders(root):
            yield from folders.read(root, findings)
            return
        raise ConfigInvalid("has no data.yaml", where=str(root), fix="name the directory that has it")
    names = _names(config)
    for file in sorted((root / "labels").rglob("*.txt")):
        rows = rows_of(file, findings)
        if rows is not None:
            yield _read_file(file, rows, root, names, findings)


def _names(config: Path) -> Mapping[int, str]:
    names = read_mapping(config, "the data.yaml of an export").get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(key, int) for key in names):
        raise ConfigInvalid("has no 'names' of classes", where=str(config), fix="list them: names: [box, cup]")
    for key, name in names.items():
        if not isinstance(name, str) and number_of(name) is None:  # of lists in lists a few bytes can make gigabytes
            raise ConfigInvalid(f"class {key} in 'names' is no text", where=str(config), fix="put its name in quotes")
    return {key: str(name) for key, name in names.items()}


def _read_file(file: Path, rows: list[str], root: Path, names: Mapping[int, str], findings: Findings) -> Found:
    below = file.relative_to(root / "labels").with_suffix("")
    split = LONG.get(below.parts[0]) if len(below.parts) > 1 else None
    found = (root / "images" / below.parent).glob(f"{_literal(below.name)}.*")
    picture = next((p for p in sorted(found) if p.suffix.lower() in folders.SUFFIXES and p.is_file()), None)
    size = _size(picture) if picture is not None else None
    name = picture.relative_to(root).as_posix() if picture is not None else f"images/{below.as_posix()}.jpg"
    width, height = size or (None, None)
    boxes, before = [], findings.dropped
    for number, text in enumerate(rows, start=1):
        if text.strip():
            box = _box(text, _Place(names, str(file), number, findings))
            if box is not None:
                boxes.append(box)
    example = Example(name, width, height, boxes=tuple(boxes), split=split)
    return Found(example, name, str(file), dropped=findings.dropped - before)


def _size(picture: Path) -> tuple[int, int] | None:
    try:
        return size_in(picture)
    except OSError:  # told as a size that is not known, where there are boxes that need it
        return None


def _literal(name: str) -> str:
    from glob import escape

    return escape(name)


@dataclass(frozen=True, slots=True)
class _Place:
    names: Mapping[int, str]
    where: str
    line: int
    findings: Findings

    def drop(self, code: str, what: str, fix: str = "") -> None:
        unusable(self.findings, code, self.where, what, fix, self.line)


def _box(text: str, place: _Place) -> Box | None:
    """The box of a line, in fractions: :func:`base.in_pixels` makes pixels of them."""
    parts = text.split()
    values = [number_of(part) for part in parts]
    if len(parts) > 6 and len(parts) % 2 == 1:
        place.drop("polygon", "holds a polygon, not a box", "export boxes from the tool that made it")
        return None
    if len(parts) not in (5, 6) or None in values[:5] or not parts[0].isdecimal():
        place.drop("bad_label_line", "is no 'class x y width height'")
        return None
    label = place.names.get(int(values[0] or 0))
    if label is None:
        place.drop("unknown_class", f"class {parts[0]} has no name in data.yaml")
        return None
    x, y, width, height = (value or 0.0 for value in values[1:5])
    if width < 0 or height < 0:
        place.drop("bad_label_line", "has a negative width or height")
        return None
    score = score_of(parts[5], place.findings, place.where, place.line) if len(parts) == 6 else None
    return Box(label, x - width / 2, y - height / 2, width, height, score)


FORMAT = Format(
    "yolo", "YOLO (Ultralytics) text files, or class folders", write, _place, read,
    needs_size=True, inside=True, single=True, fractions=True,
)  # fmt: skip
