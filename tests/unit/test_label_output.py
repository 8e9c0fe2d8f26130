"""Labels read back: every documented shape of an output manifest, and every way one can be broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.labeling.augmented import to_line
from cloud.labeling.labels import Box, Example, ImageLabel
from cloud.labeling.output import Choice, Kind, Record, State, choose, parse, read_labels, survey
from cloud.labeling.overlap import iou
from edge_agent.errors import ConfigInvalid
from tests.support.manifests import GROUND_TRUTH, boxed, line, write

REAL = sorted(GROUND_TRUTH.glob("*.output.manifest"))


def read(path: Path, attribute: str | None = None) -> tuple[list[Record], Findings]:
    findings = Findings()
    return list(read_labels(path, choose(survey(path), attribute), findings)), findings


def one(tmp_path: Path, fields: Mapping[str, Any] | str, attribute: str | None = None) -> tuple[Record, Findings]:
    records, findings = read(write(tmp_path / "one.manifest", [fields]), attribute)
    (record,) = records
    return record, findings


def labels(value: Any, kind: str, **metadata: Any) -> dict[str, Any]:
    return line(1) | {"it": value} | {"it-metadata": {"type": f"groundtruth/{kind}", **metadata}}


def with_box(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = boxed(1, (10, 20, 30, 40))
    fields["bb"]["annotations"][0].update(changes)
    return fields


def test_boxes_without_a_size_are_whole(tmp_path: Path) -> None:
    """Label tools tell no size where they drew nothing: that is no fault."""
    record, findings = one(tmp_path, labels({"annotations": []}, "object-detection"))
    assert (record.state, record.example.boxes, record.example.width) == (State.LABELLED, (), None)
    assert not findings.counts


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name[:10])
def test_the_real_manifests_are_read_whole_and_written_byte_for_byte(path: Path) -> None:
    """All lines of two real jobs come back as the very bytes they were, with and without the order of their keys."""
    records, findings = read(path)
    assert not findings.counts
    assert [record.line.text for record in records] == path.read_text().splitlines()
    for record in records:
        assert to_line(record.example, "bb") == record.line.text
        assert to_line(record.example, "bb", order=record.line.fields) == record.line.text


def test_the_real_boxes_have_their_class_size_and_confidence() -> None:
    """633 pictures of full HD, 56 of them looked at and empty, 579 boxes of the storage box, 561 of confidence 0.09."""
    records, _ = read(GROUND_TRUTH / "yellow-box-large.output.manifest")
    examples = [record.example for record in records]
    boxes = [box for example in examples for box in example.boxes or ()]
    assert (len(examples), len(boxes), sum(example.boxes == () for example in examples)) == (633, 579, 56)
    assert {box.label for box in boxes} == {"storage box"}
    assert {box.confidence for box in boxes} == {0.09, 0.29}
    assert [box.confidence for box in boxes].count(0.09) == 561
    assert {(example.width, example.height, example.depth) for example in examples} == {(1920, 1080, 3)}
    assert examples[0].boxes == (Box("storage box", 7, 658, 531, 415, 0.09),)
    assert examples[0].tag == {"color": "yellow", "object": "box"}
    assert list(examples[0].extra) == ["bb", "bb-metadata"]


def test_a_class_is_read_by_its_name_with_its_confidence(tmp_path: Path) -> None:
    """Image classification: the id may be a number or a string, the name stands in the metadata."""
    for value in (0, "0"):
        record, findings = one(
            tmp_path, labels(value, "image-classification", **{"class-name": "cup", "confidence": 0.8})
        )
        assert (record.kind, record.state) == (Kind.CLASS, State.LABELLED)
        assert record.example.labels == (ImageLabel("cup", 0.8),)
        assert not findings.counts


def test_several_classes_are_read_by_class_map_and_confidence_map(tmp_path: Path) -> None:
    """Multi-label classification: ids as numbers or strings; none at all is a picture that was looked at."""
    maps = {"class-map": {"1": "bicycle", "8": "person"}, "confidence-map": {"1": 0.95, "8": 0.2}}
    for value in ([1, 8], ["1", "8"]):
        record, _ = one(tmp_path, labels(value, "image-classification-multilabel", **maps))
        assert record.example.labels == (ImageLabel("bicycle", 0.95), ImageLabel("person", 0.2))
    record, findings = one(tmp_path, labels([], "image-classification-multilabel", **{"class-map": {}}))
    assert (record.state, record.example.labels, findings.total) == (State.LABELLED, (), 0)


def chain() -> dict[str, Any]:
    """Boxes, then an adjustment of them, then a verification."""
    fields: dict[str, Any] = boxed(1, (10, 20, 30, 40))
    later = boxed(1, (12, 20, 30, 40))
    fields["fixed"] = later["bb"]
    fields["fixed-metadata"] = {
        **later["bb-metadata"], "adjustment-status": "adjusted", "creation-date": "2026-11-23T12:00:00.000000",
    }  # fmt: skip
    fields["checked"] = "1"
    fields["checked-metadata"] = {
        "class-name": "bad",
        "confidence": 0.93,
        "type": "groundtruth/label-verification",
        "creation-date": "2026-11-24T12:00:00.000000",
        "worker-feedback": [{"comment": "too wide"}, {"comment": "one is missing"}],
    }
    return fields


def test_of_a_chain_the_last_labels_are_read_and_that_is_said(tmp_path: Path) -> None:
    """The adjusted boxes, with what the verification after them said; any other attribute when it is named."""
    path = write(tmp_path / "chain.manifest", [chain()])
    choice = choose(survey(path))
    assert choice.attribute == "fixed"
    assert choice.said == "label attributes 'bb', 'fixed', 'checked'; the last of the chain is read: 'fixed'"
    record, _ = one(tmp_path, chain())
    assert record.adjusted is True
    assert record.example.boxes == (Box("box", 12, 20, 30, 40, 0.09),)
    (said,) = record.verifications
    assert (said.attribute, said.word, said.confidence) == ("checked", "bad", 0.93)
    assert said.comments == ("too wide", "one is missing")
    former, _ = one(tmp_path, chain(), "bb")
    assert (former.adjusted, former.example.boxes) == (None, (Box("box", 10, 20, 30, 40, 0.09),))
    verified, _ = one(tmp_path, chain(), "checked")
    assert verified.example.labels == (ImageLabel("bad", 0.93),)


def test_the_last_of_a_chain_is_the_newest_even_when_keys_were_reordered(tmp_path: Path) -> None:
    """Tools that sort keys change nothing about which labels came last."""
    path = write(tmp_path / "sorted.manifest", [json.dumps(dict(sorted(chain().items(), reverse=True)))])
    assert choose(survey(path)).attribute == "fixed"


def test_a_named_attribute_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """The message says what could have been meant."""
    found = survey(write(tmp_path / "chain.manifest", [chain()]))
    with pytest.raises(ConfigInvalid, match="no label attribute 'bbb'; it has 'bb', 'fixed', 'checked'"):
        choose(found, "bbb")


def test_unlabelled_failed_and_empty_are_told_apart(tmp_path: Path) -> None:
    """A line as it went in, one with a reason why it failed, and one somebody found nothing on."""
    failed = line(2) | {"bb-metadata": {"failure-reason": "ClientError: too large", "human-annotated": "yes"}}
    records, findings = read(write(tmp_path / "three.manifest", [line(1), failed, boxed(3)]))
    assert [record.state for record in records] == [State.UNLABELLED, State.FAILED, State.LABELLED]
    assert [record.example.boxes for record in records] == [None, None, ()]
    assert records[1].failure == "ClientError: too large"
    (finding,) = findings
    assert (finding.code, finding.line) == ("failed_line", 2)


def test_a_manifest_without_labels_is_all_unlabelled_lines(tmp_path: Path) -> None:
    """Class tags alone are no labels; keys that only look like metadata are none either."""
    records, findings = read(write(tmp_path / "input.manifest", [line(1), (line(2) | {"shop-metadata": {"floor": 1}})]))
    assert {record.state for record in records} == {State.UNLABELLED}
    assert records[0].example.tag == {"color": "yellow", "object": "box"}
    assert not findings.counts


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"left": "7"}, "bad_box"),
        ({"left": None}, "bad_box"),
        ({"top": True}, "bad_box"),
        ({"width": -1}, "bad_box"),
        ({"height": 1e300}, "bad_box"),
        ({"class_id": 1.5}, "bad_box"),
        ({"class_id": None}, "bad_box"),
        ({"left": -3}, "negative_position"),
        ({"class_id": 7}, "unknown_class"),
    ],
)
def test_a_broken_box_is_a_finding_with_its_line(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    """What is no number is left out and counted; what is odd is kept and told; the line stays."""
    fields = with_box(**changes)
    fields["bb"]["annotations"].append({"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4})
    fields["bb-metadata"]["objects"].append({"confidence": 0.5})
    record, findings = one(tmp_path, fields)
    (finding,) = findings
    assert (finding.code, finding.line, finding.dropped) == (code, 1, code == "bad_box")
    assert (record.state, record.dropped) == (State.LABELLED, code == "bad_box")
    assert [box.confidence for box in record.example.boxes or ()] == [0.09, 0.5][code == "bad_box" :]


@pytest.mark.parametrize(
    "fields", [with_box(width=-1), labels([1.5], "image-classification-multilabel", **{"class-map": {"1": "cup"}})]
)
def test_labels_of_which_none_can_be_read_are_not_an_empty_picture(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Somebody saw something there: nobody may take the picture for one with nothing in it."""
    record, findings = one(tmp_path, fields)
    assert findings.total == 1
    assert (record.state, record.example.boxes, record.example.labels) == (State.UNREADABLE, None, None)


