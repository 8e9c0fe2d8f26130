"""The export of a label tool, read back onto the manifest it was made from: an output manifest, as a job's would be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line, local_copy, read_lines
from cloud.dataset.whole import whole
from cloud.labeling.augmented import to_line
from cloud.labeling.export_import import cleaned
from cloud.labeling.fetch import Tally, compare, publish
from cloud.labeling.formats.base import Found, size_of
from cloud.labeling.formats.registry import Readable, format_of
from cloud.labeling.job import check_attribute
from cloud.labeling.labels import Example
from cloud.labeling.output import METADATA, Choice, Kind, parse
from cloud.labeling.picture_names import named
from cloud.words import quoted
from edge_agent.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Origin:
    """What stands in the metadata of each label: which job, of which tool, and when it was read."""

    job: str
    attribute: str
    at: datetime

    def metadata(self, kind: Kind) -> dict[str, str]:
        moment = self.at.replace(tzinfo=None).isoformat(
            timespec="microseconds"
        )  # UTC without saying so, as the service
        return {"type": kind.value, "job-name": self.job, "human-annotated": "yes", "creation-date": moment}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the tool exported, by source and by picture's name; ``kind`` is that of all of it, ``ids`` of its classes.

    A name that several pictures have is None there: it says nothing.
    """

    by_source: Mapping[str, Example]
    by_name: Mapping[str, Example | None]
    kind: Kind
    ids: Mapping[str, int]

    def of(self, line: Line, name: str) -> Example | None:
        return self.by_source.get(line.source) or self.by_name.get(name)


def read_back(
    tool: str,
    export: Path,
    manifest: str,
    origin: Origin,
    target: str,
    findings: Findings,
    endpoint_url: str | None,
    *,
    strict: bool = False,
) -> tuple[Tally, bool]:
    """Write the lines of *manifest* with what *export* says of them to *target*; as ``fetching.fetch`` does.

    Findings: those of the format's reader and of ``fetch.compare``; ``unknown_picture``, ``class_refused``,
    ``class_beside_boxes`` (dropped), ``two_answers``.
    Raises ConfigInvalid, also when the manifest has the attribute already, FindingsPresent when *strict*, and what
    ``fetch.publish`` and ``whole`` raise.
    """
    try:
        check_attribute(origin.attribute)
    except ValueError as error:
        raise ConfigInvalid(f"--attribute: {error}") from error
    answers = _read(tool, export, findings)
    with local_copy(manifest, endpoint_url) as sent, tempfile.TemporaryDirectory(prefix="label-fetch-") as scratch:
        made = Path(scratch) / "made"
        with whole(made, absent=True) as file:
            used = _write(file, sent, manifest, answers, origin)
        for source in (each for each in answers.by_source if each not in used):
            what = f"{quoted(source)} is no picture of {manifest}"
            findings.add(Finding("unknown_picture", str(export), None, what, "name what was sent", dropped=True))
        tally = compare(sent, made, origin.attribute, findings, (manifest, target))
        findings.raise_if_strict(strict)
        return tally, publish(made, target, endpoint_url)


def _write(file: BinaryIO, sent: Path, where: str, answers: Answers, origin: Origin) -> set[str]:
    """The manifest's lines with their labels; which answers were used. Lines without an answer stay as they are."""
    used: set[str] = set()
    metadata = origin.metadata(answers.kind)
    # What cannot be read was told when it was compared with the export.
    for line, name in named(read_lines(sent, Findings(), where)):
        if origin.attribute in line.fields or origin.attribute + METADATA in line.fields:
            raise ConfigInvalid(
                f"has labels under '{origin.attribute}' already",
                where=f"{where}:{line.number}",
                fix="give another --attribute",
            )
        answer = answers.of(line, name)
        text = line.text
        if answer is not None:
            used.add(answer.source)
            text = _labelled(line, answer, answers, origin.attribute, metadata)
        file.write(f"{text}\n".encode())
    return used


def _labelled(line: Line, answer: Example, answers: Answers, attribute: str, metadata: Mapping[str, str]) -> str:
    answer = _of_kind(answer, answers.kind)
    if answer.boxes is None and answer.labels is None:
        return line.text
    bare = parse(line, Choice(None, Kind.OTHER), Findings(), ()).example
    size = _told_size(line)
    example = replace(
        bare,
        width=answer.width or size[0],
        height=answer.height or size[1],
        boxes=answer.boxes,
        labels=answer.labels,
        extra={**bare.extra, attribute + METADATA: dict(metadata)},
    )
    return to_line(example, attribute, answers.ids, line.fields)


def _of_kind(answer: Example, kind: Kind) -> Example:
    """*answer* with its labels of *kind* alone: None where nobody looked for them, or no class was chosen. Pure."""
    if kind is Kind.BOXES:
        return replace(answer, labels=None, boxes=() if answer.boxes is None and not answer.labels else answer.boxes)
    return replace(answer, boxes=None, labels=answer.labels or (() if kind is Kind.CLASSES else None))


def _told_size(line: Line) -> tuple[int | None, int | None]:
    """The size of the picture by what former labels of the line say; a tool tells none where it drew nothing."""
    for value in line.fields.values():
        sizes = value.get("image_size") if isinstance(value, dict) else None
        first = sizes[0] if isinstance(sizes, list) and sizes else None
        if (
            isinstance(first, dict)
            and (width := size_of(first.get("width")))
            and (height := size_of(first.get("height")))
        ):
            return width, height
    return None, None


def _read(tool: str, export: Path, findings: Findings) -> Answers:
    """All answers of the export, in memory: of a hundred thousand pictures, tens of megabytes."""
    reader = format_of(Readable(tool)).read
    if reader is None:
        raise ConfigInvalid(f"{tool} cannot be read")
    by_source: dict[str, Found] = {}
    by_name: dict[str, Example | None] = {}
    for found in reader(export, findings):
        example, name = cleaned(found, findings), found.picture.rpartition("/")[2]
        if example is None or (example.boxes is None and example.labels is None):
            continue
        if example.source in by_source:
            what = f"{quoted(example.source)} has two answers; the last one is taken"
            findings.add(Finding("two_answers", found.where, found.line, what))
        known = by_name.get(name, example)
        by_name[name] = example if known is not None and known.source == example.source else None
        by_source[example.source] = replace(found, example=example)
    answers = {source: found.example for source, found in by_source.items()}
    kind = _kind(list(answers.values()))
    for found in by_source.values() if kind is Kind.BOXES else ():
        for label in found.example.labels or ():
            what = f"{quoted(found.example.source)} has the class {quoted(label.label)}, other pictures have boxes"
            fix = "export what has classes by itself"
            findings.add(Finding("class_beside_boxes", found.where, found.line, what, fix, dropped=True))
    names = sorted(set(_classes(answers.values(), kind)))
    return Answers(answers, by_name, kind, {name: index for index, name in enumerate(names)})


def _kind(examples: list[Example]) -> Kind:
    """Boxes unless there are only classes of pictures; several classes as soon as one picture has two."""
    if any(example.boxes for example in examples) or not any(example.labels for example in examples):
        return Kind.BOXES
    return Kind.CLASSES if any(len(example.labels or ()) > 1 for example in examples) else Kind.CLASS


def _classes(examples: Iterable[Example], kind: Kind) -> Iterator[str]:
    for example in examples:
        yield from (each.label for each in (example.boxes if kind is Kind.BOXES else example.labels) or ())
