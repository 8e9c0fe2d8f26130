"""A manifest's lines become files: shards of what a labelling job takes, and a report that makes them one data set.

The report goes first and comes last: where it stands, all files it names are there with the bytes it says. What an
earlier build left over is deleted, and nothing else; ``NAME.unfinished.json`` names it while the report does not, so
that the next build deletes what one that was cut short could not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cloud.dataset.compose import Composed, Tally, unlabelled
from cloud.dataset.index import JSON
from cloud.dataset.layout import MANIFEST_SUFFIX
from cloud.dataset.manifest import CONTENT_TYPE
from cloud.dataset.places import Place
from cloud.dataset.validate_rules import MAX_ITEMS
from cloud.words import counted

REPORT_SUFFIX, NOTE_SUFFIX = ".report.json", ".unfinished.json"


class ShardFacts(BaseModel):
    """A file of the data set."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    lines: int
    sha256: str


class _Note(BaseModel):
    """The files that may be there when a build is cut short, its own and those of earlier ones."""

    files: tuple[str, ...]


class BuildReport(BaseModel):
    """How a data set was made, and what of: the same inputs and rules give the same bytes, of this report too.

    ``removed`` is by rule; ``usd`` is the price of the labels, ``saved_usd`` of what was removed, at
    ``price_per_label``. Lines that are ``labelled`` cost and save nothing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    name: str
    made_by: str
    inputs: tuple[dict[str, Any], ...]
    rules: dict[str, Any]
    read: int
    restored: int
    removed: dict[str, int]
    findings: dict[str, int]
    lines: int
    labelled: int = 0
    counts: dict[str, dict[str, int]]
    price_per_label: float
    usd: float
    saved_usd: dict[str, float]
    files: tuple[ShardFacts, ...]

    def to_json(self) -> bytes:
        return (json.dumps(self.model_dump(mode="json"), indent=1) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Label:
    """What a report says beside what was counted. ``price`` is USD a label."""

    name: str
    made_by: str
    rules: Mapping[str, Any]
    price: float


def write(directory: Path, name: str, lines: Iterable[str], limit: int = MAX_ITEMS) -> list[ShardFacts]:
    """*lines* as files in *directory*: ``name.manifest``, or ``name-0001.manifest`` and on with *limit* lines each."""
    rest, facts = iter(lines), list[ShardFacts]()
    while first := list(islice(rest, 1)):
        shard = f"{name}-{len(facts) + 1:04d}{MANIFEST_SUFFIX}"
        digest, count = hashlib.sha256(), 0
        with (directory / shard).open("wb") as file:
            for text in chain(first, islice(rest, limit - 1)):
                row = f"{text}\n".encode()
                digest.update(row)
                file.write(row)
                count += 1
        facts.append(ShardFacts(name=shard, lines=count, sha256=digest.hexdigest()))
    if len(facts) == 1:
        only = facts[0].model_copy(update={"name": f"{name}{MANIFEST_SUFFIX}"})
        (directory / facts[0].name).replace(directory / only.name)
        return [only]
    return facts


def publish(
    place: Place, lines: Iterator[str], composed: Composed, label: Label, tally: Tally, strict: bool
) -> BuildReport:
    """Write the data set to *place*, replacing an earlier one of its name; its report.

    Raises FindingsPresent when *strict* and anything is wrong; then, as at any error before all lines were made,
    nothing was touched.
    """
    with TemporaryDirectory(prefix="manifest-") as scratch:
        directory = Path(scratch)
        facts = write(directory, label.name, lines)
        tally.findings.raise_if_strict(strict)
        report = _report(composed, label, tally, facts)
        last, note = f"{label.name}{REPORT_SUFFIX}", f"{label.name}{NOTE_SUFFIX}"
        made = {fact.name for fact in facts}
        may_stand = made | _reported(place.read(last)) | _noted(place.read(note))
        (directory / note).write_text(_Note(files=tuple(sorted(may_stand))).model_dump_json())
        place.write(note, directory / note, JSON)
        place.delete(last)
        for fact in facts:
            place.write(fact.name, directory / fact.name, CONTENT_TYPE)
        for stale in sorted(may_stand - made):
            place.delete(stale)
        (directory / last).write_bytes(report.to_json())
        place.write(last, directory / last, JSON)
        place.delete(note)
    return report


def _reported(document: bytes | None) -> set[str]:
    """The files of an earlier build; none when its report cannot be read: nothing is deleted that may be another's."""
    try:
        found = BuildReport.model_validate_json(document or b"").files
    except ValidationError:
        return set()
    return _usable(fact.name for fact in found)


def _noted(document: bytes | None) -> set[str]:
    """The files that builds which were cut short may have left; as :func:`_reported`."""
    try:
        return _usable(_Note.model_validate_json(document or b"").files)
    except ValidationError:
        return set()


def _usable(names: Iterable[str]) -> set[str]:
    return {name for name in names if "/" not in name and name.endswith(MANIFEST_SUFFIX)}


def _report(composed: Composed, label: Label, tally: Tally, facts: Iterable[ShardFacts]) -> BuildReport:
    removed, lines = dict(sorted(tally.removed.items())), len(composed.entries)
    waiting = unlabelled(composed.entries)
    return BuildReport(
        name=label.name,
        made_by=label.made_by,
        inputs=tuple(dict(one) for one in tally.inputs),
        rules=dict(label.rules),
        read=tally.read,
        restored=tally.restored,
        removed=removed,
        findings=dict(sorted(tally.findings.counts.items())),
        lines=lines,
        labelled=lines - waiting,
        counts=composed.counts(),
        price_per_label=label.price,
        usd=round(waiting * label.price, 6),
        saved_usd={rule: round(tally.spared[rule] * label.price, 6) for rule in removed},
        files=tuple(facts),
    )


def summary(report: BuildReport) -> Iterator[str]:
    """*report* for a person: what is in it, what went and what that saves."""
    labelled = f", {report.labelled:,} of them labelled" if report.labelled else ""
    cost = f"{report.usd:,.2f} USD to label" if report.labelled < report.lines else "nothing to pay for"
    yield f"{counted(report.read, 'line')} read, {report.lines:,} in the manifest{labelled}: {cost}"
    if report.restored:
        yield f"  {report.restored:,} brought back by a reviewer"
    for rule, number in report.removed.items():
        saved = f", {report.saved_usd[rule]:,.2f} USD saved" if report.saved_usd[rule] else ""
        yield f"  {number:,} out: {rule}{saved}"
    for kind, found in report.counts.items():
        if found and list(found) != [""]:
            yield f"{kind}: " + ", ".join(f"{name or 'unknown'} {number:,}" for name, number in found.items())
