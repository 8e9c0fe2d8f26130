"""Manifests for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GROUND_TRUTH = Path(__file__).parents[1] / "ground_truth"
"""Output manifests of two real jobs."""


def line(number: int, bucket: str = "bucket", **more: Any) -> dict[str, Any]:
    """A line as ours are, about a frame of its own."""
    stem = "yellow_box_dock7-cam1-20261122T143105123Z"
    return {
        "source-ref": f"s3://{bucket}/frames/{stem}/{stem}_{number:06d}.jpg",
        "color": "yellow",
        "object": "box",
        **more,
    }


def write(path: Path, lines: Iterable[bytes | str | Mapping[str, Any]]) -> Path:
    """*lines*, mappings as JSON, at *path*."""
    with path.open("wb") as file:
        for each in lines:
            text = json.dumps(each) if isinstance(each, Mapping) else each
            file.write((text if isinstance(text, bytes) else text.encode()) + b"\n")
    return path


def boxed(
    number: int, *boxes: tuple[int, int, int, int], label: str = "box", size: tuple[int, int] = (640, 480)
) -> dict[str, Any]:
    """A line with labels of a bounding-box job: each box as left, top, width, height."""
    places = [dict(zip(("left", "top", "width", "height"), box, strict=True)) for box in boxes]
    return {
        **line(number),
        "bb": {
            "annotations": [{"class_id": 0, **place} for place in places],
            "image_size": [{"width": size[0], "height": size[1], "depth": 3}],
        },
        "bb-metadata": {
            "job-name": "labeling-job/test",
            "class-map": {"0": label} if boxes else {},
            "human-annotated": "yes",
            "objects": [{"confidence": 0.09} for _ in boxes],
            "creation-date": "2026-11-22T12:00:00.000000",
            "type": "groundtruth/object-detection",
        },
    }
