"""How much boxes agree: intersection over union, matching, and what two jobs on the same pictures say of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cloud.labeling.labels import Box, Example
from cloud.words import quoted

AGREES = 0.5
"""From this IoU on two boxes mean the same object: the threshold of PASCAL VOC, which detectors are measured with."""

MOST = 1000
"""Boxes of a picture that are compared; with more the square of their number takes minutes."""

Change = Literal["moved", "class changed", "gone", "added", "uncompared"]


def iou(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1. Boxes without area: 1 where they are the same rectangle, else 0."""
    if (one.left, one.top, one.width, one.height) == (other.left, other.top, other.width, other.height):
        return 1.0
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if across <= 0 or down <= 0:
        return 0.0
    common = across * down
    union = one.width * one.height + other.width * other.height - common
    return min(1.0, common / union) if union > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two boxes taken for the same object: their places in the two sequences, and their IoU, which is over 0."""

    one: int
    other: int
    iou: float


def match(ones: Sequence[Box], others: Sequence[Box]) -> list[Pair]:
    """Pairs of boxes, each box in one at most: greedily, the largest IoU first, whatever the classes.

    Of equal IoU a pair of one class comes first, then that of the earlier boxes. Not the assignment of the largest sum
    (that of the Hungarian method), but what a person would pair: the two that lie best on each other.
    """
    pairs = [
        Pair(i, j, overlap)
        for i, one in enumerate(ones)
        for j, other in enumerate(others)
        if (overlap := iou(one, other)) > 0
    ]
    pairs.sort(key=lambda pair: (-pair.iou, ones[pair.one].label != others[pair.other].label, pair.one, pair.other))
    used_ones, used_others, taken = set[int](), set[int](), list[Pair]()
    for pair in pairs:
        if pair.one not in used_ones and pair.other not in used_others:
            used_ones.add(pair.one)
            used_others.add(pair.other)
            taken.append(pair)
    return taken


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What differs in a picture: ``text`` is for a person, ``iou`` is there for ``moved`` boxes."""

    change: Change
    text: str
    iou: float | None = None


@dataclass(slots=True)
class ClassAgreement:
    """Of one class, that of the former job: ``pairs`` boxes that overlap one of the later job, ``total`` IoU."""

    pairs: int = 0
    total: float = 0.0
    changes: Counter[Change] = field(default_factory=Counter)

    @property
    def mean(self) -> float | None:
        """The mean IoU of the pairs; None when there are none."""
        return self.total / self.pairs if self.pairs else None


@dataclass(slots=True)
class Agreement:
    """Sums over the pictures of a manifest how far two label attributes agree, by class."""

    pictures: int = 0
    by_class: dict[str, ClassAgreement] = field(default_factory=dict)

    def add(self, former: Example, later: Example) -> Iterator[Disagreement]:
        """Count the picture's labels; what differs, which is all to be taken. Both must be labelled."""
        self.pictures += 1
        if former.boxes is not None and later.boxes is not None:
            yield from self._boxes(former.boxes, later.boxes)
        names = {label.label for label in former.labels or ()}, {label.label for label in later.labels or ()}
        if former.labels is not None and later.labels is not None:
            for name in sorted(names[0] & names[1]):
                self._of(name).pairs += 1
                self._of(name).total += 1
            for name in sorted(names[0] - names[1]):
                yield self._count(name, Disagreement("gone", f"class {quoted(name)} is gone"))
            for name in sorted(names[1] - names[0]):
                yield self._count(name, Disagreement("added", f"class {quoted(name)} is new"))

    def _boxes(self, former: Sequence[Box], later: Sequence[Box]) -> Iterator[Disagreement]:
        if max(len(former), len(later)) > MOST:
            text = f"{len(former)} and {len(later)} boxes in one picture are too many to be compared"
            yield self._count((former or later)[0].label, Disagreement("uncompared", text))
            return
        pairs = match(former, later)
        for pair in sorted(pairs, key=lambda pair: pair.one):
            old, new = former[pair.one], later[pair.other]
            known = self._of(old.label)
            known.pairs += 1
            known.total += pair.iou
            if old.label != new.label:
                text = f"{quoted(old.label)} became {quoted(new.label)}, IoU {pair.iou:.2f}"
                yield self._count(old.label, Disagreement("class changed", text, pair.iou))
            elif pair.iou < AGREES:
                text = f"{quoted(old.label)} {_place(old)} moved to {_place(new)}, IoU {pair.iou:.2f}"
                yield self._count(old.label, Disagreement("moved", text, pair.iou))
        for number in sorted(set(range(len(former))) - {pair.one for pair in pairs}):
            box = former[number]
            yield self._count(box.label, Disagreement("gone", f"{quoted(box.label)} {_place(box)} is gone"))
        for number in sorted(set(range(len(later))) - {pair.other for pair in pairs}):
            box = later[number]
            yield self._count(box.label, Disagreement("added", f"{quoted(box.label)} {_place(box)} is new"))

    def _count(self, label: str, found: Disagreement) -> Disagreement:
        self._of(label).changes[found.change] += 1
        return found

    def _of(self, label: str) -> ClassAgreement:
        return self.by_class.setdefault(label, ClassAgreement())


def _place(box: Box) -> str:
    return f"{box.width:g}x{box.height:g} at {box.left:g},{box.top:g}"
