"""Scores become verdicts: the one place where it is decided which frames are worth a label. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cloud.judge.rules import Faces, JudgeRules, Rule

Scores = Mapping[str, float]
"""A frame's score by judge (the names of :class:`JudgeRules`); the higher, the worse. A judge that is off has none."""


_CLEARLY = 64  # grey levels, a quarter of the range; as many as a hash has bits, so that one threshold fits both


def rounded(score: float) -> float:
    """*score* as the index says it: four digits. Rounded before anything is compared, so all compare the same."""
    return round(score, 4)


def likeness(levels: int) -> float:
    """How alike two frames are whose most different tile differs by so many grey levels: 1 the same, 0 from 64 on."""
    return rounded(1 - min(levels, _CLEARLY) / _CLEARLY)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a frame, and the judges that say so: those that reject first, else in the order of the rules."""

    verdict: Literal["kept", "rejected", "flagged"]
    reasons: tuple[str, ...] = ()


def verdict(scores: Scores, rules: JudgeRules) -> Verdict:
    """The verdict on one frame. A judge without a score has nothing against it."""
    hits = [(name, rule.action) for name, rule in by_name(rules).items() if _hits(scores.get(name), rule)]
    rejecting = tuple(name for name, action in hits if action == "reject")
    flagging = tuple(name for name, action in hits if action == "flag")
    if rejecting:
        return Verdict("rejected", rejecting + flagging)
    return Verdict("flagged", flagging) if flagging else Verdict("kept")


def verdicts(scores: Sequence[Scores], rules: JudgeRules) -> list[Verdict]:
    """The verdict on each frame of a video, in order."""
    return [verdict(of_frame, rules) for of_frame in scores]


def by_name(rules: JudgeRules) -> dict[str, Rule | Faces]:
    """The rule of each judge, in the order in which reasons are given."""
    return {name: getattr(rules, name) for name in type(rules).model_fields}


def _hits(score: float | None, rule: Rule | Faces) -> bool:
    return score is not None and rule.action != "off" and score >= rule.threshold
