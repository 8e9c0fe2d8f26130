"""A small data set in each format that can be imported, laid out on the disk and read back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from cloud.dataset.findings import Findings
from cloud.labeling.export_import import read_back, write_manifest
from cloud.labeling.formats.registry import Readable, format_of

LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/local-files/?d=set/images/a.jpg", "source": "s3://b/a.jpg", "split": "train"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {
                        "type": "rectanglelabels",
                        "original_width": 640,
                        "original_height": 480,
                        "value": {"x": 1, "y": 1, "width": 2, "height": 3, "rotation": 0, "rectanglelabels": ["cup"]},
                        "score": 0.4,
                    },
                    {"type": "choices", "value": {"choices": ["blue"]}},
                ],
            }
        ],
    }
]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
    "categories": [{"id": 1, "name": "cup"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "iscrowd": 0, "score": 0.3}],
}
CVAT = (
    '<?xml version="1.0" encoding="utf-8"?><annotations><meta><task><labels><label><name>cup</name>'
    "<type>rectangle</type></label></labels></task></meta>"
    '<image id="0" name="a.jpg" subset="train" width="10" height="10">'
    '<box label="cup" xtl="1" ytl="1" xbr="2" ybr="2"/>'
    '<tag label="blue"/></image></annotations>'
)
VOC = (
    '<?xml version="1.0" encoding="utf-8"?><annotation><filename>a.jpg</filename><size><width>10</width>'
    "<height>10</height><depth>3</depth></size><object><name>cup</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
    "<xmax>3</xmax><ymax>3</ymax></bndbox></object></annotation>"
)
DATA_SETS: dict[Readable, dict[str, str]] = {
    Readable.COCO: {"instances_train.json": json.dumps(COCO)},
    Readable.LABEL_STUDIO: {"tasks.json": json.dumps(LABEL_STUDIO)},
    Readable.CVAT: {"annotations.xml": CVAT},
    Readable.VOC: {
        "Annotations/a.xml": VOC,
        "ImageSets/Main/train.txt": "a\n",
        "ImageSets/Main/cup_train.txt": "a  1\n",
        "labelmap.txt": "cup:::\n",
    },
    Readable.YOLO: {
        "data.yaml": "names:\n  0: cup\n",
        "labels/train/a.txt": "0 .5 .5 .1 .1 .9\n",
        "images/train/a.bmp": "",
    },
}


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """*files* below *root*, and a picture of 20 x 10 pixels where they name one."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(errors="surrogateescape") if text else bmp(20, 10))
    return root


def bmp(width: int, height: int) -> bytes:
    pixels = bytes(min(width * height, 400) * 4)
    sizes = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + sizes + pixels


def lines_of(form: Readable, path: Path, findings: Findings, base: str | None = None) -> list[str]:
    """The manifest of the data set *path*. Raises what an import does."""
    made = path.parent / f"{path.name}.manifest"
    outcome = write_manifest(read_back(format_of(form), path, findings, base=base), made, findings)
    lines = made.read_text().splitlines()
    assert len(lines) == outcome.lines
    return lines


def read(form: Readable, root: Path, files: Mapping[str, str]) -> tuple[dict[str, list[str] | None], dict[str, int]]:
    """The classes by the names of the pictures (None: unlabelled), and the findings by kind."""
    findings = Findings()
    found: dict[str, list[str] | None] = {}
    for line in map(json.loads, lines_of(form, lay(root / "set", files), findings)):
        names = line.get("labels-metadata", {}).get("class-map", {})
        labels = line.get("labels", {}).get("annotations") if "labels" in line else None
        name = line["source-ref"].rpartition("/")[2]
        found[name] = None if labels is None else [names[str(each["class_id"])] for each in labels]
    return found, dict(findings.counts)
