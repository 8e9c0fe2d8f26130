"""The codecs of label files: what is written is read back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example as always
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.dataset.lines import Line
from cloud.labeling.formats import cvat, label_studio, yolo
from cloud.labeling.formats.base import (
    Entry,
    Format,
    Plan,
    bad_class,
    class_folder,
    clipped,
    in_pixels,
    text_of,
)
from cloud.labeling.formats.registry import Name, Readable, format_of
from cloud.labeling.formats.xml import XmlInvalid, elements
from cloud.labeling.labels import Box, Example, ImageLabel, Split
from cloud.labeling.picture_names import wished

WIDTH, HEIGHT = 1920, 1080
LABELS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)
CLASSES = LABELS.filter(lambda label: not bad_class(label))
WHOLE = st.builds(
    lambda label, left, top, width, height: Box(
        label, left, top, min(width, WIDTH - left), min(height, HEIGHT - top), None
    ),
    CLASSES,
    st.integers(0, WIDTH - 1).map(float),
    st.integers(0, HEIGHT - 1).map(float),
    st.integers(1, WIDTH).map(float),
    st.integers(1, HEIGHT).map(float),
)
PLACE = st.floats(0, 500, allow_nan=False).map(lambda value: round(value, 3))
BOXES = WHOLE | st.builds(Box, CLASSES, PLACE, PLACE, PLACE.map(lambda v: v + 1), PLACE.map(lambda v: v + 1))
SPLITS: st.SearchStrategy[Split] = st.sampled_from(["train", "validation", "test"])


def entry_of(number: int, example: Example, split: Split, form: Format, plan: Plan) -> Entry:
    line = Line(number, "m", "", {"source-ref": example.source})
    entry = Entry(line, "bb", example, split, f"p{number}.jpg")
    return Entry(line, "bb", example, split, entry.name, form.place(plan, entry))


def through(form: Format, plan: Plan, examples: list[tuple[Example, Split]]) -> tuple[dict[str, Example], Findings]:
    """The examples after a way through the format's files, by stem."""
    findings = Findings()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        with form.write(root, plan) as writer:
            for number, (example, split) in enumerate(examples):
                writer.add(entry_of(number, example, split, form, plan))
        assert form.read is not None
        found = {
            each.picture.rpartition("/")[2].removesuffix(".jpg"): each.example for each in form.read(root, findings)
        }
    if form.fractions:
        found = {stem: in_pixels(each, WIDTH, HEIGHT) for stem, each in found.items()}
    return found, findings


@pytest.mark.parametrize("name", list(Readable))
@settings(max_examples=20)
@given(boxes=st.lists(st.tuples(st.lists(BOXES, max_size=4), SPLITS), min_size=1, max_size=4))
@always(boxes=[([Box(" cup ", 0.0, 0.0, 9.0, 9.0)], "train")])
def test_boxes_come_back(name: Readable, boxes: list[tuple[list[Box], Split]]) -> None:
    """Classes exactly, whole pixels exactly, others to a ten-thousandth; splits and pictures without objects, too."""
    classes = tuple(sorted({box.label for each, _ in boxes for box in each}))
    plan = Plan("boxes", classes, ("train", "validation", "test"))
    examples = [
        (Example(f"s3://b/p{number}.jpg", WIDTH, HEIGHT, boxes=tuple(each)), split)
        for number, (each, split) in enumerate(boxes)
    ]
    found, findings = through(format_of(name), plan, examples)
    assert not findings.total, list(findings)
    for number, (example, split) in enumerate(examples):
        read = found[f"p{number}"]
        if name is not Readable.LABEL_STUDIO:  # its export names splits only where data says so
            assert read.split == split
        assert len(read.boxes or ()) == len(example.boxes or ())
        for box, wanted in zip(read.boxes or (), example.boxes or (), strict=True):
            assert box.label == wanted.label
            places = [(getattr(box, key), getattr(wanted, key)) for key in ("left", "top", "width", "height")]
            for value, was in places:
                assert value == was if was.is_integer() and wanted.left.is_integer() else abs(value - was) <= 3e-4


@pytest.mark.parametrize("name", [Readable.COCO, Readable.VOC, Readable.CVAT, Readable.LABEL_STUDIO])
@settings(max_examples=15)
@given(labels=st.lists(st.lists(CLASSES, min_size=1, max_size=3, unique=True), min_size=1, max_size=3))
@always(labels=[[" Cup A ", "cup"]])
def test_classes_of_whole_pictures_come_back(name: Readable, labels: list[list[str]]) -> None:
    """Several classes of a picture come back in their order; from VOC by name, and without colons."""
    if name is Readable.VOC:
        labels = [sorted({label.replace(":", "-") for label in each}) for each in labels]
    plan = Plan("labels", tuple(sorted({label for each in labels for label in each})), several=True)
    examples: list[tuple[Example, Split]] = [
        (Example(f"s3://b/{n}.jpg", WIDTH, HEIGHT, labels=tuple(map(ImageLabel, each))), "train")
        for n, each in enumerate(labels)
    ]
    found, findings = through(format_of(name), plan, examples)
    assert not findings.total, list(findings)
    back = [[label.label for label in found[f"p{n}"].labels or ()] for n in range(len(labels))]
    assert [sorted(each) for each in back] == labels if name is Readable.VOC else back == labels


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_numbers_are_spelt_without_exponents(number: float) -> None:
    """What is spelt is a plain decimal, and the number again to a millionth of a millionth."""
    assert "e" not in text_of(number)
    assert float(text_of(number)) == pytest.approx(number, abs=1e-12)


