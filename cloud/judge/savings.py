"""How many labels, and how much money, each judge saved.

For the result of a video: ``savings(index.frames, settings.price_per_label)``. For many videos, as `edge-cloud extract`
reports them: ``total([savings(...), ...])``, and ``lines(...)`` of it for a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud.judge.rules import JudgeRules


class Judged(Protocol):
    """A frame with its verdict, such as an index lists."""

    @property
    def verdict(self) -> str: ...
    @property
    def reasons(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Saved:
    """What one judge saved: ``labels`` not to be bought, and their price, USD."""

    judge: str
    labels: int
    usd: float


@dataclass(frozen=True, slots=True)
class Savings:
    """Of ``frames`` sampled, ``labels`` are to be bought for ``usd``, ``flagged`` of them with a doubt.

    ``saved`` is by judge, in the order of the rules, only those that saved something. One label a frame is counted. A
    frame that several judges reject counts for the first of them, so labels and savings add up to the frames.
    """

    frames: int
    labels: int
    flagged: int
    usd: float
    saved: tuple[Saved, ...]


def savings(frames: Iterable[Judged], price_per_label: float) -> Savings:
    """What the judges saved on *frames* at *price_per_label*, USD. Pure."""
    verdicts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for frame in frames:
        verdicts[frame.verdict] += 1
        if frame.verdict == "rejected":
            rejected[frame.reasons[0]] += 1
    labels = verdicts["kept"] + verdicts["flagged"]
    saved = (Saved(judge, count, _money(count * price_per_label)) for judge, count in rejected.items())
    return Savings(
        frames=verdicts.total(),
        labels=labels,
        flagged=verdicts["flagged"],
        usd=_money(labels * price_per_label),
        saved=tuple(sorted(saved, key=_place)),
    )


def total(parts: Iterable[Savings]) -> Savings:
    """The sum of *parts*. Pure."""
    frames = labels = flagged = 0
    usd = 0.0
    saved: dict[str, Saved] = {}
    for part in parts:
        frames, labels, flagged = frames + part.frames, labels + part.labels, flagged + part.flagged
        usd += part.usd
        for one in part.saved:
            former = saved.get(one.judge, Saved(one.judge, 0, 0.0))
            saved[one.judge] = Saved(one.judge, former.labels + one.labels, _money(former.usd + one.usd))
    return Savings(frames, labels, flagged, _money(usd), tuple(sorted(saved.values(), key=_place)))


def lines(whole: Savings) -> list[str]:
    """*whole* for a person: what is to be labelled, then a line for each judge that saved something. Pure."""
    doubt = f", {whole.flagged} of them flagged" if whole.flagged else ""
    first = f"{whole.frames} frames sampled: {whole.labels} to label for {whole.usd:,.2f} USD{doubt}"
    return [first, *(f"  {one.judge} saved {one.labels} labels, {one.usd:,.2f} USD" for one in whole.saved)]


def _place(saved: Saved) -> tuple[int, str]:
    """Where a judge stands: in the order of the rules; one that an older index names comes last."""
    known = list(JudgeRules.model_fields)
    return known.index(saved.judge) if saved.judge in known else len(known), saved.judge


def _money(usd: float) -> float:
    return round(usd, 6)
