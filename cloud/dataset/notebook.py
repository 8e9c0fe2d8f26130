"""A data set, or any manifest, in a notebook: frames with their labels, sheets shown inline, a pandas frame.

::

    from cloud.dataset import open_dataset

    frames = open_dataset("out").where(color="yellow")
    frames.sheet()
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cloud.dataset.findings import Findings
from cloud.dataset.layout import MANIFEST_SUFFIX, MANIFESTS
from cloud.dataset.lines import local_copy
from cloud.dataset.pictures import Pictures
from cloud.dataset.stats import Origin, Stats, collect, origin_of
from cloud.labeling.labels import Box, ImageLabel
from cloud.labeling.output import Record, choose, read_labels, survey
from cloud.words import counted, plain
from edge_agent.errors import ConfigInvalid
from edge_agent.segment import DEFAULT_FIELDS
from edge_agent.store import open_store
from edge_agent.store.uri import split_uri

if TYPE_CHECKING:
    import pandas as pd

    from cloud.decode.sample import Picture


@dataclass(frozen=True)
class Frame:
    """A line of a manifest: a picture, its class, and its labels where it has any."""

    record: Record
    origin: Origin
    pictures: Pictures = field(compare=False)

    def __repr__(self) -> str:
        looked = f"{len(self.boxes) + len(self.labels)} labelled" if self.labelled else "not labelled"
        name, tag = unquote(self.source).rpartition("/")[2], "_".join(self.tag.values())
        return f"<Frame {plain(name, 100)}: {plain(tag, 40) or 'no class'}, {looked}>"

    @property
    def source(self) -> str:
        """The picture's URI."""
        return self.record.example.source

    @property
    def tag(self) -> dict[str, str]:
        """The class, by field: ``{"color": "yellow", "object": "box"}``."""
        return dict(self.record.example.tag)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Labelled objects, in pixels; empty also when nobody looked: then ``labelled`` is False."""
        return self.record.example.boxes or ()

    @property
    def labels(self) -> tuple[ImageLabel, ...]:
        """Labels of the whole picture."""
        return self.record.example.labels or ()

    @property
    def labelled(self) -> bool:
        return self.record.example.boxes is not None or self.record.example.labels is not None

    @property
    def fields(self) -> dict[str, Any]:
        """The line as it stands in the manifest."""
        return dict(self.record.line.fields)

    @cached_property
    def image(self) -> Picture:
        """The picture as an array, height x width x 3, red green blue. Raises EdgeCaptureError."""
        import cv2
        import numpy as np

        from cloud.dataset.pictures import header_of
        from cloud.review.tiles import shrunk

        data = self.pictures.read(self.source)
        header = header_of(data, len(data))
        if header is None:
            raise ConfigInvalid("is no JPEG or PNG picture", where=self.source)
        return np.asarray(cv2.cvtColor(shrunk(data, header, header.width, header.height), cv2.COLOR_BGR2RGB), np.uint8)


@dataclass(frozen=True)
class SheetImage:
    """A contact sheet that a notebook shows when it is the value of a cell."""

    jpeg: bytes

    def __repr__(self) -> str:
        return f"<SheetImage: a JPEG of {len(self.jpeg):,} bytes>"

    def _repr_jpeg_(self) -> bytes:
        return self.jpeg

    def save(self, path: str | Path) -> None:
        Path(path).write_bytes(self.jpeg)


@dataclass(eq=False)
class Dataset:
    """Frames, read anew each time they are iterated: nothing is held in memory. Filters make another data set.

    It has no ``len()``, for which ``list(frames)`` would read everything twice: ``frames.stats().lines`` counts.

    ``findings`` are what was wrong with lines the last time they were read.
    """

    location: str
    endpoint_url: str | None
    class_fields: tuple[str, ...]
    pictures: Pictures = field(repr=False)
    findings: Findings = field(default_factory=Findings, repr=False)
    _filters: tuple[Callable[[Frame], bool], ...] = field(default=(), repr=False)

    def __iter__(self) -> Iterator[Frame]:
        self.findings = Findings()
        known: dict[str, Origin] = {}
        for record in self._records():
            frame = Frame(record, origin_of(record, known), self.pictures)
            if all(wanted(frame) for wanted in self._filters):
                yield frame

    def _records(self) -> Iterator[Record]:
        for path, where in self._manifests():
            choice = choose(survey(path, where))
            yield from read_labels(path, choice, self.findings, where, self.class_fields)

    def _manifests(self) -> Iterator[tuple[Path, str]]:
        root = _store_of(self.location)
        if root is None:
            with local_copy(self.location, self.endpoint_url) as path:
                yield path, self.location
            return
        store = open_store(root, endpoint_url=self.endpoint_url)
        store.check()
        for info in store.list(MANIFESTS):
            if info.key.endswith(MANIFEST_SUFFIX):
                with store.checkout(info.key) as path:
                    yield path, store.uri(info.key)

    def filter(self, wanted: Callable[[Frame], bool]) -> Dataset:
        """The frames for which *wanted* is true."""
        return replace(self, findings=Findings(), _filters=(*self._filters, wanted))

    def where(self, **values: str) -> Dataset:
        """The frames of a class: ``where(color="yellow")``. Raises ConfigInvalid for a field there is not."""
        unknown = ", ".join(sorted(set(values) - set(self.class_fields)))
        if unknown:
            fix = f"the fields are {', '.join(self.class_fields)}; say others as open_dataset(…, fields=[…])"
            raise ConfigInvalid(f"no class field {unknown}", fix=fix)
        return self.filter(lambda frame: values.items() <= frame.record.example.tag.items())

    def with_label(self, label: str) -> Dataset:
        """The frames that have at least one box or label of that name."""
        return self.filter(lambda frame: label in names_in(frame))

    def stats(self) -> Stats:
        """Counts by class, origin and label, as ``edge-cloud manifest stats`` shows them."""
        return collect(frame.record for frame in self)

    def sheet(self, limit: int = 60, columns: int = 5, tile_width: int = 240) -> SheetImage:
        """The first *limit* frames on one contact sheet, with their boxes. Raises ConfigInvalid when there is none."""
        from cloud.review.pages_of import Look, pages

        title = unquote(self.location.rstrip("/").rpartition("/")[2]) or "data set"
        records = (frame.record for frame in islice(self, limit))
        look = Look(tile_width=tile_width, columns=columns, per_page=limit)
        wrong = Findings()
        found = list(pages(records, self.pictures, title, wrong, look))
        self.findings.update(wrong)  # reading the lines has begun the data set's own anew
        if not found:
            raise ConfigInvalid("has no such frame", where=self.location)
        return SheetImage(found[0].jpeg)

    def to_pandas(self) -> pd.DataFrame:
        """A row for each frame. Raises ConfigInvalid when pandas is not installed."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ConfigInvalid("a data frame needs pandas", fix="pip install pandas") from error
        return pd.DataFrame([row_of(frame) for frame in self])

    def _repr_html_(self) -> str:
        stats = self.stats()
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{number:,}</td></tr>"
            for name, number in stats.classes.most_common(20)
        )
        sums = f"{counted(stats.lines, 'frame')}, {counted(len(stats.videos), 'video')}"
        head = f"<b>{html.escape(self.location)}</b>: {sums}"
        return f"{head}<table><tr><th>class</th><th>frames</th></tr>{rows}</table>"


