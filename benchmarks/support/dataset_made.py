"""What the data set benchmark works on, made by the script: manifests, pictures, a data set of any size.

``python -m benchmarks.support.dataset_made WHAT ARGUMENTS...``, in a process of its own: what is measured afterwards
would count this one's memory as its own (Linux keeps the greater peak over exec).
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

COLORS, OBJECTS = ("yellow", "blue", "black", "white"), ("box", "cup", "pallet")


def manifest(path: Path, lines: int) -> Path:
    """*lines* good lines as ours are, 1,000 of each video."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            stem = _stem(number // 1000)
            source = f"s3://bucket/frames/{stem}/{stem}_{number % 1000 * 30:06d}.jpg"
            color, thing, _ = stem.split("_", 2)
            file.write(f'{{"source-ref": "{source}", "color": "{color}", "object": "{thing}"}}\n')
    return path


def boxed(path: Path, boxes: int, pictures: Path) -> Path:
    """An output manifest with *boxes* boxes, two on each picture; pictures are links to those in *pictures*."""
    chance, known = random.Random(1), sorted(pictures.glob("*.jpg"))
    with path.open("w", encoding="utf-8") as file:
        for number in range(boxes // 2):
            source = path.parent / "labelled" / f"{_stem(number // 100)}_{number % 100:06d}.jpg"
            source.parent.mkdir(exist_ok=True)
            os.link(known[number % len(known)], source)
            places = [{"class_id": chance.randrange(3), "left": chance.randrange(1500), "top": chance.randrange(800),
                       "width": 200, "height": 150} for _ in range(2)]  # fmt: skip
            file.write(json.dumps(_labelled(source.as_uri(), places)) + "\n")
    return path


def _labelled(source: str, places: list[dict[str, int]]) -> dict[str, Any]:
    return {
        "source-ref": source,
        "color": "yellow",
        "object": "box",
        "bb": {"annotations": places, "image_size": [{"width": 1920, "height": 1080, "depth": 3}]},
        "bb-metadata": {
            "job-name": "labeling-job/benchmark",
            "class-map": {"0": "box", "1": "cup", "2": "pallet"},
            "human-annotated": "yes",
            "objects": [{"confidence": 0.9} for _ in places],
            "creation-date": "2026-11-22T12:00:00.000000",
            "type": "groundtruth/object-detection",
        },
    }


def pictures(root: Path, distinct: int) -> Path:
    """A directory of *distinct* full-HD JPEGs, about as large as real frames of quality 95."""
    import cv2
    import numpy as np

    from cloud.decode.jpeg import encode_jpeg

    root.mkdir(exist_ok=True)
    chance = np.random.default_rng(1)
    for number in range(distinct):
        rough = chance.integers(0, 256, (27, 48, 3), dtype=np.uint8)
        smooth = cv2.resize(rough, (1920, 1080), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = np.asarray(chance.normal(0, 3, smooth.shape))
        frame = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        (root / f"{number:03d}.jpg").write_bytes(encode_jpeg(frame, 95))
    return root


def listed(path: Path, known: Path, lines: int) -> Path:
    """A manifest of *lines* pictures, each of its own name, as links."""
    root, found = path.with_suffix(""), sorted(known.glob("*.jpg"))
    root.mkdir()
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            os.link(found[number % len(found)], root / f"{number:06d}.jpg")
            file.write(json.dumps({"source-ref": (root / f"{number:06d}.jpg").as_uri(), "color": "a"}) + "\n")
    return path


def dataset(root: Path, video: Path, frames: int) -> Path:
    """A data set of at least *frames* frames: *video*, extracted once, under as many names as that takes.

    Pictures are links. What frames look like differs from name to name, as that of other videos would.
    """
    from cloud.extract import Extractor, extract, find
    from cloud.settings import load
    from edge_agent.clock import SystemClock
    from edge_agent.store import open_store

    root.mkdir()
    settings = load(None, {}, {"dataset": {"url": str(root)}, "sampling": {"every": 2}})
    extract(find([str(video)]), Extractor(settings, open_store(str(root)), SystemClock()), lambda _: lambda _: None)
    first = json.loads((root / f"index/{video.stem}.json").read_text())
    chance, made, number = random.Random(1), len(first["frames"]), 0
    partitions: dict[str, dict[str, str]] = {}
    while made < frames:
        index = _copy(root, video.stem, first, _stem(number), chance)
        partitions.setdefault(index["manifest"], {})[_stem(number)] = _lines(root, index)
        made, number = made + len(index["frames"]), number + 1
    for key, blocks in partitions.items():
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_text("".join(blocks[stem] for stem in sorted(blocks)))
    return root


def _copy(root: Path, old: str, first: dict[str, Any], new: str, chance: random.Random) -> dict[str, Any]:
    """The video *old*, whose index is *first*, once more as *new*; its index."""
    from cloud.dataset.layout import partition_key
    from edge_agent.segment import SegmentName

    name = SegmentName.parse(new)
    index: dict[str, Any] = json.loads(json.dumps(first).replace(old, new))
    index["segment"]["class"] = name.tag.as_dict()
    index["manifest"] = partition_key(name)
    (root / f"frames/{new}").mkdir()
    for before, frame in zip(first["frames"], index["frames"], strict=True):
        os.link(root / before["key"], root / frame["key"])
        frame["scores"] = {
            judge: min(1.0, score * chance.uniform(0.5, 1.5)) for judge, score in frame["scores"].items()
        }
        if frame.get("look"):
            frame["look"] = "".join(_other(letter, chance) for letter in frame["look"])
    (root / f"index/{new}.json").write_text(json.dumps(index))
    os.link(root / f"previews/{old}.jpg", root / f"previews/{new}.jpg")
    return index


def _lines(root: Path, index: dict[str, Any]) -> str:
    kept = [frame for frame in index["frames"] if frame["verdict"] != "rejected"]
    tag = index["segment"]["class"]
    return "".join(json.dumps({"source-ref": (root / frame["key"]).as_uri(), **tag}) + "\n" for frame in kept)


def _other(letter: str, chance: random.Random) -> str:
    return chance.choice("0123456789abcdef") if letter in "0123456789abcdef" else letter


def _stem(number: int) -> str:
    color, thing = COLORS[number % len(COLORS)], OBJECTS[number % len(OBJECTS)]
    minute, second = divmod(number, 60)
    hour, minute = divmod(minute, 60)
    day, hour = divmod(hour, 24)
    moment = f"202611{1 + day % 28:02d}T{hour:02d}{minute:02d}{second:02d}000Z"
    return f"{color}_{thing}_dock{number % 5}-cam{number % 2}-{moment}"


def main() -> None:
    what, path, *rest = sys.argv[1:]
    place = Path(path)
    if what == "manifest":
        manifest(place, int(rest[0]))
    elif what == "pictures":
        pictures(place, int(rest[0]))
    elif what == "dataset":
        dataset(place, Path(rest[0]), int(rest[1]))
    elif what == "listed":
        listed(place, Path(rest[0]), int(rest[1]))
    elif what == "boxed":
        boxed(place, int(rest[0]), Path(rest[1]))


if __name__ == "__main__":
    main()
