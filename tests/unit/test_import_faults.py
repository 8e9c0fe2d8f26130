"""What is wrong in the label files of other tools is told, and never turns into another label."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from cloud.dataset.findings import Findings
from cloud.labeling.formats import cvat
from cloud.labeling.formats.registry import Readable
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.settings_file import read_mapping
from tests.support.label_files import COCO, CVAT, DATA_SETS, LABEL_STUDIO, VOC, bmp, lay, lines_of, read

IMAGE: dict[str, Any] = COCO["images"][0]
CUP: dict[str, Any] = COCO["annotations"][0]


def coco(**changed: object) -> str:
    return json.dumps({**COCO, **changed})


@pytest.mark.parametrize(
    ("document", "found", "told"),
    [
        (coco(annotations=[CUP, {**CUP, "image_id": 77}]), {"a.jpg": ["cup"]}, {"bad_annotation": 1}),
        (
            coco(images=[IMAGE, {**IMAGE, "file_name": "b.jpg"}, {**IMAGE, "id": 2, "file_name": "c.jpg"}]),
            {"c.jpg": []},
            {"bad_image": 2, "bad_annotation": 1},
        ),
        (coco(images=[IMAGE, IMAGE]), {"a.jpg": ["cup"]}, {"duplicate_line": 1}),
        (coco(images=[IMAGE, {"file_name": "b.jpg"}]), {"a.jpg": ["cup"]}, {"bad_image": 1}),
        (
            coco(
                images=[IMAGE, {"id": 2, "file_name": "b.jpg"}],
                categories=[*COCO["categories"], {"id": 1, "name": "box"}],
            ),
            {"b.jpg": []},
            {"bad_category": 1, "bad_annotation": 1, "bad_labels": 1},
        ),
        (json.dumps({"images": [IMAGE], "categories": []}), {"a.jpg": None}, {}),
        (coco(images=[{**IMAGE, "id": 1.0}]), {"a.jpg": ["cup"]}, {}),
    ],
    ids=["no such image", "two images of one id", "an image twice", "no id", "two categories", "no list", "float"],
)
def test_coco_ids_that_lead_nowhere_or_to_two_are_told(
    tmp_path: Path, document: str, found: dict[str, Any], told: dict[str, int]
) -> None:
    """An annotation goes to the one image and the one category of its ids, or it is counted as left out."""
    assert read(Readable.COCO, tmp_path, {"instances_train.json": document}) == (found, told)


def test_captions_beside_coco_instances_are_passed_over(tmp_path: Path) -> None:
    """The official layout gives each picture once, with its boxes; the file without categories is named."""
    captions = json.dumps({"images": [IMAGE], "annotations": [{"id": 1, "image_id": 1, "caption": "a cup"}]})
    files = {"annotations/captions_train2017.json": captions, "annotations/instances_train2017.json": json.dumps(COCO)}
    assert read(Readable.COCO, tmp_path, files) == ({"a.jpg": ["cup"]}, {"no_categories": 1})


def test_a_coco_list_of_pictures_takes_no_labels_away(tmp_path: Path) -> None:
    """The official image_info file of a split knows no labels: where another file of it does, they are kept."""
    files = {
        "annotations/image_info_train.json": json.dumps({"images": [IMAGE, {**IMAGE, "id": 2, "file_name": "b.jpg"}]})
    }
    files["annotations/instances_train.json"] = json.dumps(COCO)
    assert read(Readable.COCO, tmp_path, files) == ({"a.jpg": ["cup"], "b.jpg": None}, {"duplicate_line": 1})


@pytest.mark.parametrize(
    ("form", "files"),
    [
        (Readable.COCO, {"i.json": coco(images=[IMAGE, {**IMAGE, "id": 2}])}),
        (Readable.VOC, {"Annotations/a.xml": VOC, "Annotations/b.xml": VOC}),
        (Readable.CVAT, {"annotations.xml": CVAT.replace("</annotations>", '<image name="a.jpg"/></annotations>')}),
        (Readable.LABEL_STUDIO, {"tasks.json": json.dumps(LABEL_STUDIO * 2)}),
    ],
)
def test_a_picture_that_comes_twice_is_one_line(tmp_path: Path, form: Readable, files: dict[str, str]) -> None:
    """The first answer for a picture is kept, the second is counted as left out."""
    assert read(form, tmp_path, files) == ({"a.jpg": ["cup"]}, {"duplicate_line": 1})


@pytest.mark.parametrize("name", ["foo", "rot13", "utf-7", "utf-16", "zlib", "undefined"])
@pytest.mark.parametrize("form", [Readable.VOC, Readable.CVAT])
def test_an_encoding_that_cannot_be_read_is_told(tmp_path: Path, form: Readable, name: str) -> None:
    """A VOC file of such an encoding is left out and the others come back; a CVAT export is refused in one line."""
    good = DATA_SETS[form]
    bad = {path: text.replace("utf-8", name).replace("a.jpg", "b.jpg") for path, text in good.items()}
    if form is Readable.VOC:
        files = {**good, "Annotations/b.xml": bad["Annotations/a.xml"]}
        del files["ImageSets/Main/cup_train.txt"]
        assert read(form, tmp_path, files) == ({"a.jpg": ["cup"]}, {"bad_xml": 1})
    else:
        with pytest.raises(EdgeCaptureError, match=r"annotations\.xml: is (no XML|in an encoding)"):
            read(form, tmp_path, bad)


@pytest.mark.parametrize("name", ["cp932", "Shift_JIS", "gbk", "Big5", "iso-8859-5", "utf-8"])
def test_labels_in_the_encoding_their_file_declares_come_back(tmp_path: Path, name: str) -> None:
    """Japanese and Chinese class names, of files as the label tools there write them."""
    label = {"gbk": "杯子", "Big5": "杯子", "iso-8859-5": "Чашка"}.get(name, "コップ" * 3000)
    text = VOC.replace("utf-8", name).replace("cup", label)
    root = lay(tmp_path / "set", {"Annotations/b.xml": VOC.replace("a.jpg", "b.jpg")})
    (root / "Annotations" / "a.xml").write_bytes(text.encode(name))
    assert read(Readable.VOC, tmp_path, {}) == ({"a.jpg": [label], "b.jpg": ["cup"]}, {})


@pytest.mark.parametrize(
    "value",
    ["2026-13-45", "!!int abc", "!!float x", "!!bool x", "!!timestamp x", '!!int ""', "9" * 5000, "[" * 1200, "*a"],
)
def test_yaml_that_cannot_be_is_one_line(tmp_path: Path, value: str) -> None:
    """Dates, numbers and tags that cannot be, and nesting beyond reason, in settings and in a data.yaml."""
    path = tmp_path / "set" / "data.yaml"
    lay(tmp_path / "set", {**DATA_SETS[Readable.YOLO], "data.yaml": f"names: [{value}]\n"})
    with pytest.raises(ConfigInvalid, match=r"data\.yaml(:\d+:\d+)?: is no valid YAML: ") as settings:
        read_mapping(path, "an example")
    with pytest.raises(ConfigInvalid) as names:
        read(Readable.YOLO, tmp_path, {})
    assert str(settings.value).isprintable()
    assert str(names.value) == str(settings.value)


@pytest.mark.parametrize("name", ["*a6", "[cup]", "{}", "yes", "2026-01-01", "null", "0x" + "F" * 5000])
def test_a_yolo_class_that_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    """Lists of lists that would fill the memory when spelt, and words that YAML takes for something else."""
    bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 7))
    files = {**DATA_SETS[Readable.YOLO], "data.yaml": f"{bomb}names: {{0: {name}}}\n"}
    tracemalloc.start()
    with pytest.raises(ConfigInvalid, match="class 0 in 'names' is no text; put its name in quotes"):
        read(Readable.YOLO, tmp_path, files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_a_yolo_set_with_bad_files_gives_the_good_ones(tmp_path: Path) -> None:
    """A directory where a label file should be, a picture beyond measure, a class of thousands of zeros, a BOM."""
    good = DATA_SETS[Readable.YOLO]
    files = {
        **good,
        "labels/train/a.txt": "\ufeff" + "0" * 5000 + " .5 .5 .1 .1\n",
        "labels/train/b.txt": "0 0 0 0 0\n",
    }
    root = lay(tmp_path / "set", files)
    (root / "labels" / "train" / "c.txt").mkdir()
    (root / "images" / "train" / "b.bmp").write_bytes(bmp(60_000, 60_000))
    (root / "images" / "train" / "b.jpg").mkdir()
    (root / "labels" / "train" / "d.txt").write_text("0 0 0 0 0\n")
    (root / "images" / "train" / "d.jpg").symlink_to("/proc/self/mem")  # a file that cannot be read, even by root
    assert read(Readable.YOLO, tmp_path, {}) == ({"a.bmp": ["cup"]}, {"unreadable": 1, "size_unknown": 2})


@pytest.mark.parametrize("form", [Readable.COCO, Readable.VOC, Readable.CVAT, Readable.LABEL_STUDIO])
def test_a_name_no_file_can_have_ends_no_import(tmp_path: Path, form: Readable) -> None:
    """A name of 300 letters, and one of a link to itself, are names of pictures that are not there."""
    long = "x" * 300
    files = {
        path: text.replace("a.jpg", f"{long}.jpg").replace("s3://b/", "") for path, text in DATA_SETS[form].items()
    }
    assert list(read(form, tmp_path, files)[0]) == [f"{long}.jpg"]
    root = lay(tmp_path / "loop", {path: text.replace("s3://b/", "") for path, text in DATA_SETS[form].items()})
    for directory in (root, root / "images", root / "images" / "train", root / "JPEGImages"):
        directory.mkdir(exist_ok=True)
        (directory / "a.jpg").symlink_to("a.jpg")
    assert len(lines_of(form, root, Findings())) == 1


@pytest.mark.parametrize(
    ("score", "fix"), [(87, "percent"), (-0.5, "not used"), (101, "not used"), ("high", "not used")]
)
def test_a_score_that_is_no_confidence_is_told(tmp_path: Path, score: object, fix: str) -> None:
    """The box is kept, its score is not, and percent are called by their name."""
    findings = Findings()
    (line,) = lines_of(
        Readable.COCO, lay(tmp_path / "set", {"i.json": coco(annotations=[{**CUP, "score": score}])}), findings
    )
    (finding,) = findings
    assert (finding.code, fix in finding.fix) == ("bad_confidence", True)
    assert "objects" not in json.loads(line)["labels-metadata"]


@pytest.mark.parametrize("form", [Readable.COCO, Readable.LABEL_STUDIO])
def test_json_with_a_byte_order_mark_is_read(tmp_path: Path, form: Readable) -> None:
    """As editors on Windows save it."""
    files = {path: "\ufeff" + text for path, text in DATA_SETS[form].items()}
    assert read(form, tmp_path, files) == ({"a.jpg": ["cup"]}, {})


@pytest.mark.parametrize("kind", ["rectangle", "tag"])
def test_a_cvat_export_is_read_in_pieces(tmp_path: Path, kind: str) -> None:
    """Whatever kind its labels are, memory does not grow with the number of images."""
    peaks = []
    for number in (1000, 10_000):
        path = tmp_path / "annotations.xml"
        images = "".join(f'<image name="{n}.jpg" width="9" height="9"/>' for n in range(number))
        path.write_text(CVAT.replace("rectangle", kind).replace("</annotations>", f"{images}</annotations>"))
        tracemalloc.start()
        assert sum(1 for _ in cvat.read(path, Findings())) == number + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 1e6  # bytes; whole, it would be 4e6
