"""Hugging Face ``datasets``: an image folder, ``<split>/metadata.jsonl`` beside the pictures of the split.

Read by ``load_dataset("imagefolder", data_dir=…)``. A row is ``{"file_name", "width", "height", "source", "objects":
{"bbox": [[left, top, width, height], …], "category": [name, …]}}``, or ``"label"`` for the class of a whole picture and
``"labels"`` where pictures may have several. The library guesses types from the rows of each split and wants them
equal: a split in which no picture has a box cannot be loaded beside others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cloud.labeling.formats.base import Entry, Format, Plan, Writer


@dataclass(slots=True)
class ImageFolder:
    plan: Plan
    files: Mapping[str, TextIO]

    def add(self, entry: Entry) -> None:
        example = entry.example
        row: dict[str, Any] = {
            "file_name": entry.name,
            "source": example.source,
            "width": example.width,
            "height": example.height,
        }
        if self.plan.task == "boxes":
            boxes = example.boxes or ()
            row["objects"] = {
                # Floats all of them: types are guessed from the values, and must be equal in all splits.
                "bbox": [[float(box.left), float(box.top), float(box.width), float(box.height)] for box in boxes],
                "category": [box.label for box in boxes],
            }
        elif self.plan.several:
            row["labels"] = [label.label for label in example.labels or ()]
        else:
            row["label"] = next((label.label for label in example.labels or ()), None)
        self.files[entry.split].write(json.dumps(row, separators=(",", ":")) + "\n")


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """A folder a split, and ``classes.json``: the names in the order of their ids."""
    (directory / "classes.json").write_text(json.dumps(plan.classes, indent=1) + "\n", encoding="utf-8")
    with ExitStack() as stack:
        files: dict[str, TextIO] = {}
        for split in plan.splits:
            (directory / split).mkdir(exist_ok=True)
            path = directory / split / "metadata.jsonl"
            files[split] = stack.enter_context(path.open("w", encoding="utf-8"))
        yield ImageFolder(plan, files)


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f"{entry.split}/{entry.name}"


FORMAT = Format("huggingface", "Hugging Face image folder", write, _place, needs_size=True)
