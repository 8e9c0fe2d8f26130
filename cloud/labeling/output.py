"""Reading labels back: output manifests of Ground Truth jobs, and of chains of them, line by line.

Shapes as the service documents them ("Labeling job output data"): the label stands under the job's label attribute,
what is known of it under ``<attribute>-metadata``, whose ``type`` says of which kind it is. A line nobody labelled
comes back as it went in; a line the job failed on has metadata with a ``failure-reason`` and no label. A chained job
adds its attribute behind the former one. :func:`survey` says which attributes there are, :func:`choose` picks one,
:func:`read_labels` reads it; ``augmented.to_line`` is the way back.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.dataset.findings import Findings
from cloud.dataset.lines import REFERENCE, Line, is_attribute_metadata, read_lines
from cloud.labeling.labels import Example, ImageLabel
from cloud.labeling.shapes import Reader
from cloud.words import plain, quoted
from edge_agent.errors import ConfigInvalid
from edge_agent.segment import DEFAULT_FIELDS

METADATA, FAILURE = "-metadata", "failure-reason"
_TYPE_HEAD = "groundtruth/"


class Kind(enum.StrEnum):
    """Of which kind the labels under an attribute are, as the ``type`` of their metadata says."""

    BOXES = "groundtruth/object-detection"
    CLASS = "groundtruth/image-classification"
    CLASSES = "groundtruth/image-classification-multilabel"
    VERIFICATION = "groundtruth/label-verification"
    OTHER = "other"
    """Semantic segmentation, text, video, custom jobs: passed through, never read."""


class State(enum.StrEnum):
    """What came back for a line."""

    LABELLED = "labelled"
    """Somebody looked; there may be nothing in the picture."""
    UNLABELLED = "unlabelled"
    """Nobody looked: the line is as it went in."""
    FAILED = "failed"
    UNREADABLE = "unreadable"
    """There are labels, and none that this project can read; a finding says which."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What the workers of a verification job said of the labels before it."""

    attribute: str
    word: str
    confidence: float | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A line, and what it says under the chosen attribute (None: the manifest has none).

    ``adjusted``: whether an adjustment job changed the labels it was given, None where none ran. ``failure`` is the
    service's reason where ``state`` is FAILED. ``dropped`` counts labels that could not be read, beside those that
    were. ``example.extra`` holds every field of the line but its source and class fields, labels and their metadata
    included, in the order of the line.
    """

    line: Line
    attribute: str | None
    kind: Kind
    state: State
    example: Example
    adjusted: bool | None = None
    failure: str = ""
    verifications: tuple[Verification, ...] = ()
    dropped: int = 0


@dataclass(slots=True)
class Seen:
    """How a label attribute was met in a manifest. ``kind`` is that of its first label; ``newest`` is ISO 8601."""

    kind: Kind = Kind.OTHER
    lines: int = 0
    failed: int = 0
    newest: str = ""
    place: int = 0


@dataclass(slots=True)
class Survey:
    """The label attributes of a manifest and how many usable lines it has."""

    where: str
    lines: int = 0
    attributes: dict[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """The attribute to read, None where the manifest has no labels; ``said`` tells a person how it was chosen."""

    attribute: str | None
    kind: Kind
    said: str = ""


def survey(path: Path, where: str | None = None) -> Survey:
    """Which label attributes the manifest *path* has; one pass, memory grows with the attributes alone.

    What is wrong with lines is not told here but by :func:`read_labels`. Raises ConfigInvalid when it cannot be read.
    """
    found = Survey(where or str(path))
    for line in read_lines(path, Findings(), where):
        found.lines += 1
        for place, name in enumerate(label_attributes(line.fields)):
            seen = found.attributes.setdefault(name, Seen())
            metadata = line.fields[name + METADATA]
            seen.lines += 1
            seen.failed += FAILURE in metadata
            seen.place = max(seen.place, place)
            if seen.kind is Kind.OTHER:
                seen.kind = kind_of(metadata)
            if isinstance(date := metadata.get("creation-date"), str):
                seen.newest = max(seen.newest, date)
    return found


def label_attributes(fields: Mapping[str, Any]) -> Iterator[str]:
    """The label attributes of a line, in its order: those whose metadata has a type of the service or a failure."""
    for key, metadata in fields.items():
        if is_attribute_metadata(key) and isinstance(metadata, dict):
            kind = metadata.get("type")
            if FAILURE in metadata or (isinstance(kind, str) and kind.startswith(_TYPE_HEAD)):
                yield key.removesuffix(METADATA)


def kind_of(metadata: Mapping[str, Any]) -> Kind:
    """The kind that *metadata* of a label names; OTHER for what is not read here."""
    kind = metadata.get("type")
    return Kind(kind) if isinstance(kind, str) and kind in _KINDS else Kind.OTHER


_KINDS = frozenset(kind.value for kind in Kind) - {Kind.OTHER.value}


def choose(found: Survey, wanted: str | None = None) -> Choice:
    """*wanted*, or else the last attribute of the chain: the newest labels that are no verification of others.

    Raises ConfigInvalid when the manifest has no attribute *wanted*.
    """
    names = ", ".join(quoted(name) for name in found.attributes)
    if wanted is not None:
        if wanted not in found.attributes:
            fix = f"it has {names}" if names else "it has no label attribute at all"
            raise ConfigInvalid(f"has no label attribute {quoted(wanted)}", where=found.where, fix=fix)
        return Choice(wanted, found.attributes[wanted].kind)
    if not found.attributes:
        return Choice(None, Kind.OTHER, "no line carries labels")

    def rank(name: str) -> tuple[bool, bool, str, int]:
        seen = found.attributes[name]
        readable = seen.kind not in (Kind.OTHER, Kind.VERIFICATION)
        return readable, seen.kind is Kind.VERIFICATION, seen.newest, seen.place

    name = max(found.attributes, key=rank)
    said = (
        f"label attributes {names}; the last of the chain is read: {quoted(name)}" if len(found.attributes) > 1 else ""
    )
    return Choice(name, found.attributes[name].kind, said)


def read_labels(
    path: Path,
    choice: Choice,
    findings: Findings,
    where: str | None = None,
    fields: Sequence[str] = DEFAULT_FIELDS,
) -> Iterator[Record]:
    """Every usable line of the manifest *path* with its labels under the chosen attribute, in order, streaming.

    *fields* are the class fields of the project. Findings: those of ``lines.read_lines``; ``unknown_type``,
    ``bad_labels`` (the line is UNREADABLE); ``bad_box`` (dropped; UNREADABLE when no label is left, which would say
    that there is nothing in the picture); ``unknown_class``, ``bad_confidence``, ``bad_image_size``,
    ``negative_position`` (kept as far as it goes); ``failed_line``.
    Raises ConfigInvalid when the file cannot be read at all.
    """
    for line in read_lines(path, findings, where):
        yield parse(line, choice, findings, fields)


def parse(line: Line, choice: Choice, findings: Findings, fields: Sequence[str] = DEFAULT_FIELDS) -> Record:
    """What *line* says under the chosen attribute; findings as those of :func:`read_labels`."""
    tag = {name: line.fields[name] for name in fields if isinstance(line.fields.get(name), str)}
    extra = {key: value for key, value in line.fields.items() if key != REFERENCE and key not in tag}
    bare = Example(line.source, tag=tag, extra=extra)
    name = choice.attribute
    metadata = line.fields.get(f"{name}{METADATA}") if name is not None else None
    if name is None or (metadata is None and name not in line.fields):
        return Record(line, name, choice.kind, State.UNLABELLED, bare)
    reader = Reader(line, name, findings)
    if not isinstance(metadata, dict):
        reader.finding("bad_labels", f"{quoted(name)} has no {quoted(name + METADATA)}", "the labels are passed over")
        return Record(line, name, choice.kind, State.UNREADABLE, bare)
    verifications = tuple(_verifications(line, name, findings))
    if FAILURE in metadata:
        reason = str(metadata[FAILURE])
        reader.finding("failed_line", f"labelling failed: {plain(reason)}", "label it again, or leave it out")
        return Record(line, name, choice.kind, State.FAILED, bare, failure=reason, verifications=verifications)
    kind, value = kind_of(metadata), line.fields.get(name)
    status = metadata.get("adjustment-status")
    adjusted = status == "adjusted" if status in ("adjusted", "unadjusted") else None
    example = _example(bare, kind, reader, value, metadata)
    if example is None or (reader.dropped and not example.boxes and not example.labels):
        return Record(line, name, kind, State.UNREADABLE, bare, adjusted, verifications=verifications)
    return Record(line, name, kind, State.LABELLED, example, adjusted, "", verifications, reader.dropped)


def _example(bare: Example, kind: Kind, reader: Reader, value: object, metadata: Mapping[str, Any]) -> Example | None:
    """*bare* with the labels; None, and a finding, for what cannot be read."""
    labels: tuple[ImageLabel, ...] | None = None
    if kind is Kind.BOXES:
        read = reader.boxes(value, metadata)
        if read is None:
            return None
        boxes, (width, height, depth) = read
        return Example(bare.source, width, height, depth, boxes=boxes, tag=bare.tag, extra=bare.extra)
    if kind in (Kind.CLASS, Kind.VERIFICATION):
        labels = reader.one_class(value, metadata)
    elif kind is Kind.CLASSES:
        labels = reader.classes(value, metadata)
    else:
        what = f"labels {quoted(reader.name)} are of type {metadata.get('type')!r:.60}, which is not read here"
        reader.finding("unknown_type", what, "name another attribute, or use the line as it is")
    return None if labels is None else Example(bare.source, labels=labels, tag=bare.tag, extra=bare.extra)


def _verifications(line: Line, chosen: str, findings: Findings) -> Iterator[Verification]:
    for name in label_attributes(line.fields):
        metadata = line.fields[name + METADATA]
        if name == chosen or kind_of(metadata) is not Kind.VERIFICATION or FAILURE in metadata:
            continue
        for label in Reader(line, name, findings).one_class(line.fields.get(name), metadata) or ():
            feedback = metadata.get("worker-feedback")
            notes = feedback if isinstance(feedback, list) else []
            comments = tuple(str(note["comment"]) for note in notes if isinstance(note, dict) and "comment" in note)
            yield Verification(name, label.label, label.confidence, comments)
