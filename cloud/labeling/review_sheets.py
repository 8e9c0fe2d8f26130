"""Labels to look at: contact sheets by class, of what is suspicious and of what two jobs disagree on, a histogram."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.pictures import Pictures
from cloud.dataset.stats_plot import shown
from cloud.labeling.filtering import BINS, Confidences
from cloud.labeling.formats.base import class_folder
from cloud.labeling.output import Record
from cloud.labeling.review_pass import Judge, Judged, Measured, Task, labels_of
from cloud.review.pages_of import Look, pages
from cloud.words import plain, quoted
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK = Look(tile_width=400, columns=4, per_page=24)
"""Larger tiles than those of ``manifest show``: whether a box sits on its object is to be seen."""

MOST_CLASSES = 50
"""Of which sheets and histograms are drawn, the service's own limit of a job; the others are counted."""

_NAMED = 10  # classes in a histogram: more colours are not told apart


@dataclass(frozen=True, slots=True)
class Sheets:
    """Where sheets go, and how many pictures of a class are drawn at most, spread evenly (None: all)."""

    directory: Path
    pictures: Pictures
    per_class: int | None

    def write(self, name: str, title: str, records: Iterable[Record], findings: Findings) -> list[Path]:
        """The pages ``<name>-001.jpg`` …; none when there is no record. Raises ConfigInvalid."""
        made = []
        for page in pages(records, self.pictures, title, findings, LOOK):
            path = self.directory / f"{name}-{page.number:03d}.jpg"
            _store(path, page.jpeg)
            made.append(path)
        return made

    def spread(self, records: Iterable[Record], count: int) -> Iterator[Record]:
        """As many of *count* records as are to be drawn."""
        most = self.per_class or count
        taken = 0
        for number, record in enumerate(records):
            if number * most >= taken * count:
                taken += 1
                yield record


@dataclass(slots=True)
class _Once(Findings):
    """Passes findings on; a picture that several sheets lack is one finding."""

    target: Findings = field(default_factory=Findings)
    _seen: set[tuple[str, int | None]] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        if (finding.code, finding.line) not in self._seen:
            self._seen.add((finding.code, finding.line))
            self.target.add(finding)


def draw_all(judge: Judge, sheets: Sheets) -> list[Path]:
    """Every sheet there is something for; pictures that cannot be shown are findings of the measured manifest."""
    task, measured = judge.task, judge.measured
    findings = _Once(target=measured.findings)
    made = class_sheets(task, measured, sheets, findings)
    made += suspicious_sheets(judge, sheets, findings)
    if task.against is not None:
        made += disagreement_sheets(judge, sheets, findings)
    if any(found.count > found.none for found in measured.confidences.by_class.values()):
        path = sheets.directory / "confidence.png"
        histogram(measured.confidences, f"Confidence of {quoted(task.choice.attribute or '')}", path)
        made.append(path)
    return made


def class_sheets(task: Task, measured: Measured, sheets: Sheets, findings: Findings) -> list[Path]:
    """Sheets of every class, each over one pass of the manifest: memory is that of a page."""
    made = []
    for label in measured.classes[:MOST_CLASSES]:
        records = (
            record for record in task.records(Findings()) if any(one.label == label for one in labels_of(record))
        )
        shown = sheets.spread(records, measured.lines[label])
        name = class_folder(label).replace(" ", ".")  # no other class's name has a dot, see there
        made += sheets.write(f"class-{name}", plain(label, 60), shown, findings)
    return made


def suspicious_sheets(judge: Judge, sheets: Sheets, findings: Findings) -> list[Path]:
    """The suspicious boxes alone, each named with why."""
    records = (_suspicious(one) for one in _all(judge) if one.suspected and one.record.example.boxes)
    return sheets.write("suspicious", "Suspicious boxes", records, findings)


def disagreement_sheets(judge: Judge, sheets: Sheets, findings: Findings) -> list[Path]:
    """The boxes of both jobs where they disagree; those of the former are called so."""
    records = (
        replace(one.record, example=replace(one.record.example, boxes=one.boxes))
        for one in _all(judge)
        if one.differences
    )
    title = f"Where {quoted(judge.task.choice.attribute or '')} disagrees with {quoted(_former_name(judge))}"
    return sheets.write("disagreements", title, records, findings)


def _former_name(judge: Judge) -> str:
    return (judge.task.against.attribute if judge.task.against else None) or ""


def _all(judge: Judge) -> Iterator[Judged]:
    return Judge(judge.task, judge.measured, judge.rules, judge.decisions).all()


def _suspicious(one: Judged) -> Record:
    boxes = one.record.example.boxes or ()
    named = tuple(replace(boxes[found.box], label=f"{found.why}: {boxes[found.box].label}") for found in one.suspected)
    return replace(one.record, example=replace(one.record.example, boxes=named))


def histogram(confidences: Confidences, title: str, path: Path) -> None:
    """The confidences by class as a PNG, stacked. Raises ConfigInvalid."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigInvalid("plots need matplotlib", fix="pip install 'edge-capture[curate]'") from error
    # A class called '$x' is no formula, and what the font lacks is a box, not a warning.
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings(), BytesIO() as file:
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
        _bars(figure.add_subplot(), confidences, title)
        figure.savefig(file, format="png", facecolor="white")
        _store(path, file.getvalue())


def _bars(axes: Axes, confidences: Confidences, title: str) -> None:
    edges = [number / BINS for number in range(BINS)]
    below = [0] * BINS
    ranked = sorted(confidences.by_class.items(), key=lambda entry: (-entry[1].count, entry[0]))
    for label, found in ranked[:_NAMED]:
        name = f" {shown(label, 28)} ({found.count:,})"  # a space first: a legend leaves out what begins with "_"
        axes.bar(edges, found.bins, 0.92 / BINS, below, align="edge", label=name)
        below = [a + b for a, b in zip(below, found.bins, strict=True)]
    if rest := [label for label, _ in ranked[_NAMED:]]:
        summed = confidences.summed(rest)
        axes.bar(edges, summed.bins, 0.92 / BINS, below, align="edge", label=f"{len(rest):,} more", color="#9aa0a6")
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="labels")
    axes.set_title(shown(title, 90), loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    if ranked:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def report_lines(judged: Judged) -> Iterator[str]:
    """All that is to be said of a line, a JSON object each: what the terminal shows only the first of."""
    line = judged.record.line

    def said(kind: str, text: str) -> str:
        return json.dumps({"line": line.number, "source": line.source, "kind": kind, "text": text})

    for suspect in judged.suspected:
        yield said(suspect.why, suspect.text)
    for found in judged.differences:
        yield said(f"disagreement-{found.change.replace(' ', '-')}", found.text)
    if judged.cleaned.left_out:
        yield said("left-out", judged.cleaned.left_out)
    for why, number in judged.cleaned.dropped.items():
        yield said("labels-left-out", f"{number}: {why}")


def _store(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ConfigInvalid(f"cannot be written: {error.strerror}", where=str(path)) from error