@given(LABELS, LABELS)
def test_class_folders_are_safe_and_distinct(one: str, other: str) -> None:
    """No two classes share a folder, whatever the file system makes of case; none leaves its directory."""
    assert (class_folder(one).lower() == class_folder(other).lower()) == (one == other)
    assert not set(class_folder(one)) & set('/\\:*?"<>|\0')
    assert class_folder(one) not in ("", ".", "..")


@given(st.text(max_size=60), st.booleans())
def test_hostile_picture_names_become_safe_ones(name: str, dotless: bool) -> None:
    """Letters, digits, dots, hyphens and underscores are all that is left; nothing hidden, nothing empty."""
    stem, suffix = wished(f"s3://bucket/{name}", dotless=dotless)
    assert stem.isascii()
    assert stem
    assert not set(stem + suffix) & set("/\\ \n'\"<>|:*?$&;")
    assert not stem.startswith((".", "-"))
    assert not (dotless and "." in stem)


@given(BOXES, st.integers(1, 600), st.integers(1, 600))
def test_a_clipped_box_is_inside(box: Box, width: int, height: int) -> None:
    """What is left of a box is in the picture and in the box; a box that is inside stays as it is."""
    found = clipped(box, width, height)
    if found is None:
        assert box.left >= width or box.top >= height or box.width == 0 or box.height == 0
        return
    assert found.left >= box.left
    assert found.left + found.width <= min(width, box.left + box.width) + 1e-9
    assert found.top + found.height <= min(height, box.top + box.height) + 1e-9


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    """A file that declares entities is refused in one line, however small it is."""
    bomb = tmp_path / "annotations.xml"
    bomb.write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations><image name="&b;"/></annotations>')
    with pytest.raises(XmlInvalid, match="entities"):
        list(elements(bomb, "image"))


@pytest.mark.parametrize("label", ["", "  ", "a\0b", "a\nb", "\ud800", "\x85"])
def test_classes_no_file_can_hold_are_known(label: str) -> None:
    """Empty names and control characters."""
    assert bad_class(label)


def test_label_studio_answers_are_told_apart(tmp_path: Path) -> None:
    """No answer and cancelled ones are unlabelled, an empty one says there is nothing; of several the last counts."""
    rectangle = {
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 100,
        "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 15, "rectanglelabels": ["cup"]},
    }
    answers: list[list[object]] = [
        [],
        [{"was_cancelled": True, "result": [rectangle]}],
        [{"result": []}],
        [{"result": []}, {"result": [rectangle, {"type": "polygonlabels"}, {"type": "rectanglelabels", "value": 3}]}],
    ]
    tasks: list[object] = [{"data": {"image": f"s3://b/{n}.jpg"}, "annotations": a} for n, a in enumerate(answers)]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([*tasks, {"data": {}}, 7]))
    findings = Findings()
    found = [each.example for each in label_studio.read(path, findings)]
    assert [each.boxes for each in found] == [None, None, (), (Box("cup", 20, 20, 60, 40),)]
    assert findings.counts == {
        "several_annotations": 1,
        "rotated": 1,
        "other_shape": 1,
        "bad_result": 1,
        "bad_task": 2,
    }


def test_damaged_yolo_lines_are_told_by_number(tmp_path: Path) -> None:
    """Every line that is no box is a finding with its number; the others are read."""
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("names: [cup]\n")
    rows = ["0 .5 .5 .1 .1", "x", "1 .5 .5 .1 .1", "0 .1 .1 .2 .2 .3 .3", "0 .5 .5 -1 .1", "0 nan .5 .1 .1", ""]
    (tmp_path / "labels" / "train" / "a.txt").write_text("\n".join(rows))
    findings = Findings()
    (found,) = yolo.read(tmp_path, findings)
    assert len(found.example.boxes or ()) == 1
    assert [each.line for each in findings] == [2, 5, 6, 3, 4]
    assert findings.counts == {"bad_label_line": 3, "unknown_class": 1, "polygon": 1}


def test_a_cvat_file_of_another_task_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Rotated boxes are taken as upright and other shapes left out, each reported."""
    path = tmp_path / "annotations.xml"
    box = '<box label="a &amp; b" xtl="1.50" ytl="2" xbr="3" ybr="4.25" rotation="10"/>'
    path.write_text(
        f'<annotations><image id="0" name="d/x.jpg" width="9" height="9" subset="Train">{box}'
        '<polygon label="a" points="1,1;2,2"/><box label="a" xtl="?"/></image><image id="1"/></annotations>'
    )
    findings = Findings()
    (found,) = cvat.read(path, findings)
    assert found.example.boxes == (Box("a & b", 1.5, 2, 1.5, 2.25),)
    assert (found.example.split, found.example.width) == ("train", 9)
    assert findings.counts == {"rotated": 1, "other_shape": 1, "bad_box": 1, "bad_image": 1}


def test_every_format_has_its_module() -> None:
    """Each name leads to the format of that name; the readable ones can be read."""
    assert [format_of(name).name for name in Name] == [name.value for name in Name]
    assert {name.value for name in Name if format_of(name).read} == {name.value for name in Readable}
