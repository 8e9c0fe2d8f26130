"""Runs in the readers' own environment: reads every export there is with every library that can, prints JSON."""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Pictures = dict[str, dict[str, Any]]
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def picture(size: Any, split: str, boxes: Any, **more: Any) -> dict[str, Any]:
    rounded = sorted([label, *(round(float(value), 3) for value in place)] for label, *place in boxes)
    return {
        "size": None if None in size else [int(value) for value in size],
        "split": SPLITS[split],
        "boxes": rounded,
        **more,
    }


def coco_pycocotools(root: Path, scratch: Path) -> Pictures:
    tools = import_module("pycocotools.coco")
    found: Pictures = {}
    for path in sorted((root / "annotations").glob("instances_*.json")):
        data = tools.COCO(str(path))
        names = {each["id"]: each["name"] for each in data.loadCats(data.getCatIds())}
        for image in data.loadImgs(data.getImgIds()):
            boxes = [(names[a["category_id"]], *a["bbox"]) for a in data.loadAnns(data.getAnnIds(imgIds=[image["id"]]))]
            size = image["width"], image["height"]
            found[Path(image["file_name"]).stem] = picture(size, path.stem.rpartition("_")[2], boxes)
    return found


def _supervision(data: Any, split: str) -> Pictures:
    found: Pictures = {}
    for path, image, detections in data:
        boxes = [
            (data.classes[int(number)], x1, y1, x2 - x1, y2 - y1)
            for (x1, y1, x2, y2), number in zip(detections.xyxy, detections.class_id, strict=True)
        ]
        found[Path(path).stem] = picture((image.shape[1], image.shape[0]), split, boxes)
    return found


def coco_supervision(root: Path, scratch: Path) -> Pictures:
    data = import_module("supervision").DetectionDataset
    found: Pictures = {}
    for split in ("train", "val", "test"):
        path = root / "annotations" / f"instances_{split}.json"
        found |= _supervision(data.from_coco(str(root / "images" / split), str(path)), split)
    return found


def yolo_supervision(root: Path, scratch: Path) -> Pictures:
    data = import_module("supervision").DetectionDataset
    found: Pictures = {}
    for split in ("train", "val", "test"):
        places = root / "images" / split, root / "labels" / split, root / "data.yaml"
        found |= _supervision(data.from_yolo(*map(str, places)), split)
    return found


