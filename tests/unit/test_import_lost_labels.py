"""A picture of which labels were lost on the way in is never said to be empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud.dataset.findings import Findings
from cloud.labeling import tasks_import
from cloud.labeling.formats.registry import Readable
from tests.support.label_files import COCO, LABEL_STUDIO, lay, lines_of, read

IMAGE: dict[str, Any] = COCO["images"][0]
CUP: dict[str, Any] = COCO["annotations"][0]


def data_set(form: Readable, pictures: Mapping[str, list[str]]) -> dict[str, str]:
    """The files of a data set of *pictures*, by their stems, each with its labels as the format spells them."""
    stems = dict(enumerate(pictures, start=1))
    if form is Readable.COCO:
        images = [{**IMAGE, "id": number, "file_name": f"{stem}.jpg"} for number, stem in stems.items()]
        made = [{**json.loads(each), "image_id": number} for number, stem in stems.items() for each in pictures[stem]]
        return {"instances_train.json": json.dumps({**COCO, "images": images, "annotations": made})}
    if form is Readable.LABEL_STUDIO:
        tasks = [
            {
                "data": {"image": f"s3://b/{stem}.jpg"},
                "annotations": [{"result": [json.loads(each) for each in labels]}],
            }
            for stem, labels in pictures.items()
        ]
        return {"tasks.json": json.dumps(tasks)}
    if form is Readable.CVAT:
        elements = "".join(f'<image name="{stem}.jpg">{"".join(each)}</image>' for stem, each in pictures.items())
        return {"annotations.xml": f"<annotations>{elements}</annotations>"}
    if form is Readable.VOC:
        return {
            f"Annotations/{stem}.xml": f"<annotation><filename>{stem}.jpg</filename>{''.join(each)}</annotation>"
            for stem, each in pictures.items()
        }
    lines = {f"labels/train/{stem}.txt": "\n".join(["", *labels, ""]) for stem, labels in pictures.items()}
    return {"data.yaml": "names: [cup]\n", **lines, **{f"images/train/{stem}.jpg": "" for stem in pictures}}


BOX: dict[str, Any] = LABEL_STUDIO[0]["annotations"][0]["result"][0]  # type: ignore[index]
CORNERS = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
GOOD = {
    Readable.COCO: json.dumps(CUP),
    Readable.CVAT: '<box label="cup" xtl="1" ytl="1" xbr="2" ybr="2"/>',
    Readable.VOC: f"<object><name>cup</name>{CORNERS}</object>",
    Readable.YOLO: "0 .5 .5 .1 .1",
    Readable.LABEL_STUDIO: json.dumps(BOX),
}
FAULTS = [
    (Readable.COCO, json.dumps({**CUP, "bbox": ["nan", 1, 2, 2]}), "bad_annotation"),
    (Readable.COCO, json.dumps({**CUP, "category_id": 9}), "bad_annotation"),
    (Readable.COCO, json.dumps({**CUP, "bbox": None, "segmentation": [[1, 1, 2, 1, 2, 2]]}), "bad_annotation"),
    (Readable.COCO, json.dumps({**CUP, "iscrowd": 1}), "crowd"),
    (Readable.CVAT, '<box label="cup" xtl="?"/>', "bad_box"),
    (Readable.CVAT, '<box label="cup" xtl="-9e6" ytl="1" xbr="9e6" ybr="2"/>', "bad_box"),
    (Readable.CVAT, '<polygon label="cup" points="1,1;2,2"/>', "other_shape"),
    (Readable.CVAT, '<unheard-of label="cup"/>', "other_shape"),
    (Readable.CVAT, "<tag/>", "class_refused"),
    (Readable.VOC, "<object><name>cup</name></object>", "bad_object"),
    (Readable.VOC, f"<object>{CORNERS}</object>", "bad_object"),
    (
        Readable.VOC,
        GOOD[Readable.VOC].replace("<xmin>1<", "<xmin>-9e6<").replace("<xmax>3<", "<xmax>9e6<"),
        "bad_box",
    ),
    (Readable.YOLO, "0 .5 .5", "bad_label_line"),
    (Readable.YOLO, "0 .5 .5 -1 .1", "bad_label_line"),
    (Readable.YOLO, "7 .5 .5 .1 .1", "unknown_class"),
    (Readable.YOLO, "0 .1 .1 .2 .1 .2 .2", "polygon"),
    (Readable.LABEL_STUDIO, json.dumps({**BOX, "value": {**BOX["value"], "rectanglelabels": []}}), "bad_result"),
    (Readable.LABEL_STUDIO, json.dumps({**BOX, "value": {**BOX["value"], "width": 9e6}}), "bad_box"),
    (Readable.LABEL_STUDIO, json.dumps({"type": "choices", "value": {"choices": [7]}}), "bad_result"),
    (Readable.LABEL_STUDIO, json.dumps({"type": "polygonlabels"}), "other_shape"),
]


@pytest.mark.parametrize(("form", "bad", "code"), FAULTS)
def test_a_picture_that_lost_all_its_labels_is_not_empty(tmp_path: Path, form: Readable, bad: str, code: str) -> None:
    """It is left out and counted; with another label it stays, and a picture without any is empty as before."""
    files = data_set(form, {"lost": [bad], "kept": [bad, GOOD[form]], "empty": []})
    found, told = read(form, tmp_path, files)
    assert (found, told[code], told["bad_labels"]) == ({"kept.jpg": ["cup"], "empty.jpg": []}, 2, 1)


@pytest.mark.parametrize(
    ("form", "bad", "code"), [each for each in FAULTS if each[0] in (Readable.CVAT, Readable.LABEL_STUDIO)]
)
def test_an_answer_that_lost_all_its_labels_is_none(tmp_path: Path, form: Readable, bad: str, code: str) -> None:
    """``label fetch --from`` leaves its line unlabelled and tells it; the other answers stand in theirs."""
    root = lay(tmp_path / "set", data_set(form, {"lost": [bad], "kept": [bad, GOOD[form]], "empty": []}))
    sent, made, findings = tmp_path / "sent", tmp_path / "made", Findings()
    sent.write_text("".join(f'{{"source-ref":"s3://b/{stem}.jpg"}}\n' for stem in ("lost", "kept", "empty")))
    origin = tasks_import.Origin("j", "bb", datetime(2026, 1, 1, tzinfo=UTC))
    tasks_import.read_back(form, root, str(sent), origin, str(made), findings, None)
    lost, kept, empty = map(json.loads, made.read_text().splitlines())
    assert (lost, len(kept["bb"]["annotations"])) == ({"source-ref": "s3://b/lost.jpg"}, 1)
    assert (empty["bb"]["annotations"], findings.counts[code]) == ([], 2)


def test_a_lost_box_beside_a_class_leaves_no_empty_list(tmp_path: Path) -> None:
    """A picture of which a box was dropped and a class was read has that class, and no empty list of boxes."""
    files = data_set(Readable.CVAT, {"a": ['<box label="cup" xtl="?"/>', '<tag label="blue"/>']})
    (line,) = lines_of(Readable.CVAT, lay(tmp_path / "set", files), Findings())
    assert json.loads(line)["labels-metadata"]["class-name"] == "blue"


def test_an_empty_yolo_file_says_that_nothing_is_there(tmp_path: Path) -> None:
    """A label file of no bytes is a picture somebody looked at."""
    root = lay(tmp_path / "set", data_set(Readable.YOLO, {"a": []}))
    (root / "labels" / "train" / "a.txt").write_bytes(b"")
    assert read(Readable.YOLO, tmp_path, {}) == ({"a.jpg": []}, {})


def test_voc_lists_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """One of a split costs no picture; one of a class costs those without a label, which may have stood in it."""
    files = data_set(Readable.VOC, {"a": [GOOD[Readable.VOC]], "b": []})
    (tmp_path / "set" / "ImageSets" / "Main" / "train.txt").mkdir(parents=True)
    assert read(Readable.VOC, tmp_path, files) == ({"a.jpg": ["cup"], "b.jpg": []}, {"unreadable": 1})
    (tmp_path / "set" / "ImageSets" / "Main" / "cup_train.txt").mkdir()
    (tmp_path / "set.manifest").unlink()
    assert read(Readable.VOC, tmp_path, files) == ({"a.jpg": ["cup"]}, {"unreadable": 2, "bad_labels": 1})


def test_an_answer_without_a_list_of_results_says_nothing(tmp_path: Path) -> None:
    """A picture is not empty because its annotation is damaged: it is left out, and that is told."""
    tasks = [{"data": {"image": "s3://b/b.jpg"}, "annotations": [{"result": 5}]}, *LABEL_STUDIO]
    found = read(Readable.LABEL_STUDIO, tmp_path, {"tasks.json": json.dumps(tasks)})
    assert found == ({"a.jpg": ["cup"]}, {"bad_result": 1, "bad_labels": 1})
