"""Training, validation and test sides, by video. Pure; the same seed gives the same sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from cloud.dataset.entries import Entry
from cloud.dataset.select import digest
from cloud.labeling.labels import Split
from edge_agent.errors import ConfigInvalid

SPLIT = "split"
"""The key of a line that names its side. Labelling services hand it on to their output, exporters read it there."""

SIDES: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Shares:
    """How much goes to each side, in relation to each other."""

    train: float
    validation: float
    test: float

    @classmethod
    def parse(cls, text: str) -> Shares:
        """From ``80/10/10``. Raises ConfigInvalid."""
        try:
            shares = [float(part) for part in text.split("/")]
        except ValueError:
            shares = []
        if len(shares) != len(SIDES) or not all(0 <= share < 1e9 for share in shares) or not sum(shares):
            raise ConfigInvalid(
                f"--split: {ascii(text)[:80]} is no training/validation/test",
                fix="write three shares, for instance 80/10/10",
            )
        return cls(*shares)

    @property
    def of_one(self) -> tuple[float, float, float]:
        whole = self.train + self.validation + self.test
        return self.train / whole, self.validation / whole, self.test / whole


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that must stay together: how many, and the class of most of them."""

    name: str
    size: int
    tag: str


def groups_of(entries: Iterable[Entry]) -> list[Group]:
    tags: dict[str, Counter[str]] = {}
    for entry in entries:
        tags.setdefault(entry.group, Counter())[entry.tag] += 1
    return [Group(name, found.total(), min(found, key=lambda tag: (-found[tag], tag))) for name, found in tags.items()]


def split(groups: Iterable[Group], shares: Shares, seed: int) -> dict[str, Split]:
    """The side of each group, by name.

    Class after class, groups stand in an order that only the seed chose, and are cut where the shares are met best;
    what one class has too much on a side, the next makes up for. So each side is within about one group of its share,
    and a group that is added moves few others: those at a cut. A side that is asked for gets a group when there are
    enough of them.
    """
    classes: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: (digest(seed, group.name), group.name)):
        classes.setdefault(group.tag, []).append(group)
    first, second, _ = shares.of_one
    over_first = over_second = 0.0  # pictures before the cuts so far, less what should be there
    sides: dict[Split, list[Group]] = {side: [] for side in SIDES}
    for tag in sorted(classes):
        row = classes[tag]
        before = [0]
        for group in row:
            before.append(before[-1] + group.size)
        low = _nearest(before, first * before[-1] - over_first, 0)
        high = _nearest(before, (first + second) * before[-1] - over_second, low) if second else low
        over_first += before[low] - first * before[-1]
        over_second += before[high] - (first + second) * before[-1]
        for side, part in zip(SIDES, (row[:low], row[low:high], row[high:]), strict=True):
            sides[side] += part
    if not shares.test:  # rounding must not make a side that nobody asked for
        sides["validation" if shares.validation else "train"] += sides["test"]
        sides["test"] = []
    _fill_empty(sides, shares)
    return {group.name: side for side, members in sides.items() for group in members}


def _nearest(before: Sequence[int], target: float, least: int) -> int:
    return min(range(least, len(before)), key=lambda cut: (abs(before[cut] - target), cut))


def _fill_empty(sides: Mapping[Split, list[Group]], shares: Shares) -> None:
    for side, share in zip(SIDES, shares.of_one, strict=True):
        donor = max(SIDES, key=lambda other: len(sides[other]))
        if share and not sides[side] and len(sides[donor]) > 1:
            given = min(sides[donor], key=lambda group: (group.size, group.name))
            sides[donor].remove(given)
            sides[side].append(given)


def lacking(entries: Iterable[Entry], sides: Mapping[str, Split], shares: Shares) -> list[tuple[Split, str]]:
    """Which sides that are asked for have nothing of which class."""
    tags: dict[str, None] = {}
    there: set[tuple[Split, str]] = set()
    for entry in entries:
        tags[entry.tag] = None
        there.add((sides[entry.group], entry.tag))
    wanted = [side for side, share in zip(SIDES, shares.of_one, strict=True) if share]
    return [(side, tag) for side in wanted for tag in sorted(tags) if (side, tag) not in there]
