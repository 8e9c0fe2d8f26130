"""One manifest from several, ours or not: the union of their pictures. The first line of a picture wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic_core import from_json

from cloud.dataset.compose import Composed, Rules, Tally, compose
from cloud.dataset.entries import Entry, Rebase, entry_of, rebased, text_of
from cloud.dataset.findings import Finding
from cloud.dataset.lines import Line
from cloud.dataset.select import is_nth

_METADATA = "-metadata"
SAME, JOINED = "the same picture with nothing new", "joined to the line of the same picture"


@dataclass(frozen=True, slots=True)
class Joined:
    """A line with what a second one of its picture adds. ``clash`` are keys on which they disagree."""

    fields: Mapping[str, Any]
    clash: tuple[str, ...] = ()


def join(first: Mapping[str, Any], second: Mapping[str, Any]) -> Joined:
    """*first* with the keys only *second* has. A label attribute and its metadata come together or not at all. Pure."""
    clash = tuple(key for key in second if key in first and first[key] != second[key])
    bases = {key.removesuffix(_METADATA) for key in clash}
    new = {key: second[key] for key in second if key not in first and key.removesuffix(_METADATA) not in bases}
    return Joined({**first, **new}, clash)


def merge(
    manifests: Iterable[Iterable[Line]],
    rules: Rules,
    rebase: Sequence[Rebase],
    class_fields: Sequence[str],
    tally: Tally,
) -> Composed:
    """The union of *manifests*, then *rules* on it. Lines that disagree are found, the first one's word stands."""
    entries: dict[str, Entry] = {}
    for manifest in manifests:
        for line in manifest:
            tally.read += 1
            fields = rebased(line.fields, rebase)
            entry = entry_of(fields, line.text if fields is line.fields else text_of(fields), class_fields)
            known = entries.get(entry.source)
            if known is None:
                entries[entry.source] = entry
                continue
            entries[entry.source] = joined = _joined(known, fields, line, class_fields, tally)
            tally.take_out(SAME if joined is known else JOINED, [entry], [])
    return compose(_thinned(entries.values(), rules.every, tally), rules, tally)


def _joined(known: Entry, fields: Mapping[str, Any], line: Line, class_fields: Sequence[str], tally: Tally) -> Entry:
    before = from_json(known.text)
    joined = join(before, fields)
    if joined.clash:
        keys = ", ".join(ascii(key)[1:-1] for key in joined.clash)
        what = f"says other than the line of the same picture before it: {keys[:200]}; the first one counts"
        tally.findings.add(Finding("conflict", line.where, line.number, what, "take one of them out", dropped=True))
    if len(joined.fields) == len(before):
        return known
    return entry_of(joined.fields, text_of(joined.fields), class_fields)


def _thinned(entries: Iterable[Entry], every: int, tally: Tally) -> list[Entry]:
    """One in *every* of each video; pictures that are no frames count through their folder."""
    ordered = sorted(entries, key=lambda entry: entry.order)
    if every == 1:
        return ordered
    stays: list[Entry] = []
    for _, group in groupby(ordered, key=lambda entry: entry.video):
        ranks = list(group)
        listed = range(len(ranks))
        stays += [entry for rank, entry in enumerate(ranks) if is_nth(rank, listed, every)]
    tally.take_out(f"not one in {every}", ordered, stays)
    return stays
