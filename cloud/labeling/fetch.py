"""Bringing labels home: the output manifest held against its input, and put where nothing stands in its way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line, read_lines
from cloud.dataset.manifest import CONTENT_TYPE
from cloud.dataset.places import folder_of
from cloud.labeling.output import Choice, Kind, State, parse
from cloud.words import quoted


@dataclass(slots=True)
class Tally:
    """Lines of an output manifest by what came back; ``missing`` are lines of the input that did not."""

    states: Counter[State] = field(default_factory=Counter)
    missing: int = 0

    @property
    def lines(self) -> int:
        return self.states.total()

    def __str__(self) -> str:
        parts = [f"{self.states[state]:,} {state}" for state in State if self.states[state] or state is State.LABELLED]
        return ", ".join([*parts, *([f"{self.missing:,} missing"] if self.missing else [])])


def compare(source: Path, output: Path, attribute: str, findings: Findings, where: tuple[str, str]) -> Tally:
    """Hold *output* against *source*, the input manifest: every line there exactly once, with a label.

    *where* is what findings call the two. Findings: ``missing_line``, ``unknown_line``, ``repeated_line``,
    ``unlabelled_line``, those of ``output.parse`` (``failed_line`` …) and of reading the two.
    Raises ConfigInvalid when one of them cannot be read.
    """
    wanted: dict[str, list[int]] = {}
    for line in read_lines(source, findings, where[0]):
        wanted.setdefault(_identity(line), []).append(line.number)
    known = set(wanted)
    tally, choice = Tally(), Choice(attribute, Kind.OTHER)
    for line in read_lines(output, findings, where[1]):
        record = parse(line, choice, findings)
        tally.states[record.state] += 1
        if record.state is State.UNLABELLED:
            fix = "label it in a job of its own, or leave it out"
            findings.add(Finding("unlabelled_line", where[1], line.number, f"{_shown(line)} has no label", fix))
        numbers = wanted.get(_identity(line))
        if numbers:
            numbers.pop(0)
        elif _identity(line) in known:
            findings.add(Finding("repeated_line", where[1], line.number, f"{_shown(line)} is there more than once"))
        else:
            findings.add(Finding("unknown_line", where[1], line.number, f"{_shown(line)} was never sent"))
    for identity, numbers in wanted.items():
        for number in numbers:
            tally.missing += 1
            what = f"{quoted(identity)} did not come back"
            findings.add(Finding("missing_line", where[0], number, what, "fetch it again when the job has ended"))
    return tally


def publish(made: Path, location: str, endpoint_url: str | None = None) -> bool:
    """Put the file *made* at *location*, as ``places.folder_of`` has it; False when these very bytes stand there.

    Raises ObjectConflict, never overwriting, when something else does; ConfigInvalid, and what a place raises.
    """
    place, name = folder_of(location, endpoint_url)
    return place.write_new(name, made, CONTENT_TYPE)


def _identity(line: Line) -> str:
    return line.source or str(line.fields.get("source", ""))


def _shown(line: Line) -> str:
    return quoted(_identity(line))
