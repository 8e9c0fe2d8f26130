"""What a clean manifest leaves out, and why: by confidence, by hand, by what is wrong with a line. All pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from cloud.labeling.checks import Suspect, Suspicion
from cloud.labeling.labels import Box, ImageLabel
from cloud.labeling.output import Record, State
from cloud.words import plain, quoted
from edge_agent.errors import ConfigInvalid

BINS = 20  # of the histogram: steps of 0.05
OPTION = "--min-confidence"
_L = TypeVar("_L", Box, ImageLabel)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least confidence of a label: ``every`` class but those in ``by_class``. None asks for nothing."""

    every: float | None = None
    by_class: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Thresholds:
        """Of ``0.5`` and ``class=0.7``, in any order. Raises ConfigInvalid."""
        every: float | None = None
        by_class: dict[str, float] = {}
        for text in texts:
            name, has_name, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = -1.0
            if not 0 <= value <= 1:
                raise ConfigInvalid(
                    f"{quoted(text)} is no confidence", where=OPTION, fix="write 0.5 or CLASS=0.7, from 0 to 1"
                )
            if (has_name and name in by_class) or (not has_name and every is not None):
                raise ConfigInvalid(f"is given twice for {quoted(name) if has_name else 'every class'}", where=OPTION)
            if has_name:
                by_class[name] = value
            else:
                every = value
        return cls(every, by_class)

    def least(self, label: str) -> float | None:
        return self.by_class.get(label, self.every)


@dataclass(slots=True)
class ClassConfidences:
    """The confidences of one class's labels: ``bins`` counts them in 20 equal steps, ``none`` those without one."""

    count: int = 0
    none: int = 0
    low: float = 1.0
    high: float = 0.0
    bins: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, confidence: float | None) -> None:
        self.count += 1
        if confidence is None:
            self.none += 1
            return
        self.low, self.high = min(self.low, confidence), max(self.high, confidence)
        self.bins[min(int(confidence * BINS), BINS - 1)] += 1


@dataclass(slots=True)
class Confidences:
    """Counts the confidences of all labels by class."""

    by_class: dict[str, ClassConfidences] = field(default_factory=dict)

    def add(self, labels: Iterable[Box | ImageLabel]) -> None:
        for label in labels:
            self.by_class.setdefault(label.label, ClassConfidences()).add(label.confidence)

    def summed(self, names: Iterable[str] | None = None) -> ClassConfidences:
        """Those of all classes, or of *names*, together."""
        whole = ClassConfidences()
        for name in self.by_class if names is None else names:
            one = self.by_class[name]
            whole.count, whole.none = whole.count + one.count, whole.none + one.none
            whole.low, whole.high = min(whole.low, one.low), max(whole.high, one.high)
            whole.bins = [a + b for a, b in zip(whole.bins, one.bins, strict=True)]
        return whole


def settle(wanted: Thresholds, found: Confidences) -> tuple[Thresholds, list[str]]:
    """The thresholds that may be used, and what a person must be told of the others.

    A threshold that no label reaches would drop everything it is about; where one worker labels, the service gives
    every box the same number (0.0; in the project's real data 0.09), which says nothing. Such a threshold is not used.
    """
    told: list[str] = []
    kept: dict[str, float] = {}
    for name, least in wanted.by_class.items():
        if name not in found.by_class:
            told.append(f"{OPTION} {plain(name)}={least:g}: no label is of that class")
        elif why := _useless(found.by_class[name], least):
            told.append(f"{OPTION} {plain(name)}={least:g} is not used: {why}")
            kept[name] = 0.0
        else:
            kept[name] = least
    every = wanted.every
    if every is not None:
        others = found.summed(name for name in found.by_class if name not in wanted.by_class)
        if why := _useless(others, every):
            told.append(f"{OPTION} {every:g} is not used: {why}")
            every = None
    return Thresholds(every, kept), told


def _useless(found: ClassConfidences, least: float) -> str:
    """Why a threshold of *least* would drop all that is *found*; "" when it would not, or there is nothing to drop."""
    known = found.count - found.none
    if not known:
        return "no label has a confidence" if found.count else ""
    if found.high >= least:
        return ""
    if found.low == found.high:
        return f"all {known} confidences are {found.low:g}, as where one worker labels, and say nothing"
    return f"the highest of {known} confidences is {found.high:g}, every label would be dropped"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is left out. ``verdicts``: lines that a verification job gave one of these words."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    suspicions: frozenset[Suspicion] = frozenset()
    verdicts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A record as it goes into the clean manifest; ``left_out`` says why it does not. ``dropped``: labels by reason."""

    record: Record
    left_out: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)


_STATES = {State.UNLABELLED: "unlabelled", State.FAILED: "labelling failed", State.UNREADABLE: "labels not readable"}


def clean(
    record: Record, rules: Rules, suspected: Iterable[Suspect], decision: Literal["keep", "drop"] | None = None
) -> Cleaned:
    """*record* without what *rules* leave out; a person's *decision* wins over all of them.

    A picture whose labels are all dropped is left out: with none it would say that there is nothing to be seen in it.
    Labels that could not be read, beside others that were, are left out whoever keeps the line.
    """
    dropped = Counter[str]({"not readable": record.dropped} if record.dropped else {})
    if decision is not None:
        return Cleaned(record, "dropped by hand" if decision == "drop" else "", dropped)
    if record.state is not State.LABELLED:
        return Cleaned(record, _STATES[record.state])
    if bad := next((said.word for said in record.verifications if said.word in rules.verdicts), None):
        return Cleaned(record, f"verified as {quoted(bad)}")
    why = dict[int, str]()
    for suspect in suspected:
        if suspect.why in rules.suspicions:
            why.setdefault(suspect.box, suspect.why.value)
    example = record.example
    boxes = tuple(_kept(example.boxes or (), rules.thresholds, why, dropped))
    labels = tuple(_kept(example.labels or (), rules.thresholds, {}, dropped))
    if not dropped:
        return Cleaned(record)
    if not boxes and not labels:
        return Cleaned(record, "no label left", dropped)
    kept = replace(
        example,
        boxes=None if example.boxes is None else boxes,
        labels=None if example.labels is None else labels,
    )
    return Cleaned(replace(record, example=kept), "", dropped)


def _kept(labels: Iterable[_L], thresholds: Thresholds, why: Mapping[int, str], dropped: Counter[str]) -> Iterator[_L]:
    for number, label in enumerate(labels):
        least = thresholds.least(label.label)
        if least is not None and label.confidence is not None and label.confidence < least:
            dropped[f"confidence of {quoted(label.label)} under {least:g}"] += 1
        elif number in why:
            dropped[why[number]] += 1
        else:
            yield label
