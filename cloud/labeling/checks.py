"""Boxes that a person should look at: what workers draw by a slip of the hand. All pure; nothing is decided here."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cloud.labeling.formats.base import clipped
from cloud.labeling.labels import Box, Example
from cloud.labeling.overlap import iou
from cloud.words import quoted

DETECTOR_SIDE, CELL = 640, 8
"""Pixels: the longer side that common detectors shrink pictures to, and a cell of their finest map (stride 8). A box
that is narrower than a cell then has no cell of its own, and 3 x 3 pixels of a slipped click are far below."""

OUTSIDE = 1.0
"""Pixels by which a box may leave the picture: what rounding of drawn coordinates gives."""

DUPLICATE = 0.8
"""IoU of two boxes of one class in a picture that are one object drawn twice. Detectors' own suppression begins at 0.5
to 0.7, where real objects still stand before each other."""

WHOLE = 0.95
"""Part of the picture's area: a box drawn to say "somewhere in here"."""

OUTLIER, LEAST_BOXES, LEAST_SPREAD = 3.5, 30, 0.1
"""The modified z-score that Iglewicz and Hoaglin (1993) call an outlier, of the logarithm of width by height; below 30
boxes of a class the median says little. The spread is taken to be 10 % at least, or equal boxes would make every other
one an outlier."""

CROWDED = 1000
"""Boxes in one picture, of which nobody draws so many: they are not compared with each other, which takes the square
of their number."""

_BIN = 0.01  # of the logarithm: 1 % of the ratio


class Suspicion(enum.StrEnum):
    """Why a box is suspicious."""

    TINY = "tiny"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"
    WHOLE = "whole"
    ASPECT = "aspect"
    CROWDED = "crowded"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspicious box: its place among the boxes of its picture, why, and in words."""

    box: int
    why: Suspicion
    text: str


@dataclass(frozen=True, slots=True)
class Usual:
    """What width by height is usual for a class: median and spread of the logarithm."""

    median: float
    spread: float

    def score(self, box: Box) -> float:
        """The modified z-score of *box*, which has an area."""
        return 0.6745 * abs(math.log(box.width / box.height) - self.median) / self.spread


@dataclass(slots=True)
class Aspects:
    """Counts the boxes' aspects by class, in bounded memory: a histogram of 1 % steps. ``usual()`` when all are in."""

    _bins: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """Boxes at an edge are left out: what the picture cuts off has any aspect."""
        for box in example.boxes or ():
            if box.width > 0 and box.height > 0 and not at_edge(box, example):
                place = round(math.log(box.width / box.height) / _BIN)
                self._bins.setdefault(box.label, Counter())[place] += 1

    def usual(self) -> dict[str, Usual]:
        """By class; classes with too few boxes are not in it."""
        found = {}
        for label, bins in self._bins.items():
            if bins.total() >= LEAST_BOXES:
                median = _median(bins)
                away = Counter[int]()
                for place, number in bins.items():
                    away[abs(place - median)] += number
                found[label] = Usual(median * _BIN, max(_median(away) * _BIN, LEAST_SPREAD))
        return found


def _median(bins: Counter[int]) -> int:
    """The lower median of what *bins* count."""
    half, seen = (bins.total() + 1) // 2, 0
    for place in sorted(bins):
        seen += bins[place]
        if seen >= half:
            return place
    raise ValueError("nothing was counted")


def at_edge(box: Box, example: Example) -> bool:
    """Whether *box* touches the edge of its picture, or, where the size is not known, its upper or left edge."""
    right = example.width is not None and box.left + box.width >= example.width - OUTSIDE
    below = example.height is not None and box.top + box.height >= example.height - OUTSIDE
    return box.left <= OUTSIDE or box.top <= OUTSIDE or right or below


def suspects(example: Example, usual: Mapping[str, Usual]) -> list[Suspect]:
    """The suspicious boxes of a picture, box by box; a box may be there more than once."""
    boxes = example.boxes or ()
    found = [Suspect(*one) for number, box in enumerate(boxes) for one in _alone(number, box, example, usual)]
    if len(boxes) > CROWDED:
        found.append(Suspect(0, Suspicion.CROWDED, f"{len(boxes)} boxes in one picture, not compared with each other"))
    else:
        found += _duplicates(boxes)
    return sorted(found, key=lambda suspect: suspect.box)


def _alone(number: int, box: Box, example: Example, usual: Mapping[str, Usual]) -> Iterator[tuple[int, Suspicion, str]]:
    size = f"{quoted(box.label)} {box.width:g}x{box.height:g}"
    width, height = example.width, example.height
    least = CELL * max(1.0, max(width or 0, height or 0) / DETECTOR_SIDE)
    tiny = min(box.width, box.height) < least
    if tiny:
        yield number, Suspicion.TINY, f"{size} is under {least:g} pixels wide or high"
    if width is not None and height is not None:
        over = max(-box.left, -box.top, box.left + box.width - width, box.top + box.height - height)
        if over > OUTSIDE:
            yield number, Suspicion.OUTSIDE, f"{size} leaves the picture by {over:g} pixels"
        inside = clipped(box, width, height)
        if inside is not None and inside.width * inside.height >= WHOLE * width * height:
            yield number, Suspicion.WHOLE, f"{size} covers the whole picture of {width}x{height}"
    if not tiny and box.label in usual and not at_edge(box, example):
        score = usual[box.label].score(box)
        if score > OUTLIER:
            often = math.exp(usual[box.label].median)
            text = f"{size} is {box.width / box.height:.2f} times as wide as high, usual is {often:.2f}"
            yield number, Suspicion.ASPECT, text


def _duplicates(boxes: Sequence[Box]) -> Iterator[Suspect]:
    """The later one of each two."""
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            if other.label == box.label and (overlap := iou(other, box)) >= DUPLICATE:
                text = f"{quoted(box.label)} lies on another of its class, IoU {overlap:.2f}"
                yield Suspect(number, Suspicion.DUPLICATE, text)
                break
