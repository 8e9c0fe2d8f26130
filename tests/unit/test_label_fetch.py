"""What came back is held against what was sent, line by line, and overwrites nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.dataset.lines import Line
from cloud.labeling.fetch import compare, publish
from cloud.labeling.output import State
from cloud.labeling.picture_names import named
from edge_agent.errors import ConfigInvalid, ObjectConflict
from tests.support.ground_truth import labelled


def write(path: Path, lines: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_every_way_of_not_coming_back_is_named(tmp_path: Path) -> None:
    """Missing, repeated, foreign, failed and unlabelled lines are each a finding with its line number."""
    sent = [{"source-ref": f"s3://b/{n}.jpg"} for n in range(6)]
    failed = {**sent[2], "bb-metadata": {"failure-reason": "ClientError: too large", "job-name": "j"}}
    back: list[Mapping[str, object]] = [
        labelled("s3://b/0.jpg"),
        sent[1],
        failed,
        labelled("s3://b/3.jpg"),
        labelled("s3://b/3.jpg"),
    ]
    back += [labelled("s3://b/stranger.jpg")]
    findings = Findings()
    source, output = write(tmp_path / "in", sent), write(tmp_path / "out", back)
    tally = compare(source, output, "bb", findings, ("in", "out"))
    assert tally.states == {State.LABELLED: 4, State.UNLABELLED: 1, State.FAILED: 1}
    assert tally.missing == 2
    assert {(finding.code, finding.where, finding.line) for finding in findings} == {
        ("unlabelled_line", "out", 2),
        ("failed_line", "out", 3),
        ("repeated_line", "out", 5),
        ("unknown_line", "out", 6),
        ("missing_line", "in", 5),
        ("missing_line", "in", 6),
    }
    assert str(tally) == "4 labelled, 1 unlabelled, 1 failed, 2 missing"


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 7)))
def test_missing_and_surplus_lines_balance(
    tmp_path_factory: pytest.TempPathFactory, sent: list[int], back: list[int]
) -> None:
    """Of any lines sent and any that came back, exactly the difference of the two is told, repeats included."""
    where = tmp_path_factory.mktemp("compare")
    source = write(where / "in", [{"source-ref": f"s3://b/{n}.jpg"} for n in sent])
    output = write(where / "out", [labelled(f"s3://b/{n}.jpg") for n in back])
    findings = Findings()
    tally = compare(source, output, "bb", findings, ("in", "out"))
    assert tally.missing == (Counter(sent) - Counter(back)).total()
    surplus = findings.counts["unknown_line"] + findings.counts["repeated_line"]
    assert surplus == (Counter(back) - Counter(sent)).total()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A new file is written whole, the same bytes again are no error, other bytes are kept as they are."""
    made, target = tmp_path / "made", tmp_path / "deep/er/out.manifest"
    made.write_text("one\n")
    assert publish(made, str(target)) is True
    assert publish(made, str(target)) is False
    target.write_text("another\n")
    with pytest.raises(ObjectConflict, match="nothing is overwritten"):
        publish(made, str(target))
    assert target.read_text() == "another\n"
    assert [path.name for path in target.parent.iterdir()] == ["out.manifest"]
    with pytest.raises(ConfigInvalid):
        publish(made, "s3://bucket")


@given(st.lists(st.text(min_size=1, max_size=12).map(lambda name: f"s3://b/{name}.jpg"), max_size=20))
def test_names_of_pictures_are_safe_and_unique(sources: list[str]) -> None:
    """Each source has one name, no two have the same, whatever the case, and a second run gives the same."""
    lines = [Line(number, "m", "", {"source-ref": source}) for number, source in enumerate(sources, 1)]
    names = {line.source: name for line, name in named(lines)}
    assert len({name.lower() for name in names.values()}) == len(set(sources))
    assert all(name.isascii() and "/" not in name and not name.startswith(".") for name in names.values())
    assert {line.source: name for line, name in named(lines)} == names