def names_in(frame: Frame) -> set[str]:
    """The names of all boxes and labels of *frame*."""
    return {box.label for box in frame.boxes} | {label.label for label in frame.labels}


def row_of(frame: Frame) -> dict[str, object]:
    """*frame* as a row of a table. ``boxes`` is how many there are. What nobody told or looked at is None."""
    boxes, origin = frame.record.example.boxes, frame.origin
    return {
        "source": frame.source,
        **frame.tag,
        "video": origin.video,
        "device": origin.device,
        "camera": origin.camera,
        "day": origin.day,
        "split": origin.split,
        "state": frame.record.state.value,
        "boxes": None if boxes is None else len(boxes),
        "labels": ", ".join(sorted(names_in(frame))),
    }


def open_dataset(
    location: str | Path,
    *,
    images: str | Path | None = None,
    fields: Sequence[str] = DEFAULT_FIELDS,
    endpoint_url: str | None = None,
) -> Dataset:
    """The data set or manifest at *location*: a directory, ``s3://bucket``, or a manifest there.

    *images* is a directory that pictures are looked for in first; *fields* are the class fields. Nothing is read yet.
    """
    where = str(location)
    base = None if "://" in where else Path(where).expanduser().parent
    pictures = Pictures(Path(images) if images is not None else None, base, endpoint_url)
    return Dataset(where, endpoint_url, tuple(fields), pictures)


def _store_of(location: str) -> str | None:
    """*location*, when it is a data set and no manifest."""
    parts = split_uri(location)
    if parts.scheme == "s3":
        return location if not parts.path.strip("/") else None
    path = Path(unquote(parts.path) if parts.scheme == "file" else location).expanduser()
    return str(path) if path.is_dir() else None
