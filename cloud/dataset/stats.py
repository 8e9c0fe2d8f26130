"""What a manifest holds, counted in one pass and bounded memory: lines by origin, labels, size and place of boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud.dataset.entries import take_of
from cloud.dataset.lines import frame_of
from cloud.labeling.labels import Box, Example
from cloud.labeling.output import Record, State
from cloud.origin import place
from cloud.words import counted

GRID = 48  # cells a side of the map of boxes: finer than what a sheet of paper shows
SIZES = 50  # steps of 2 % of the picture's side
NOT_KNOWN, NO_VIDEO = "(not known)", "(no frame of a video)"
_DIFFERENT = 100_000  # of one kind that are told apart; the rest is counted as one
REST = "(others)"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a line and the name of its picture tell of where it is from; None where neither does.

    ``camera`` is ``<device>/<camera>`` where the device is known: two may both have a ``cam1``.
    """

    tag: str | None
    video: str | None
    camera: str | None
    device: str | None
    day: str | None
    split: str | None


@dataclass(slots=True)
class BoxStats:
    """Boxes of one label. Sizes are histograms over shares of the picture's side: how many in each of ``SIZES`` steps.

    ``side`` is the square root of the share of the picture's area. ``unsized``: of pictures whose size no label says.
    """

    count: int = 0
    unsized: int = 0
    width: list[int] = field(default_factory=lambda: [0] * SIZES)
    height: list[int] = field(default_factory=lambda: [0] * SIZES)
    side: list[int] = field(default_factory=lambda: [0] * SIZES)

    def add(self, box: Box, example: Example) -> None:
        self.count += 1
        if not example.width or not example.height:
            self.unsized += 1
            return
        width, height = (max(0.0, share) for share in (box.width / example.width, box.height / example.height))
        for counts, share in ((self.width, width), (self.height, height), (self.side, (width * height) ** 0.5)):
            counts[min(SIZES - 1, int(share * SIZES))] += 1


@dataclass(slots=True)
class Stats:
    """Counts of lines by origin and state, of labels by name; ``centres``: how many boxes lie where, row by row.

    What a line does not tell is counted as :data:`NOT_KNOWN`, a picture of no video as :data:`NO_VIDEO`.
    """

    lines: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    devices: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    class_splits: Counter[tuple[str, str]] = field(default_factory=Counter)
    video_splits: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    per_picture: Counter[int] = field(default_factory=Counter)
    boxes: dict[str, BoxStats] = field(default_factory=dict)
    centres: list[list[int]] = field(default_factory=lambda: [[0] * GRID for _ in range(GRID)])

    def __repr__(self) -> str:
        return f"<Stats: {counted(self.lines, 'line')}, {self.states[State.LABELLED.value]:,} labelled>"

    def add(self, record: Record, origin: Origin) -> None:
        self.lines += 1
        self.states[record.state.value] += 1
        for counts, value in (
            (self.cameras, origin.camera), (self.devices, origin.device), (self.days, origin.day),
            (self.splits, origin.split),
        ):  # fmt: skip
            _count(counts, value or NOT_KNOWN)
        tag, video = _count(self.classes, origin.tag or NOT_KNOWN), _count(self.videos, origin.video or NO_VIDEO)
        if origin.split is not None:
            self.class_splits[tag, origin.split] += 1
            self.video_splits[video, origin.split] += 1
        if record.state is State.LABELLED:
            self._labels(record.example)

    def _labels(self, example: Example) -> None:
        for label in example.labels or ():
            _count(self.labels, label.label)
        if example.boxes is None:
            return
        self.per_picture[min(len(example.boxes), 100)] += 1
        for box in example.boxes:
            name = box.label if box.label in self.boxes or len(self.boxes) < 1000 else REST
            self.boxes.setdefault(name, BoxStats()).add(box, example)
            if example.width and example.height:
                column = (box.left + box.width / 2) / example.width
                row = (box.top + box.height / 2) / example.height
                self.centres[_cell(row)][_cell(column)] += 1

    @property
    def counts(self) -> Mapping[str, Counter[str]]:
        """The counts of lines by what a table is made of, those that say something."""
        found = {
            "class": self.classes, "split": self.splits, "device": self.devices, "camera": self.cameras,
            "day": self.days, "video": self.videos,
        }  # fmt: skip
        return {name: counts for name, counts in found.items() if set(counts) - {NOT_KNOWN, NO_VIDEO}}

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs; only what has been met."""
        boxes = {
            name: {"count": one.count, "unsized": one.unsized, "median_side": median(one.side)}
            for name, one in sorted(self.boxes.items())
        }
        return {
            "lines": self.lines,
            **{name: dict(sorted(counts.items())) for name, counts in self.counts.items()},
            "states": dict(self.states),
            "labels": dict(self.labels.most_common()),
            "boxes": boxes,
            "boxes_per_picture": {str(number): self.per_picture[number] for number in sorted(self.per_picture)},
        }


def collect(records: Iterable[Record]) -> Stats:
    """The counts of all *records*."""
    stats = Stats()
    known: dict[str, Origin] = {}
    for record in records:
        stats.add(record, origin_of(record, known))
    return stats


def origin_of(record: Record, known: dict[str, Origin]) -> Origin:
    """Where the picture of *record* is from: the line's own keys first, then its name. *known* spares parsing twice."""
    line = record.line
    frame = frame_of(line.source)
    stem = frame[0] if frame else ""
    if stem not in known:
        if len(known) > _DIFFERENT:
            known.clear()
        known[stem] = _named(stem)
    named = known[stem]

    def told(key: str, other: str | None) -> str | None:
        found = line.fields.get(key)
        return found if isinstance(found, str) and found else other

    day, device, camera = told("captured", named.day), told("device", named.device), told("camera", named.camera)
    if camera is not None:
        camera = place(device, camera)
    return Origin(
        tag="_".join(record.example.tag.values()) or named.tag,
        video=named.video,
        camera=camera,
        device=device,
        day=day and day[:10],
        split=told("split", None),
    )


def _named(stem: str) -> Origin:
    """What the name of a video tells, whatever class fields there are; its camera without the device."""
    take = take_of(stem)
    camera, device, day = (take.camera, take.device, take.start.date().isoformat()) if take else (None, None, None)
    return Origin(stem.rpartition("_")[0] or None, stem or None, camera, device, day, None)


def median(histogram: Sequence[int]) -> float | None:
    """The middle of the step in which the median lies, as a share; None of nothing."""
    total, passed = sum(histogram), 0
    for step, number in enumerate(histogram):
        passed += number
        if passed * 2 >= total > 0:
            return (step + 0.5) / len(histogram)
    return None


def _count(counts: Counter[str], value: str) -> str:
    """Count *value*; under which name."""
    name = value if value in counts or len(counts) < _DIFFERENT else REST
    counts[name] += 1
    return name


def _cell(share: float) -> int:
    return min(GRID - 1, max(0, int(share * GRID)))
