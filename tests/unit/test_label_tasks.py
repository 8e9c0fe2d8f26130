"""What a label tool of one's own exported, read back onto the manifest: no answer is lost without a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.labeling.tasks_import import Origin, read_back

ORIGIN = Origin("job", "lab", datetime(2026, 11, 22, tzinfo=UTC))
HEAD = "<annotations><meta><task><labels><label><name>t</name><type>tag</type></label></labels></task></meta>"


def rectangle(label: str) -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "original_width": 100, "original_height": 100, "value": value}


def choice(label: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": [label]}}


def source(number: int) -> str:
    return f"s3://b/{number}.jpg"


def read(where: Path, tool: str, export: str, pictures: int) -> tuple[list[dict[str, Any]], Findings]:
    """The lines that come of *export*, of a manifest of so many *pictures*."""
    sent, answers, target = where / "sent", where / "export", where / "out"
    sent.write_text("".join(json.dumps({"source-ref": source(number)}) + "\n" for number in range(pictures)))
    answers.write_text(export)
    findings = Findings()
    read_back(tool, answers, str(sent), ORIGIN, str(target), findings, None)
    return [json.loads(line) for line in target.read_text().splitlines()], findings


def tasks(results: Sequence[Sequence[dict[str, Any]]]) -> str:
    made = [
        {"data": {"image": source(number), "source": source(number)}, "annotations": [{"result": list(result)}]}
        for number, result in enumerate(results)
    ]
    return json.dumps(made)


def labels_of(line: dict[str, Any]) -> list[str] | None:
    """The classes of a line's labels, None when it has none."""
    if "lab" not in line:
        return None
    told, value = line["lab-metadata"], line["lab"]
    if "class-name" in told:
        return [told["class-name"]]
    ids = [box["class_id"] for box in value["annotations"]] if isinstance(value, dict) else value
    return [told["class-map"][str(number)] for number in ids]


LABELS = st.sampled_from(["cup", "box", " ", "a\n\x01"])
RESULTS = st.lists(st.builds(rectangle, LABELS) | st.builds(choice, LABELS), max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.lists(RESULTS, min_size=1, max_size=4))
def test_every_answer_is_in_its_line_or_in_a_finding(
    tmp_path_factory: pytest.TempPathFactory, results: list[list[dict[str, Any]]]
) -> None:
    """Boxes and classes in any mixture, good and bad names: none is lost unsaid, no line holds half a label."""
    lines, findings = read(tmp_path_factory.mktemp("back"), "label-studio", tasks(results), len(results))
    kept = 0
    for line, result in zip(lines, results, strict=True):
        assert ("lab" in line) == ("lab-metadata" in line)
        labels = labels_of(line)
        assert labels != [] or not result  # nothing drawn is one thing, nothing that can be used another
        assert set(labels or ()) <= {"cup", "box"}
        kept += len(labels or ())
    assert kept + findings.dropped == sum(map(len, results))


def test_a_class_beside_boxes_is_told_and_its_line_stays_unlabelled(tmp_path: Path) -> None:
    """CVAT: a picture with a box, one with only a tag, one with nothing: the tag is a finding, the last a negative."""
    images = ['<box label="b" xtl="1" ytl="1" xbr="2" ybr="2"/>', '<tag label="t"/>', ""]
    body = "".join(
        f'<image name="{number}.jpg" width="8" height="8">{shape}</image>' for number, shape in enumerate(images)
    )
    lines, findings = read(tmp_path, "cvat", f"{HEAD}{body}</annotations>", 3)
    assert [labels_of(line) for line in lines] == [["b"], None, []]
    assert lines[1] == {"source-ref": source(1)}
    (told,) = [str(finding) for finding in findings if finding.code == "class_beside_boxes"]
    assert "'1.jpg' has the class 't', other pictures have boxes; export what has classes by itself" in told
    assert findings.counts["unlabelled_line"] == 1


def test_a_class_that_no_file_could_hold_is_refused_as_by_an_import(tmp_path: Path) -> None:
    """Control characters and blanks are no classes: told, and not in the class map; the line is not called empty."""
    lines, findings = read(
        tmp_path, "label-studio", tasks([[rectangle("x\n\x01"), rectangle("cup")], [choice(" ")]]), 2
    )
    assert lines[0]["lab-metadata"]["class-map"] == {"0": "cup"}
    assert lines[1] == {"source-ref": source(1)}
    assert findings.counts["class_refused"] == 2
