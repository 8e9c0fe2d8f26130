"""Training, validation and test sides, by video. Pure; the same seed gives the same sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

from cloud.dataset.entries import Entry
from cloud.dataset.findings import Finding
from cloud.dataset.select import digest
from cloud.labeling.labels import Split
from cloud.words import counted
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
    what one class has too much on a side, each of the next makes up for by half a group at most. A group that is added
    moves few others: those at a cut. The first group of each class is for training when training has a share: what is
    not trained cannot be found. Of the others, a side that is asked for gets one when there are enough of them. So each
    side is within about one group of its share where classes have groups enough.
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
        low = _nearest(before, first, over_first, 1 if first else 0)
        high = _nearest(before, first + second, over_second, low) if second else low
        over_first += before[low] - first * before[-1]
        over_second += before[high] - (first + second) * before[-1]
        for side, part in zip(SIDES, (row[:low], row[low:high], row[high:]), strict=True):
            sides[side] += part
    if not shares.test:  # rounding must not make a side that nobody asked for
        sides["validation" if shares.validation else "train"] += sides["test"]
        sides["test"] = []
    _fill_empty(sides, shares)
    return {group.name: side for side, members in sides.items() for group in members}


def _nearest(before: Sequence[int], share: float, over: float, least: int) -> int:
    """Where to cut, *least* or later, so that *share* of the class is before the cut; *over* is made up for."""
    most = max(later - former for former, later in pairwise(before)) / 2
    target = share * before[-1] - min(most, max(-most, over))
    return min(range(least, len(before)), key=lambda cut: (abs(before[cut] - target), cut))


def _fill_empty(sides: Mapping[Split, list[Group]], shares: Shares) -> None:
    """Give each empty side a group that its own side can spare: not its last, nor the last of a class in training."""
    for side, share in zip(SIDES, shares.of_one, strict=True):
        if not share or sides[side]:
            continue
        trained = Counter(group.tag for group in sides["train"])
        spare = {
            donor: [group for group in members if donor != "train" or trained[group.tag] > 1]
            for donor, members in sides.items()
            if len(members) > 1
        }
        donor = max(spare, key=lambda other: len(spare[other]), default=side)
        if spare.get(donor):
            given = min(spare[donor], key=lambda group: (group.size, group.name))
            sides[donor].remove(given)
            sides[side].append(given)


def lacking(entries: Iterable[Entry], sides: Mapping[str, Split], shares: Shares) -> list[Finding]:
    """What is to be told of sides that are asked for: which have nothing at all, or nothing of a class."""
    videos: dict[str, set[str]] = {}
    there: set[tuple[Split, str]] = set()
    for entry in entries:
        videos.setdefault(entry.tag, set()).add(entry.group)
        there.add((sides[entry.group], entry.tag))
    found: list[Finding] = []
    for side in (side for side, share in zip(SIDES, shares.of_one, strict=True) if share):
        lacks = [tag for tag in sorted(videos) if (side, tag) not in there]
        if videos and len(lacks) == len(videos):
            first = ", and the first of each class is for training" if shares.train else ""
            fix = f"record more videos of a class, or give {side} a share of 0"
            found.append(Finding("empty_side", side, None, f"gets no video: there are too few{first}", fix))
            continue
        for tag in lacks:
            name = ascii(tag)[1:-1] or "unknown"
            what = f"has nothing of class {name}, which has {counted(len(videos[tag]), 'video')}"
            found.append(Finding("side_lacks_class", side, None, what, "record more videos of it"))
    return found
