"""Augmented manifests, one a split: what the labelling service's own trainer reads, and every command here.

``source-ref`` stays the picture's own URI, copied or not: a manifest with paths of one machine would end there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cloud.labeling.augmented import to_line
from cloud.labeling.formats.base import Entry, Format, Plan, Writer


@dataclass(slots=True)
class Manifests:
    plan: Plan
    files: Mapping[str, TextIO]

    def add(self, entry: Entry) -> None:
        line = entry.line.text
        if entry.attribute is not None:
            line = to_line(entry.example, entry.attribute, self.plan.ids, entry.line.fields)
        self.files[entry.split].write(line + "\n")


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """``train.manifest``, ``validation.manifest``, ``test.manifest``: those there are."""
    with ExitStack() as stack:
        yield Manifests(
            plan,
            {
                split: stack.enter_context((directory / f"{split}.manifest").open("w", encoding="utf-8"))
                for split in plan.splits
            },
        )


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f"images/{entry.split}/{entry.name}"


FORMAT = Format("augmented", "augmented manifests, one a split", write, _place)
