"""What `edge-cloud label review` says, line by line. All pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from cloud.dataset.findings import Finding, Findings
from cloud.labeling.filtering import BINS, ClassConfidences
from cloud.labeling.output import State
from cloud.labeling.overlap import Agreement
from cloud.labeling.review_pass import Judged, Measured, Task
from cloud.labeling.review_sheets import MOST_CLASSES
from cloud.words import counted, quoted

_BAR = 40  # characters of the longest bar
_UNUSABLE = ("broken_json", "not_utf8", "no_object", "no_source", "line_too_long")


@dataclass(slots=True)
class Notes:
    """What judging the lines brought to light, counted and the first ones kept."""

    unlabelled: Findings = field(default_factory=Findings)
    suspicious: Findings = field(default_factory=Findings)
    disagreements: Findings = field(default_factory=Findings)
    left_out: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0

    def add(self, judged: Judged) -> None:
        line = judged.record.line
        if judged.record.state is State.UNLABELLED:
            what = "came back without a label"
            self.unlabelled.add(Finding("unlabelled_line", line.where, line.number, what))
        for suspect in judged.suspected:
            self.suspicious.add(Finding(f"{suspect.why}_box", line.where, line.number, suspect.text))
        for found in judged.differences:
            self.disagreements.add(Finding(f"{found.change}_label", line.where, line.number, found.text))
        if judged.cleaned.left_out:
            self.left_out[_reason(judged.cleaned.left_out)] += 1
        else:
            self.kept += 1
            self.dropped.update(judged.cleaned.dropped)


def _reason(text: str) -> str:
    """Duplicates are one reason, whatever line they repeat."""
    return "duplicate of an earlier line" if text.startswith("duplicate of line") else text


def overview(task: Task, measured: Measured) -> Iterator[str]:
    """The manifest as a whole: lines by what came back, classes with confidences, verdicts, adjustments."""
    states = measured.states
    parts = [f"{states[State.LABELLED]:,} labelled ({measured.empty:,} with nothing in the picture)"]
    parts += [f"{states[state]:,} {state}" for state in State if state is not State.LABELLED]
    name = f"labels {quoted(task.choice.attribute)}" if task.choice.attribute else "no labels"
    yield f"{name}: {states.total():,} lines, {', '.join(parts)}"
    for label in measured.classes[:MOST_CLASSES]:
        yield from _class(label, measured.lines[label], measured.confidences.by_class[label])
    if (more := len(measured.classes) - MOST_CLASSES) > 0:
        yield f"… and {more} more classes"
    whole = measured.confidences.summed()
    if whole.count - whole.none > 1 and whole.low == whole.high:
        yield f"all confidences are {whole.low:g}, as where one worker labels: they say nothing"
    if measured.adjusted:
        yield f"adjusted: {measured.adjusted[True]:,}, left as they were: {measured.adjusted[False]:,}"
    for (attribute, word), number in sorted(measured.verdicts.items()):
        yield f"verified as {quoted(word)} by {quoted(attribute)}: {number:,}"


def _class(label: str, lines: int, found: ClassConfidences) -> Iterator[str]:
    known = found.count - found.none
    sure = f", confidence {found.low:g} to {found.high:g}" if known else ", no confidence"
    sure = f", confidence {found.low:g}" if known and found.low == found.high else sure
    partly = f", {found.none:,} without" if known and found.none else ""
    yield f"class {quoted(label)}: {found.count:,} in {lines:,} pictures{sure}{partly}"
    if known and found.low != found.high:
        most = max(found.bins)
        for number, count in enumerate(found.bins):
            if count:
                bar = "#" * max(1, round(_BAR * count / most))
                yield f"  {number / BINS:.2f}-{(number + 1) / BINS:.2f} {bar} {count:,}"


def agreement_lines(agreement: Agreement, former: str, later: str) -> Iterator[str]:
    """How far the two attributes agree, by class; over the pictures that both have labelled."""
    yield f"{quoted(later)} against {quoted(former)}: {agreement.pictures:,} pictures have both"
    for label, found in sorted(agreement.by_class.items()):
        mean = f"mean IoU {found.mean:.3f} of {found.pairs:,} pairs" if found.mean is not None else "no pairs"
        changes = ", ".join(f"{number:,} {change}" for change, number in sorted(found.changes.items()))
        yield f"  {quoted(label)}: {mean}" + (f"; {changes}" if changes else "; no difference")


def listed(title: str, found: Findings) -> Iterator[str]:
    """*found* under a heading that counts by kind; nothing where there is nothing."""
    if found.total:
        kinds = ", ".join(f"{number:,} {code.partition('_')[0]}" for code, number in found.counts.most_common())
        yield f"{title}: {kinds}"
        yield from (f"  {line}" for line in found.lines())


def outcome(notes: Notes, findings: Findings) -> Iterator[str]:
    """What a clean manifest leaves out, by reason; *findings* count the lines that are none of a manifest."""
    for why, number in notes.left_out.most_common():
        yield f"left out: {counted(number, 'line')}, {why}"
    for code in _UNUSABLE:
        if number := findings.counts[code]:
            yield f"left out: {counted(number, 'line')}, {code.replace('_', ' ')}"
    for why, number in notes.dropped.most_common():
        yield f"left out: {counted(number, 'label')} of lines that are kept, {why}"