def voc_supervision(root: Path, scratch: Path) -> Pictures:
    data = import_module("supervision").DetectionDataset
    every = _supervision(data.from_pascal_voc(str(root / "JPEGImages"), str(root / "Annotations")), "train")
    for split in ("train", "val", "test"):
        for name in (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
            every[name]["split"] = SPLITS[split]
    return every


def _cvat(root: Path, scratch: Path) -> Any:
    """Without a subset named, datumaro reads none of the images that have one."""
    datumaro = import_module("datumaro")
    for split in ("train", "validation", "test"):
        data = datumaro.Dataset.import_from(str(root), "cvat", subset=split)
        names = [each.name for each in data.categories()[datumaro.AnnotationType.label]]
        for item in data:
            yield split, item, names, datumaro.AnnotationType


def cvat_datumaro(root: Path, scratch: Path) -> Pictures:
    found: Pictures = {}
    for split, item, names, kinds in _cvat(root, scratch):
        boxes = [(names[a.label], *a.get_bbox()) for a in item.annotations if a.type == kinds.bbox]
        height, width = item.media.size
        found[Path(item.id).stem] = picture((width, height), split, boxes)
    return found


def _datumaro(kind: str, **options: str) -> Callable[[Path, Path], Pictures]:
    def read(root: Path, scratch: Path) -> Pictures:
        datumaro = import_module("datumaro")
        data = datumaro.Dataset.import_from(str(root), kind, **options)
        names = [each.name for each in data.categories()[datumaro.AnnotationType.label]]
        found: Pictures = {}
        for item in data:
            boxes = [
                (names[a.label], *a.get_bbox()) for a in item.annotations if a.type == datumaro.AnnotationType.bbox
            ]
            height, width = item.media.size
            split = item.subset if item.subset in SPLITS else "train"
            found[Path(item.id).stem] = picture((width, height), split, boxes)
        return found

    return read


def label_studio(root: Path, scratch: Path) -> Pictures:
    converter = import_module("label_studio_sdk.converter").Converter
    made = converter(config=(root / "config.xml").read_text(), project_dir=str(root.parent), download_resources=False)
    made.convert_to_coco(str(root / "tasks.json"), str(scratch / "ls"), is_dir=False)
    result = json.loads((scratch / "ls" / "result.json").read_text())
    names = {each["id"]: each["name"] for each in result["categories"]}
    tasks = [task["data"] for task in json.loads((root / "tasks.json").read_text())]
    splits = {Path(task["image"]).stem: task["split"] for task in tasks}
    found: Pictures = {}
    for image in result["images"]:
        boxes = [(names[a["category_id"]], *a["bbox"]) for a in result["annotations"] if a["image_id"] == image["id"]]
        stem = Path(image["file_name"]).stem
        found[stem] = picture((image["width"], image["height"]), splits[stem], boxes)
    return found


def webdataset(root: Path, scratch: Path) -> Pictures:
    wds, pil = import_module("webdataset"), import_module("PIL.Image")
    found: Pictures = {}
    for path in sorted(root.glob("*/*.tar")):
        for sample in wds.WebDataset(str(path), shardshuffle=False):
            facts = json.loads(sample["json"])
            image = pil.open(io.BytesIO(sample.get("jpg") or sample["png"]))
            assert image.size == (facts["width"] or image.size[0], facts["height"] or image.size[1])
            boxes = [(box["label"], *box["bbox"]) for box in facts["boxes"]]
            found[sample["__key__"].rpartition("/")[2]] = picture(image.size, path.parent.name, boxes)
    return found


def huggingface(root: Path, scratch: Path) -> Pictures:
    data = import_module("datasets").load_dataset("imagefolder", data_dir=str(root), cache_dir=str(scratch / "cache"))
    found: Pictures = {}
    for split, rows in data.items():
        for row in rows:
            objects = row["objects"]
            boxes = [(name, *place) for name, place in zip(objects["category"], objects["bbox"], strict=True)]
            found[row["source"].rpartition("/")[2].rpartition(".")[0]] = picture(row["image"].size, split, boxes)
    return found


def huggingface_classes(root: Path, scratch: Path) -> Any:
    data = import_module("datasets").load_dataset("imagefolder", data_dir=str(root), cache_dir=str(scratch / "classes"))
    return {split: sorted(row["label"] for row in rows) for split, rows in data.items()}


def folders_supervision(root: Path, scratch: Path) -> Any:
    data = import_module("supervision").ClassificationDataset
    found = {}
    for split in ("train", "val", "test"):
        read = data.from_folder_structure(str(root / split))
        found[SPLITS[split]] = sorted(read.classes[int(each.class_id[0])] for each in read.annotations.values())
    return found


def cvat_classes(root: Path, scratch: Path) -> Any:
    found: dict[str, list[str]] = {}
    for split, item, names, _ in _cvat(root, scratch):
        found.setdefault(split, []).extend(names[each.label] for each in item.annotations)
    return {split: sorted(labels) for split, labels in found.items()}


READERS: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "coco: pycocotools": ("coco", coco_pycocotools),
    "coco: supervision": ("coco", coco_supervision),
    "coco: datumaro": ("coco", _datumaro("coco_instances")),
    "yolo: supervision": ("yolo", yolo_supervision),
    "yolo: datumaro": ("yolo", _datumaro("yolo")),
    "voc: supervision": ("voc", voc_supervision),
    "voc: datumaro": ("voc", _datumaro("voc_detection", coordinate_mode="voc-one-based")),
    "cvat: datumaro": ("cvat", cvat_datumaro),
    "label-studio: label-studio-sdk": ("label-studio", label_studio),
    "webdataset: webdataset": ("webdataset", webdataset),
    "huggingface: datasets": ("huggingface", huggingface),
    "classes: datasets": ("huggingface-classes", huggingface_classes),
    "classes: supervision": ("yolo-classes", folders_supervision),
    "classes: datumaro": ("cvat-classes", cvat_classes),
}


def main(exports: Path, scratch: Path) -> None:
    said, sys.stdout = sys.stdout, sys.stderr  # libraries print
    found: dict[str, Any] = {}
    for name, (directory, reader) in READERS.items():
        try:
            found[name] = reader(exports / directory, scratch)
        except Exception:  # noqa: BLE001 - whatever a library raises is what the test is to show
            found[name] = traceback.format_exc()
    print(json.dumps(found), file=said)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
