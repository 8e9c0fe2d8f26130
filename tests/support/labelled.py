"""Small labelled data sets: a manifest with real pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Place = tuple[str, float, float, float, float]
"""Class, left, top, width, height."""

WIDTH, HEIGHT = 96, 64


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT, shade: int = 0) -> Path:
    """A picture of that size at *path*, JPEG or PNG by its suffix."""
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), shade % 256, np.uint8)
    cv2.rectangle(pixels, (width // 4, height // 4), (width // 2, height // 2), (20, 200, 240), -1)
    assert cv2.imwrite(str(path), pixels)
    return path


def line(source: str, places: Sequence[Place] | None, **more: object) -> dict[str, object]:
    """A line as a bounding box job of one worker makes it; without labels when *places* is None."""
    fields: dict[str, object] = {"source-ref": source, "color": "blue", "object": "box", **more}
    if places is None:
        return fields
    classes = sorted({place[0] for place in places})
    boxes = [
        {"class_id": classes.index(label), "width": width, "top": top, "height": height, "left": left}
        for label, left, top, width, height in places
    ]
    size = {"width": WIDTH, "depth": 3, "height": HEIGHT}
    metadata = {
        "job-name": "labeling-job/test",
        "class-map": {str(number): name for number, name in enumerate(classes)},
        "human-annotated": "yes",
        "objects": [{"confidence": 0.09}] * len(boxes),
        "creation-date": "2019-05-21T20:14:59.371954",
        "type": "groundtruth/object-detection",
    }
    return {**fields, "bb": {"annotations": boxes, "image_size": [size]}, "bb-metadata": metadata}


def manifest(path: Path, lines: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return path


PLACES: dict[str, tuple[str, list[Place]]] = {
    "a_1_000001": ("train", [("storage box", 0, 0, 10, 20), ("cup & <saucer>", 30.5, 12.25, 40, 30)]),
    "a_1_000002": ("train", []),
    "a_1_000003": ("train", [("storage box", 86, 54, 10, 10)]),
    "b_1_000001": ("validation", [("cup & <saucer>", 1, 2, 3, 4), ("storage box", 5, 6, 90, 50)]),
    "c_1_000001": ("test", [("storage box", 33, 21, 17, 13)]),
}
"""By stem: the split and the boxes of :func:`dataset`; one picture has nothing in it."""


def dataset(directory: Path) -> Path:
    """The manifest of :data:`PLACES`, its pictures beside it."""
    lines = []
    for shade, (stem, (split, places)) in enumerate(PLACES.items()):
        path = picture(directory / "frames" / f"{stem}.jpg", shade=shade * 20)
        lines.append(line(path.as_uri(), places, split=split))
    return manifest(directory / "dataset.manifest", lines)
