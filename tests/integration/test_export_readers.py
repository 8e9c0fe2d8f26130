"""What edge-cloud export writes, read by the libraries that trainers load data sets with."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.dataset.findings import Findings
from cloud.labeling.export import Target, export
from cloud.labeling.export_plan import Source, What, make_plan
from cloud.labeling.formats.registry import Name, format_of
from tests.support import labelled, readers

pytestmark = pytest.mark.skipif(bool(readers.missing()), reason=readers.missing())

EXPECTED: dict[str, dict[str, Any]] = {
    stem: {
        "size": [labelled.WIDTH, labelled.HEIGHT],
        "split": split,
        "boxes": sorted([label, *map(float, place)] for label, *place in places),
    }
    for stem, (split, places) in labelled.PLACES.items()
}
CLASSES = {"train": ["blue_box"] * 3, "validation": ["blue_box"], "test": ["blue_box"]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each reader made of one small data set in its format; one process reads all."""
    root = tmp_path_factory.mktemp("readers")
    manifest = labelled.dataset(root)
    wanted: list[tuple[Name, What, str]] = [(name, "boxes", name.value) for name in Name]
    wanted += [(name, "tags", f"{name}-classes") for name in (Name.YOLO, Name.CVAT, Name.HUGGINGFACE)]
    for name, what, directory in wanted:
        form, source = format_of(name), Source.of(manifest, "m", None, ("color", "object"))
        chosen = make_plan(source, form, what, pictures=True, title=directory)
        export(source, form, chosen, Target(root / "exports" / directory), Findings(), strict=True)
    scratch = root / "scratch"
    scratch.mkdir()
    return readers.read(root / "exports", scratch)


@pytest.mark.parametrize(
    "reader",
    [
        "coco: pycocotools",
        "coco: supervision",
        "coco: datumaro",
        "yolo: supervision",
        "yolo: datumaro",
        "voc: supervision",
        "voc: datumaro",
        "cvat: datumaro",
        "label-studio: label-studio-sdk",
        "webdataset: webdataset",
        "huggingface: datasets",
    ],
)
def test_a_real_reader_finds_every_picture_split_and_box(found: dict[str, Any], reader: str) -> None:
    """Pictures, sizes, splits, classes and places are what the manifest says, to a thousandth of a pixel."""
    read = found[reader]
    assert isinstance(read, dict), read
    if reader.startswith("label-studio"):  # its converter takes the size from the boxes, where there are any
        for stem, each in read.items():
            if not each["boxes"]:
                each["size"] = EXPECTED[stem]["size"]
    assert set(read) == set(EXPECTED)
    for stem, expected in EXPECTED.items():
        assert {**read[stem], "boxes": None} == {**expected, "boxes": None}
        assert len(read[stem]["boxes"]) == len(expected["boxes"])
        for box, wanted in zip(read[stem]["boxes"], expected["boxes"], strict=True):
            assert box == [wanted[0], *(pytest.approx(value, abs=1e-3) for value in wanted[1:])]


@pytest.mark.parametrize("reader", ["classes: datasets", "classes: supervision", "classes: datumaro"])
def test_a_real_reader_finds_the_classes_of_whole_pictures(found: dict[str, Any], reader: str) -> None:
    """Class fields alone make a classification data set, by split."""
    assert found[reader] == CLASSES, found[reader]
