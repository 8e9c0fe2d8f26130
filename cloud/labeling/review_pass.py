"""Labels under review: what the whole manifest says, measured first, and then a judgement of each line, in its light.

Two passes over the manifest, each streaming: memory grows with classes and repeated lines, not with lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.validate_repeats import Sources
from cloud.labeling.augmented import to_line
from cloud.labeling.checks import Aspects, Suspect, Usual, suspects
from cloud.labeling.filtering import Cleaned, Confidences, Rules, clean, settle
from cloud.labeling.labels import Box, ImageLabel
from cloud.labeling.output import Choice, Kind, Record, State, parse, read_labels
from cloud.labeling.overlap import Agreement, Disagreement
from cloud.review.catalogue import Word
from cloud.words import quoted
from edge_agent.segment import DEFAULT_FIELDS


@dataclass(frozen=True, slots=True)
class Task:
    """What is reviewed: the manifest ``path``, called ``where``, labels of ``choice``, compared with ``against``."""

    path: Path
    where: str
    choice: Choice
    against: Choice | None = None
    fields: Sequence[str] = DEFAULT_FIELDS

    def records(self, findings: Findings) -> Iterator[Record]:
        return read_labels(self.path, self.choice, findings, self.where, self.fields)


@dataclass(slots=True)
class Measured:
    """What the manifest says as a whole. ``empty``: labelled lines with nothing in the picture.

    ``lines`` are labelled lines by class, ``repeats`` those naming the picture of an earlier one, with that one.
    """

    findings: Findings
    states: Counter[State] = field(default_factory=Counter)
    empty: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    confidences: Confidences = field(default_factory=Confidences)
    usual: Mapping[str, Usual] = field(default_factory=dict)
    adjusted: Counter[bool] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeats: Mapping[int, int] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return sorted(self.lines)


def measure(task: Task) -> Measured:
    """The first pass. Findings: those of ``read_labels``, and ``duplicate_line``."""
    found, aspects, sources = Measured(Findings()), Aspects(), Sources()
    for record in task.records(found.findings):
        example = record.example
        found.states[record.state] += 1
        if example.source:
            sources.add(example.source, record.line.number)
        labels = labels_of(record)
        found.confidences.add(labels)
        found.lines.update({label.label for label in labels})
        found.empty += record.state is State.LABELLED and not labels
        aspects.add(example)
        if record.adjusted is not None:
            found.adjusted[record.adjusted] += 1
        for said in record.verifications:
            found.verdicts[said.attribute, said.word] += 1
    found.usual = aspects.usual()
    found.repeats = dict(sources.repeats())
    for number, first in found.repeats.items():
        what = f"names the picture that line {first} names"
        found.findings.add(Finding("duplicate_line", task.where, number, what, "one label a picture is enough"))
    return found


def labels_of(record: Record) -> tuple[Box | ImageLabel, ...]:
    return (*(record.example.boxes or ()), *(record.example.labels or ()))


@dataclass(frozen=True, slots=True)
class Judged:
    """A line with all that is to be said of it. ``former`` is its record under the attribute compared with."""

    record: Record
    suspected: tuple[Suspect, ...]
    cleaned: Cleaned
    former: Record | None = None
    differences: tuple[Disagreement, ...] = ()

    @property
    def iou(self) -> float | None:
        """The least IoU of a box with what it was before; None where nothing was compared or all agree."""
        return min((found.iou or 0.0 for found in self.differences), default=None)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What is to be drawn: the boxes, after those of the former job where the two disagree, which are called so."""
        before = self.former.example.boxes or () if self.former is not None and self.differences else ()
        named = (replace(box, label=f"before: {box.label}") for box in before)
        return (*named, *(self.record.example.boxes or ()))

    def clean_line(self) -> str:
        """The line for a clean manifest, as it stood but for labels that were left out."""
        record = self.cleaned.record
        if not self.cleaned.dropped or record.attribute is None:
            return record.line.text
        return to_line(record.example, record.attribute, order=record.line.fields)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges lines in the light of the whole. ``rules`` are settled ones, ``decisions`` a person's by line number."""

    task: Task
    measured: Measured
    rules: Rules
    decisions: Mapping[int, Word] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)

    def all(self) -> Iterator[Judged]:
        """Every line, in order: the second pass. ``agreement`` sums up what it compares, so once a judge."""
        for record in self.task.records(Findings()):
            yield self.one(record)

    def one(self, record: Record) -> Judged:
        suspected = tuple(suspects(record.example, self.measured.usual))
        decision = self.decisions.get(record.line.number)
        cleaned = clean(record, self.rules, suspected, decision)
        first = self.measured.repeats.get(record.line.number)
        if decision is None and first is not None and not cleaned.left_out:
            cleaned = replace(cleaned, left_out=f"duplicate of line {first}")
        if self.task.against is None:
            return Judged(record, suspected, cleaned)
        former = parse(record.line, self.task.against, Findings(), self.task.fields)
        both = former.state is State.LABELLED and record.state is State.LABELLED
        differences = tuple(self.agreement.add(former.example, record.example)) if both else ()
        return Judged(record, suspected, cleaned, former, differences)


def settled(rules: Rules, measured: Measured) -> tuple[Rules, list[str]]:
    """*rules* with those thresholds that may be used, and what a person must be told of the others."""
    thresholds, told = settle(rules.thresholds, measured.confidences)
    known = {word for _, word in measured.verdicts}
    told += [
        f"--drop-verified {quoted(word)}: no verification job said so{_of(sorted(known))}"
        for word in sorted(rules.verdicts - known)
    ]
    return replace(rules, thresholds=thresholds), told


def _of(words: Sequence[str]) -> str:
    return f", only {', '.join(map(quoted, words))}" if words else ""


def comparable(one: Choice, other: Choice) -> bool:
    """Whether both hold boxes, or both classes."""
    return (one.kind is Kind.BOXES) == (other.kind is Kind.BOXES)
