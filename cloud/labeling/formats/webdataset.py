"""WebDataset: ``<split>/<split>-000000.tar`` of pictures and, beside each, what is known of it as JSON.

A sample is ``<key>.jpg`` and ``<key>.json``, of classes also ``<key>.cls``, the number of the first in
``classes.json``. Archives hold neither times nor owners: the same examples make the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloud.labeling.formats.base import Entry, Format, Plan, Writer, plain

SHARD_SAMPLES = 10_000
SHARD_BYTES = 1 << 30
"""Its authors advise archives of some hundred megabytes to a gigabyte; whichever limit comes first ends one."""


@dataclass(slots=True)
class _Shard:
    archive: tarfile.TarFile
    samples: int = 0


@dataclass(slots=True)
class Shards:
    """An open archive a split."""

    directory: Path
    plan: Plan
    open: dict[str, _Shard] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        shard = self._shard(entry.split)
        if entry.file is not None:
            info = _member(f"{entry.stem}.{entry.name.rpartition('.')[2]}", entry.file.stat().st_size)
            with entry.file.open("rb") as file:
                shard.archive.addfile(info, file)
        self._put(shard, f"{entry.stem}.json", json.dumps(self._facts(entry), separators=(",", ":")))
        if self.plan.task == "labels" and entry.example.labels:
            self._put(shard, f"{entry.stem}.cls", str(self.plan.ids[entry.example.labels[0].label]))
        shard.samples += 1

    def _facts(self, entry: Entry) -> dict[str, object]:
        example = entry.example
        facts: dict[str, object] = {"source": example.source, "width": example.width, "height": example.height}
        if self.plan.task == "boxes":
            facts["boxes"] = [
                {
                    "label": box.label,
                    "class": self.plan.ids[box.label],
                    "bbox": [plain(box.left), plain(box.top), plain(box.width), plain(box.height)],
                    **({} if box.confidence is None else {"confidence": box.confidence}),
                }
                for box in example.boxes or ()
            ]
        else:
            facts["labels"] = [label.label for label in example.labels or ()]
        return {**facts, **({"tag": dict(example.tag)} if example.tag else {})}

    def _put(self, shard: _Shard, name: str, text: str) -> None:
        body = text.encode()
        shard.archive.addfile(_member(name, len(body)), io.BytesIO(body))

    def _shard(self, split: str) -> _Shard:
        shard = self.open.get(split)
        if shard is not None and (shard.samples >= SHARD_SAMPLES or shard.archive.offset >= SHARD_BYTES):
            self.open.pop(split).archive.close()
            shard = None
        if shard is None:
            number = self.made.get(split, 0)
            self.made[split] = number + 1
            path = self.directory / split / f"{split}-{number:06d}.tar"
            path.parent.mkdir(exist_ok=True)
            shard = self.open[split] = _Shard(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))  # noqa: SIM115
        return shard

    def close(self) -> None:
        for shard in self.open.values():
            shard.archive.close()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, 0o644
    return info


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """The archives, and ``classes.json``: the names in the order of their ids."""
    (directory / "classes.json").write_text(json.dumps(plan.classes, indent=1) + "\n", encoding="utf-8")
    shards = Shards(directory, plan)
    try:
        yield shards
    finally:
        shards.close()


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f".pictures/{entry.name}"


FORMAT = Format("webdataset", "WebDataset tar archives", write, _place, dotless=True, staged=True)
