"""From entries to the lines of a manifest: what building and merging do alike. Pure, but for what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from cloud.dataset.entries import Entry, text_of
from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line
from cloud.dataset.select import Axis, choose
from cloud.dataset.split import SPLIT, Shares, groups_of, lacking, split
from cloud.dataset.validate_rules import LineRules, finding
from cloud.labeling.labels import Split
from cloud.words import counted


@dataclass(frozen=True, slots=True)
class Rules:
    """Which of the lines, and on which side. ``every`` is of each video; the rest as :mod:`cloud.dataset.select`."""

    seed: int = 0
    every: int = 1
    total: int | None = None
    balance: tuple[Axis, ...] = ()
    shares: Shares | None = None


@dataclass(slots=True)
class Tally:
    """What building counts. ``removed`` are lines by rule, ``spared`` those of them that nobody has labelled yet.

    ``restored`` are lines too; ``inputs`` is what was read, by URI.
    """

    findings: Findings = field(default_factory=Findings)
    read: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    spared: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    inputs: list[Mapping[str, object]] = field(default_factory=list)

    def take_out(self, rule: str, before: Sequence[Entry], after: Sequence[Entry]) -> None:
        if len(after) < len(before):
            self.removed[rule] += len(before) - len(after)
            self.spared[rule] += unlabelled(before) - unlabelled(after)


def unlabelled(entries: Iterable[Entry]) -> int:
    """How many of *entries* are still to be labelled, and paid for."""
    return sum(not entry.labelled for entry in entries)


@dataclass(frozen=True, slots=True)
class Composed:
    """The entries of a manifest in their order, and the side of each group when sides were asked for."""

    entries: Sequence[Entry]
    sides: Mapping[str, Split] | None = None

    def side_of(self, entry: Entry) -> Split | None:
        return None if self.sides is None else self.sides[entry.group]

    def counts(self) -> dict[str, dict[str, int]]:
        """Lines by class, camera and side; what nobody told is under an empty name."""
        split_counts = Counter(side for entry in self.entries if (side := self.side_of(entry)) is not None)
        classes, cameras = (Counter(map(by, self.entries)) for by in (lambda e: e.tag, lambda e: e.camera))
        named = {"class": classes, "camera": cameras, "split": split_counts}
        return {name: dict(sorted(found.items())) for name, found in named.items()}


def compose(entries: Iterable[Entry], rules: Rules, tally: Tally) -> Composed:
    """Choose among *entries* and give each video its side."""
    ordered = sorted(entries, key=lambda entry: entry.order)
    chosen = choose(ordered, rules.total, rules.balance, rules.seed)
    tally.take_out("total" if rules.total is not None else "balance", ordered, chosen)
    if rules.total is not None and len(chosen) < rules.total:
        what = f"there are only {len(chosen):,} lines of {rules.total:,}"
        tally.findings.add(Finding("too_few_lines", "total", None, what, "ask for less, or loosen the other rules"))
    if rules.shares is None:
        return Composed(chosen)
    sides = split(groups_of(chosen), rules.shares, rules.seed)
    for lack in lacking(chosen, sides, rules.shares):
        tally.findings.add(lack)
    return Composed(chosen, sides)


def rendered(composed: Composed, where: str, tally: Tally, extra: Sequence[str] = ()) -> Iterator[str]:
    """The text of each line, without line end, with its side; *where* is what findings call the manifest.

    Each line is checked against the rules of the labelling service; what it breaks is found, never left out. So is how
    many lines have not a key in *extra*, which was asked for.
    """
    line_rules, without = LineRules(), Counter[str]()
    for number, entry in enumerate(composed.entries, 1):
        fields: dict[str, Any] = from_json(entry.text)
        side, text = composed.side_of(entry), entry.text
        if side is not None:
            fields = {**fields, SPLIT: side}
            text = text_of(fields)
        without.update(key for key in extra if key not in fields)
        line = Line(number, where, text, fields)
        for fault in line_rules.faults(line):
            tally.findings.add(finding(line, fault))
        yield text
    for key, lines in without.items():
        what = f"{counted(lines, 'line')} of {len(composed.entries):,} without '{key}': it is not known of their videos"
        fix = "name videos as the daemon does, or leave it out of --extra"
        tally.findings.add(Finding("key_not_known", where, None, what, fix))
