"""Pictures in folders named by class, ``train/yellow_box/…``: what trainers of classifiers read without label files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.dataset.findings import Findings
from cloud.labeling.formats.base import LONG, Entry, Found, Plan, Writer, class_folder, unusable
from cloud.labeling.labels import Example, ImageLabel

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"))


class Folders:
    """Where a picture stands says it all."""

    def add(self, entry: Entry) -> None:
        pass


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:  # noqa: ARG001 - the shape of every format
    """Nothing: the pictures are placed by :func:`place`."""
    yield Folders()


def place(split: str, entry: Entry) -> str:
    """``<split>/<class>/<name>``."""
    labels = entry.example.labels or ()
    return f"{split}/{class_folder(labels[0].label)}/{entry.name}"


def is_folders(root: Path) -> bool:
    """Whether *root* has a folder of a split with folders of classes in it."""
    return any((root / split).is_dir() and any(p.is_dir() for p in (root / split).iterdir()) for split in LONG)


def read(root: Path, findings: Findings) -> Iterator[Found]:
    """Every picture in ``<split>/<class>/``. Findings: ``no_picture`` for other files (dropped)."""
    for name, split in LONG.items():
        for folder in sorted((root / name).iterdir()) if (root / name).is_dir() else ():
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                where = path.relative_to(root).as_posix()
                if path.suffix.lower() not in SUFFIXES:
                    unusable(findings, "no_picture", str(path), "is no picture, by its name")
                    continue
                example = Example(where, labels=(ImageLabel(folder.name),), split=split)
                yield Found(example, where, str(path))
