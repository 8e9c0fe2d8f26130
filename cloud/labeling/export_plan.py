"""What of a manifest leaves, and as what: decided line by line, and once for the whole before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cloud.dataset.findings import Finding, Findings
from cloud.labeling.formats.base import LONG, SPLITS, Format, Plan, Task, bad_class, clipped
from cloud.labeling.formats.sidecar import tag_label
from cloud.labeling.labels import Box, Example, ImageLabel, Split
from cloud.labeling.output import Choice, Record, State, choose, read_labels, survey
from cloud.words import quoted
from edge_agent.errors import ConfigInvalid

What = Literal["boxes", "labels", "tags"]
"""What is exported: the boxes, the classes of whole pictures, or the class fields as such classes."""

_WORDS = {"boxes": "boxes", "labels": "labels of pictures", "tags": "class fields"}


@dataclass(frozen=True, slots=True)
class Source:
    """A manifest to export: its local copy, what people call it, the attribute to read and the class fields."""

    path: Path
    where: str
    choice: Choice
    fields: Sequence[str]

    @classmethod
    def of(cls, path: Path, where: str, attribute: str | None, fields: Sequence[str]) -> Source:
        """The manifest *path* with its label attribute chosen. Raises ConfigInvalid."""
        return cls(path, where, choose(survey(path, where), attribute), fields)

    def records(self, findings: Findings) -> Iterator[Record]:
        return read_labels(self.path, self.choice, findings, self.where, self.fields)


@dataclass(frozen=True, slots=True)
class Chosen:
    """``plan`` but for the title, what is exported, and whether any line names a split; ``lines`` are usable ones."""

    plan: Plan
    what: What
    has_splits: bool
    lines: int


def make_plan(source: Source, form: Format, what: What | None, *, pictures: bool, title: str) -> Chosen:
    """What is to be exported of *source*: *what*, or boxes where there are any, else labels, else class fields.

    One pass, or two; memory grows with the number of classes alone. Raises ConfigInvalid when there is nothing of the
    kind, or nothing *form* can carry.
    """
    seen = _Seen()
    for record in source.records(Findings()):
        seen.add(record)
    what = what or ("boxes" if seen.boxed else "labels" if seen.classed else "tags")
    classes = sorted({"boxes": seen.boxes, "labels": seen.labels, "tags": seen.tags}[what])
    if not {"boxes": seen.boxed, "labels": seen.classed, "tags": seen.tagged}[what]:
        if not seen.lines:
            raise ConfigInvalid("has no line to export", where=source.where, fix="see it with edge-cloud manifest show")
        fix = "label it first, or give another --what"
        raise ConfigInvalid(f"has no {_WORDS[what]} to export", where=source.where, fix=fix)
    task: Task = "boxes" if what == "boxes" else "labels"
    several = what == "labels" and seen.several
    if task == "labels" and several and form.single:
        what_is = f"has pictures of several classes, which {form.name} class folders cannot hold"
        raise ConfigInvalid(what_is, where=source.where, fix="export coco, voc, cvat, label-studio or huggingface")
    splits = tuple(split for split in SPLITS if split in seen.splits) or ("train",)
    plan = Plan(task, tuple(classes), splits, several, pictures, title)
    return Chosen(plan, what, bool(seen.splits), seen.lines)


class _Seen:
    def __init__(self) -> None:
        self.boxes: set[str] = set()
        self.labels: set[str] = set()
        self.tags: set[str] = set()
        self.splits: set[Split] = set()
        self.lines = 0
        self.boxed = self.classed = self.tagged = self.several = False

    def add(self, record: Record) -> None:
        example = record.example
        self.lines += 1
        self.boxes.update(box.label for box in example.boxes or () if not bad_class(box.label))
        self.labels.update(label.label for label in example.labels or () if not bad_class(label.label))
        self.boxed |= example.boxes is not None
        self.classed |= bool(example.labels)
        self.several |= len(example.labels or ()) > 1
        self.tagged |= bool(example.tag)
        if example.tag and not _bad_tag(example):
            self.tags.add(tag_label(example))
        if (split := split_of(record)) is not None:
            self.splits.add(split)


def split_of(record: Record) -> Split | None:
    """The split the line names under ``split``; None for none, or a word that is none."""
    word = record.line.fields.get("split")
    return LONG.get(word) if isinstance(word, str) else None


def sorted_out(record: Record, chosen: Chosen, findings: Findings) -> Example | None:
    """The example to be exported of *record*, with its split; None, and a finding, for one that is left out. Pure.

    Findings: ``no_picture``, ``unlabelled``, ``bad_labels``, ``no_class``, ``no_split`` (dropped); ``class_refused``
    (the label is; the line, when its class fields are what is exported).
    """
    where, number = record.line.where, record.line.number
    left_out = _why_not(record, chosen)
    if left_out is not None:
        findings.add(Finding(left_out[0], where, number, *left_out[1:], dropped=True))
        return None
    example = replace(record.example, split=split_of(record) or "train")
    if chosen.what == "tags":
        return replace(example, labels=(ImageLabel(tag_label(example)),), boxes=None)
    for label in _wanted(example, chosen) or ():
        if why := bad_class(label.label):
            what = f"class {quoted(label.label)} {why}; its label is left out"
            findings.add(Finding("class_refused", where, number, what, "rename the class", dropped=True))
    boxes = tuple(box for box in example.boxes or () if not bad_class(box.label))
    labels = tuple(label for label in example.labels or () if not bad_class(label.label))
    if _wanted(example, chosen) and not (boxes if chosen.what == "boxes" else labels):
        what = "has no label left: exported, it would say that nothing is in the picture"
        findings.add(Finding("bad_labels", where, number, what, "rename the classes", dropped=True))
        return None
    return replace(example, boxes=boxes) if chosen.what == "boxes" else replace(example, labels=labels)


def _wanted(example: Example, chosen: Chosen) -> tuple[Box | ImageLabel, ...] | None:
    return example.boxes if chosen.what == "boxes" else example.labels


def _why_not(record: Record, chosen: Chosen) -> tuple[str, str, str] | None:
    """Code, what and fix of the finding on a line that cannot be exported; None for one that can."""
    if not record.example.source:
        return "no_picture", "has a text, not a picture", "give it to a tool for texts"
    if chosen.has_splits and split_of(record) is None:
        return "no_split", "has no split, where other lines have one", "build the manifest with a split"
    if chosen.what == "tags":
        if why := _bad_tag(record.example):
            return "class_refused", why, "rename the class"
        return None if record.example.tag else ("no_class", "has no class fields", "name them with --fields")
    if record.state is State.UNREADABLE:
        return "bad_labels", "has labels, and none that can be read", "look at it with edge-cloud label review"
    labelled = _wanted(record.example, chosen) is not None
    return None if labelled else ("unlabelled", f"has no {chosen.what}: nobody labelled it", "have it labelled")


def _bad_tag(example: Example) -> str:
    """Why the class fields make no class; "" when they do."""
    whys = ((name, bad_class(value)) for name, value in example.tag.items())
    return next((f"class field {quoted(name)} {why}" for name, why in whys if why), "")


def fitted(record: Record, example: Example, form: Format, findings: Findings) -> Example:
    """*example* with boxes as *form* takes them: what sticks out of the picture is reported, clipped where it must be.

    Findings: ``box_outside`` (kept as it is), ``box_clipped``, ``box_lost`` (nothing of it is in the picture; dropped).
    """
    if not example.boxes or example.width is None or example.height is None:
        return example
    kept = []
    for box in example.boxes:
        inside = clipped(box, example.width, example.height)
        if inside == box:
            kept.append(box)
            continue
        place = f"box {box.left:g},{box.top:g} {box.width:g}x{box.height:g}"
        size = f"a picture of {example.width}x{example.height}"
        code, said, dropped = "box_outside", f"{place} leaves {size}; kept as it is", False
        if not form.inside:
            kept.append(box)
        elif inside is None:
            code, said, dropped = "box_lost", f"{place} has no part in {size}; left out", True
        else:
            code, said = "box_clipped", f"{place} leaves {size}; clipped, as {form.name} demands"
            kept.append(inside)
        fix = "look at it with edge-cloud label review"
        findings.add(Finding(code, record.line.where, record.line.number, said, fix, dropped))
    return replace(example, boxes=tuple(kept))