def test_a_label_that_cannot_be_read_is_not_written_again(tmp_path: Path) -> None:
    """A box, or a class, beside good ones: the written line has these alone, with their confidences."""
    fields = with_box(width=-1)
    fields["bb"]["annotations"].append({"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4})
    fields["bb-metadata"]["objects"].append({"confidence": 0.5})
    record, _ = one(tmp_path, fields)
    written = json.loads(to_line(record.example, "bb", order=record.line.fields))
    del fields["bb"]["annotations"][0], fields["bb-metadata"]["objects"][0]
    assert written == fields
    sure = {"class-map": {"1": "cup"}, "confidence-map": {"1": 0.7}}
    record, _ = one(tmp_path, labels([1.5, 1], "image-classification-multilabel", **sure))
    assert json.loads(to_line(record.example, "it", order=record.line.fields))["it"] == [1]


def test_a_box_without_a_place_is_a_finding(tmp_path: Path) -> None:
    """A missing key, and an annotation that is no object at all."""
    for broken in ({"class_id": 0, "left": 1}, [1, 2, 3, 4], "box"):
        fields = boxed(1, (1, 2, 3, 4))
        fields["bb"]["annotations"][0] = broken
        _, findings = one(tmp_path, fields)
        assert findings.counts == {"bad_box": 1}


@pytest.mark.parametrize(
    ("place", "value", "code", "state"),
    [
        ("bb", None, "bad_labels", State.UNREADABLE),
        ("bb", [], "bad_labels", State.UNREADABLE),
        ("bb", {"annotations": {}}, "bad_labels", State.UNREADABLE),
        ("size", [], "bad_image_size", State.LABELLED),
        ("size", [{"width": 0, "height": 480, "depth": 3}], "bad_image_size", State.LABELLED),
        ("size", [{"width": "640", "height": 480}], "bad_image_size", State.LABELLED),
        ("objects", [], "bad_confidence", State.LABELLED),
        ("objects", "0.9", "bad_confidence", State.LABELLED),
        ("objects", [{"confidence": 1.5}], "bad_confidence", State.LABELLED),
        ("objects", [{"confidence": "high"}], "bad_confidence", State.LABELLED),
        ("type", "groundtruth/semantic-segmentation", "unknown_type", State.UNREADABLE),
        ("type", "groundtruth/custom", "unknown_type", State.UNREADABLE),
        ("class-map", ["box"], "unknown_class", State.LABELLED),
    ],
)
def test_labels_of_another_shape_are_findings(tmp_path: Path, place: str, value: Any, code: str, state: State) -> None:
    """Wrong sizes, confidences, types and class maps: each is counted, and the rest of the line is read."""
    fields = boxed(1, (1, 2, 3, 4))
    if place == "bb":
        fields["bb"] = value
    elif place == "size":
        fields["bb"]["image_size"] = value
    else:
        fields["bb-metadata"][place] = value
    record, findings = one(tmp_path, fields)
    assert findings.counts == {code: 1}
    assert record.state is state


def test_labels_whose_metadata_is_lost_are_not_guessed_at(tmp_path: Path) -> None:
    """Without metadata nobody knows what class 0 is: a finding, and the line counts as unreadable."""
    lost = boxed(2, (1, 2, 3, 4))
    del lost["bb-metadata"]
    records, findings = read(write(tmp_path / "lost.manifest", [boxed(1), lost]))
    assert [record.state for record in records] == [State.LABELLED, State.UNREADABLE]
    assert findings.counts == {"bad_labels": 1}


def test_hostile_names_never_break_the_line(tmp_path: Path) -> None:
    """Escape sequences and line ends in names come out quoted, in one line."""
    fields = with_box(class_id="\x1b[2J\n<script>")
    fields["bb-metadata"]["type"] = "groundtruth/\x1b[2J"
    _, findings = one(tmp_path, fields)
    fields["bb-metadata"]["type"] = "groundtruth/object-detection"
    _, more = one(tmp_path, fields)
    for text in [*findings.lines(), *more.lines()]:
        assert text.isprintable()


# -- the way back -----------------------------------------------------------------------------------------------------

numbers = st.integers(-2000, 2000) | st.floats(-1e5, 1e5, allow_nan=False)
sizes = st.integers(0, 4000) | st.floats(0, 1e5, allow_nan=False)
names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
sure = st.none() | st.floats(0, 1)
boxes = st.builds(Box, names, numbers, numbers, sizes, sizes, sure)


def parsed(text: str, attribute: str = "bb") -> Example:
    from cloud.dataset.lines import Line

    findings = Findings()
    record = parse(Line(1, "x", text, json.loads(text)), Choice(attribute, Kind.OTHER), findings)
    assert set(findings.counts) <= {"negative_position"}
    return record.example


@given(st.lists(boxes, max_size=6))
def test_boxes_written_are_the_boxes_read(drawn: list[Box]) -> None:
    """From another format to a line and back: classes, places, confidences and order survive."""
    example = Example("s3://b/a.jpg", 640, 480, 3, boxes=tuple(drawn), tag={"color": "red", "object": "box"})
    read_back = parsed(to_line(example, "bb"))
    assert read_back.boxes == tuple(drawn)
    assert (read_back.width, read_back.height, read_back.depth) == (640, 480, 3)
    assert read_back.tag == example.tag


@given(st.lists(st.builds(ImageLabel, names, sure), max_size=5, unique_by=lambda label: label.label))
def test_classes_written_are_the_classes_read(drawn: list[ImageLabel]) -> None:
    """One class becomes a classification, none or several a multi-label one; all come back."""
    assert parsed(to_line(Example("s3://b/a.jpg", labels=tuple(drawn)), "kind"), "kind").labels == tuple(drawn)


@given(st.data())
def test_a_line_without_some_of_its_boxes_keeps_all_else(data: st.DataObject) -> None:
    """What is left out takes its confidence with it; other boxes, unknown keys and the order of keys stay."""
    drawn = [(10 * n, 5, 7 + n, 9) for n in range(5)]
    fields = boxed(1, *drawn)
    for n, annotation in enumerate(fields["bb"]["annotations"]):
        annotation["note"] = n
        fields["bb-metadata"]["objects"][n] = {"confidence": n / 10, "worker": f"w{n}"}
    text = json.dumps(fields, separators=(",", ":"))
    kept = data.draw(st.lists(st.integers(0, 4), unique=True).map(sorted))
    example = parsed(text)
    cut = replace(example, boxes=tuple((example.boxes or ())[n] for n in kept))
    wanted = json.loads(text)
    wanted["bb"]["annotations"] = [wanted["bb"]["annotations"][n] for n in kept]
    wanted["bb-metadata"]["objects"] = [wanted["bb-metadata"]["objects"][n] for n in kept]
    assert to_line(cut, "bb", order=fields) == json.dumps(wanted, separators=(",", ":"))


def test_a_new_class_gets_an_id_that_holds_for_the_manifest(tmp_path: Path) -> None:
    """Ids of the line's class map first, then those given for all lines, then the next free one."""
    record, _ = one(tmp_path, boxed(1, (1, 2, 3, 4)))
    added = (*(record.example.boxes or ()), Box("cup", 1, 1, 5, 5, 0.5), Box("pen", 2.5, 1, 5, 5, 0.5))
    fields = json.loads(to_line(replace(record.example, boxes=added), "bb", {"cup": 7}))
    assert fields["bb-metadata"]["class-map"] == {"0": "box", "7": "cup", "8": "pen"}
    assert [one["class_id"] for one in fields["bb"]["annotations"]] == [0, 7, 8]
    assert fields["bb"]["annotations"][2]["left"] == 2.5
    assert iou(added[0], parsed(json.dumps(fields)).boxes[0]) == 1.0  # type: ignore[index]


def test_labels_by_hand_end_a_failure(tmp_path: Path) -> None:
    """A line that failed and got its labels elsewhere is a labelled line."""
    failed = line(2) | {"bb-metadata": {"failure-reason": "ClientError", "job-name": "x"}}
    record, _ = one(tmp_path, failed)
    assert json.loads(to_line(record.example, "bb")) == failed
    fields = json.loads(to_line(replace(record.example, boxes=(Box("cup", 1, 2, 3, 4, 1.0),)), "bb"))
    assert parsed(json.dumps(fields)).boxes == (Box("cup", 1, 2, 3, 4, 1.0),)
    assert fields["bb-metadata"]["job-name"] == "x"
