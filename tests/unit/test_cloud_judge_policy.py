"""Scores to verdicts, settings to rules, verdicts to money."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.judge.policy import Verdict, verdict, verdicts
from cloud.judge.rules import Action, JudgeRules
from cloud.judge.savings import Saved, Savings, lines, savings, total
from cloud.settings import Settings, load
from edge_agent.errors import ConfigInvalid

NAMES = list(JudgeRules.model_fields)
ACTIONS = get_args(get_args(Action)[0])

actions = st.fixed_dictionaries({name: st.sampled_from(ACTIONS) for name in NAMES})
shares = st.integers(1, 100).map(lambda whole: whole / 100)
frame_scores = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100).map(lambda whole: whole / 100))
levels = st.fixed_dictionaries({name: st.integers(1, 3) if name == "faces" else shares for name in NAMES})
Thresholds = dict[str, float]


def make(acts: dict[str, str], thresholds: Thresholds) -> JudgeRules:
    return JudgeRules.model_validate({name: {"action": acts[name], "threshold": thresholds[name]} for name in NAMES})


@given(frame_scores, actions, levels)
def test_a_verdict_is_what_the_rules_say(scores: dict[str, float], acts: dict[str, str], at: Thresholds) -> None:
    """Rejected if and only if a judge that rejects hits, flagged if only flagging ones do; all that hit are named."""
    found = verdict(scores, make(acts, at))
    hits = {name for name in scores if scores[name] >= at[name] and acts[name] != "off"}
    hit_actions = {acts[name] for name in hits}
    expected = "rejected" if "reject" in hit_actions else "flagged" if hits else "kept"
    assert found.verdict == expected
    assert set(found.reasons) == hits
    assert len(found.reasons) == len(hits)
    severity = [(acts[name] != "reject", NAMES.index(name)) for name in found.reasons]
    assert severity == sorted(severity)


@given(frame_scores, actions, levels, st.sampled_from(NAMES))
def test_a_worse_score_never_helps(scores: dict[str, float], acts: dict[str, str], at: Thresholds, name: str) -> None:
    """Raising one score never makes a frame better off."""
    order = ["kept", "flagged", "rejected"]
    better, worse = ({**scores, name: score} for score in (0.0, 1.0))
    rules = make(acts, at)
    assert order.index(verdict(better, rules).verdict) <= order.index(verdict(worse, rules).verdict)


@given(st.lists(frame_scores), levels)
def test_flagging_only_never_rejects(scores: list[dict[str, float]], at: Thresholds) -> None:
    """With every judge at flag no frame is lost to the manifest, and with every judge off none is even flagged."""
    flagging = verdicts(scores, make(dict.fromkeys(NAMES, "flag"), at))
    assert len(flagging) == len(scores)
    assert all(found.verdict != "rejected" for found in flagging)
    assert verdicts(scores, make(dict.fromkeys(NAMES, "off"), at)) == [Verdict("kept")] * len(scores)


def test_off_may_be_written_plainly_and_parts_alone() -> None:
    """YAML's false for a bare off is off, and one part of a rule leaves the other at its default."""
    rules = JudgeRules.model_validate({"blur": {"action": False}, "duplicate": {"threshold": 0.9}})
    assert (rules.blur.action, rules.blur.threshold) == ("off", 0.5)
    assert (rules.duplicate.action, rules.duplicate.threshold) == ("reject", 0.9)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BLUR__ACTION", "delete"),
        ("BLUR__THRESHOLD", "0"),
        ("BLANK__THRESHOLD", "1.5"),
        ("FACES__THRESHOLD", "0"),
        ("FACES__MODEL", ""),
        ("SMELL__ACTION", "flag"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, value: str) -> None:
    """An unknown action or judge, or a threshold that is always or never met, is named."""
    named = "judges.smell" if "SMELL" in setting else f"judges.{setting.lower().replace('__', '.')}"
    with pytest.raises(ConfigInvalid, match=f": {re.escape(named)}: "):
        load(environ={"EDGE_CLOUD_DATASET": "d", f"EDGE_CLOUD_JUDGES__{setting}": value})


def test_rules_change_the_outputs_and_the_price_does_not() -> None:
    """Other rules make other indexes; another price only another report."""
    base = Settings.model_validate({"dataset": "a"})
    other: dict[str, Any] = {"judges": {"blur": {"action": "reject"}}}
    assert Settings.model_validate({"dataset": "a", **other}).fingerprint != base.fingerprint
    assert Settings.model_validate({"dataset": "a", "price_per_label": 1}).fingerprint == base.fingerprint


FRAMES = [
    Verdict("kept"),
    Verdict("flagged", ("blur",)),
    Verdict("rejected", ("duplicate",)),
    Verdict("rejected", ("blank", "duplicate")),
    Verdict("rejected", ("duplicate", "blur")),
]


def test_savings_say_what_each_judge_saved() -> None:
    """Labels and money by judge; a frame several judges reject is saved once, by the first."""
    found = savings(FRAMES, 0.04)
    saved = (Saved("blank", 1, 0.04), Saved("duplicate", 2, 0.08))
    assert found == Savings(frames=5, labels=2, flagged=1, usd=0.08, saved=saved)
    assert lines(total([found, found])) == [
        "10 frames sampled: 4 to label for 0.16 USD, 2 of them flagged",
        "  blank saved 2 labels, 0.08 USD",
        "  duplicate saved 4 labels, 0.16 USD",
    ]


@given(st.lists(st.lists(st.sampled_from(FRAMES))), st.floats(0, 5))
def test_savings_add_up(videos: list[list[Verdict]], price: float) -> None:
    """Labels to buy and labels saved are all frames, and the sum of videos is as one video with all frames."""
    whole = total(savings(frames, price) for frames in videos)
    together = savings([frame for frames in videos for frame in frames], price)
    assert whole.labels + sum(saved.labels for saved in whole.saved) == whole.frames == together.frames
    assert (whole.labels, whole.flagged) == (together.labels, together.flagged)
    assert [(one.judge, one.labels) for one in whole.saved] == [(one.judge, one.labels) for one in together.saved]
    assert whole.usd == pytest.approx(together.usd, abs=1e-4)
    places = [NAMES.index(one.judge) for one in whole.saved]
    assert all(first < second for first, second in pairwise(places))
