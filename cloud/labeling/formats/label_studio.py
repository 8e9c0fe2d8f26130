"""Label Studio: ``tasks.json``, a list of tasks with annotations, and ``config.xml``, the labelling interface.

Places are percent of the picture's size. What a task carries under ``data`` beside the picture comes back in every
export, so the picture's own URI stands there as ``source``. :func:`task` makes one task of any example, its labels
either as annotations (done) or as predictions (a start for annotators); :func:`read` reads tasks back, as exported by
Label Studio in its format "JSON".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast
from urllib.parse import parse_qs, quote

from cloud.dataset.findings import Findings
from cloud.labeling.formats.base import (
    LONG,
    Entry,
    Format,
    Found,
    Plan,
    Task,
    Writer,
    box_from,
    json_of,
    number_of,
    plain,
    score_of,
    size_of,
    unusable,
)
from cloud.labeling.formats.xml import escaped
from cloud.labeling.labels import Box, Example, ImageLabel
from edge_agent.errors import ConfigInvalid

FILE, CONFIG = "tasks.json", "config.xml"
LOCAL = "/data/local-files/?d="
"""How Label Studio spells a file below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""

BOX_TAG, CLASS_TAG, IMAGE_TAG = "label", "class", "image"
"""The names of the control and object tags in ``config.xml``."""

Under = Literal["annotations", "predictions"]


def config(kind: Task, classes: Iterable[str], *, several: bool = False) -> str:
    """The labelling interface for *classes*: rectangles, or one or *several* choices a picture."""
    picture = f'  <Image name="{IMAGE_TAG}" value="$image" zoom="true"/>\n'
    if kind == "boxes":
        labels = "".join(f'    <Label value="{escaped(name)}"/>\n' for name in classes)
        control = f'  <RectangleLabels name="{BOX_TAG}" toName="{IMAGE_TAG}">\n{labels}  </RectangleLabels>\n'
    else:
        choices = "".join(f'    <Choice value="{escaped(name)}"/>\n' for name in classes)
        how = "multiple" if several else "single"
        control = f'  <Choices name="{CLASS_TAG}" toName="{IMAGE_TAG}" choice="{how}">\n{choices}  </Choices>\n'
    return f"<View>\n{picture}{control}</View>\n"


def task(example: Example, kind: Task, url: str, under: Under = "annotations") -> dict[str, Any]:
    """The task of a picture that Label Studio finds at *url*; without labels when the example has none. Pure.

    The picture's size is known where it has boxes: places are percent of it.
    """
    data: dict[str, object] = {"image": url, "source": example.source}
    if example.split is not None:
        data["split"] = example.split
    labels: tuple[Box | ImageLabel, ...] | None = example.boxes if kind == "boxes" else example.labels
    if labels is None:
        return {"data": data}
    result = [
        _rectangle(number, label, example) if isinstance(label, Box) else _choice(number, label)
        for number, label in enumerate(labels)
    ]
    return {"data": data, under: [{"result": result}]}


def _rectangle(number: int, box: Box, example: Example) -> dict[str, Any]:
    width, height = example.width or 1, example.height or 1
    value = {
        "x": plain(box.left * 100 / width),
        "y": plain(box.top * 100 / height),
        "width": plain(box.width * 100 / width),
        "height": plain(box.height * 100 / height),
        "rotation": 0,
        "rectanglelabels": [box.label],
    }
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    head = {"id": f"b{number}", "type": "rectanglelabels", "from_name": BOX_TAG, "to_name": IMAGE_TAG}
    return {**head, **size, "value": value, **_score(box.confidence)}


def _choice(number: int, label: ImageLabel) -> dict[str, Any]:
    head = {"id": f"c{number}", "type": "choices", "from_name": CLASS_TAG, "to_name": IMAGE_TAG}
    return {**head, "value": {"choices": [label.label]}, **_score(label.confidence)}


def _score(confidence: float | None) -> dict[str, float]:
    return {} if confidence is None else {"score": confidence}


@dataclass(slots=True)
class TaskWriter:
    """Tasks as elements of one JSON list; ``kind`` says which labels go in."""

    file: TextIO
    kind: Task
    under: Under = "annotations"
    number: int = 0

    def put(self, example: Example, url: str) -> None:
        self.file.write(",\n" if self.number else "\n")
        self.number += 1
        made = {"id": self.number, **task(example, self.kind, url, self.under)}
        json.dump(made, self.file, separators=(",", ":"))


@contextmanager
def tasks_file(path: Path, kind: Task, under: Under = "annotations") -> Iterator[TaskWriter]:
    """The file *path* as a list of tasks, whole when the block ends without an error; memory stays flat."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        yield TaskWriter(file, kind, under)
        file.write("\n]\n")


@dataclass(slots=True)
class _Export:
    tasks: TaskWriter
    plan: Plan

    def add(self, entry: Entry) -> None:
        local = LOCAL + quote(f"{self.plan.title}/{entry.picture}")
        self.tasks.put(entry.example, local if self.plan.pictures else entry.example.source)


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """Pictures are named as Label Studio sees them when its document root is the directory above *directory*."""
    (directory / CONFIG).write_text(config(plan.task, plan.classes, several=plan.several), encoding="utf-8")
    with tasks_file(directory / FILE, plan.task) as tasks:
        yield _Export(tasks, plan)


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f"images/{entry.name}"


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, findings: Findings) -> Iterator[Found]:
    """The tasks of the export *path*, or of ``tasks.json`` in the directory *path*; it is in memory whole.

    A task without annotations, or with cancelled ones only, is unlabelled. Findings: ``bad_task``, ``bad_result``,
    ``other_shape`` (dropped), ``several_annotations`` (the last one counts), ``rotated`` (taken as upright),
    ``bad_confidence``.
    Raises ConfigInvalid.
    """
    file = path / FILE if path.is_dir() else path
    tasks = json_of(file)
    if not isinstance(tasks, list):
        raise ConfigInvalid("is no list of tasks", where=str(file), fix="export as 'JSON' from Label Studio")
    for number, each in enumerate(tasks, start=1):
        data = each.get("data") if isinstance(each, dict) else None
        url = data.get("image") if isinstance(data, dict) else None
        if not isinstance(url, str) or not url or not isinstance(data, dict):
            fix = "export as 'JSON' from Label Studio, not as 'JSON-MIN'"
            unusable(findings, "bad_task", str(file), f"task {number} has no data.image", fix)
            continue
        where = f"{file}, task {number}"
        source = data.get("source")
        read, before = _Task(where, findings), findings.dropped
        example = read.example(each, source if isinstance(source, str) and source else url, data.get("split"))
        yield Found(example, picture_of(url), where, dropped=findings.dropped - before)


def picture_of(url: str) -> str:
    """What the picture at *url* is called in an export of ours: its path below the export; else the URL."""
    if not url.startswith(LOCAL.partition("?")[0]):
        return url.partition("?")[0] if url.startswith(("http://", "https://")) else url
    below = parse_qs(url.partition("?")[2]).get("d", [""])[0]
    return below.partition("/")[2] or below


@dataclass(frozen=True, slots=True)
class _Task:
    where: str
    findings: Findings

    def example(self, task: Mapping[str, Any], source: str, split: object) -> Example:
        done = task.get("annotations")
        given = done if isinstance(done, list) else []
        answers = [each for each in given if isinstance(each, dict) and not each.get("was_cancelled")]
        chosen = LONG.get(split) if isinstance(split, str) else None
        if not answers:
            return Example(source, split=chosen)
        if len(answers) > 1:
            what = f"has {len(answers)} annotations; the last one is taken"
            unusable(self.findings, "several_annotations", self.where, what, dropped=False)
        results = answers[-1].get("result")
        if not isinstance(results, list):
            unusable(self.findings, "bad_result", self.where, "its annotation has no list of results")
            return Example(source, split=chosen)
        boxes: list[Box] = []
        labels: list[ImageLabel] = []
        size: tuple[int | None, int | None] = (None, None)
        for result in results:
            kind = result.get("type") if isinstance(result, dict) else None
            if kind == "rectanglelabels":
                size = size_of(result.get("original_width")), size_of(result.get("original_height"))
                boxes += self._box(result, size)
            elif kind == "choices":
                labels += self._choices(result)
            else:
                unusable(self.findings, "other_shape", self.where, f"a result of type {kind!a} is no box and no class")
        only_classes = bool(labels) and not boxes
        return Example(
            source,
            *size,
            boxes=None if only_classes else tuple(boxes),
            labels=tuple(labels) if labels else None,
            split=chosen,
        )

    def _box(self, result: Mapping[str, Any], size: tuple[int | None, int | None]) -> Iterator[Box]:
        value = result.get("value")
        given = cast("Mapping[str, Any]", value if isinstance(value, dict) else {})
        names = given.get("rectanglelabels")
        label = names[0] if isinstance(names, list) and names else None
        x, y, width, height = (number_of(given.get(key)) for key in ("x", "y", "width", "height"))
        known = None not in (x, y, width, height, *size)
        if not isinstance(label, str) or not known or min(width or 0, height or 0) < 0:
            unusable(self.findings, "bad_result", self.where, "a rectangle has no label, no numbers or no size")
            return
        if number_of(given.get("rotation")):
            what = "a rectangle is rotated; it is taken as if it were upright"
            unusable(self.findings, "rotated", self.where, what, dropped=False)
        across, down = (size[0] or 0) / 100, (size[1] or 0) / 100
        left, top = (x or 0.0) * across, (y or 0.0) * down
        right, bottom = left + (width or 0.0) * across, top + (height or 0.0) * down
        yield box_from(label, left, top, right, bottom, score_of(result.get("score"), self.findings, self.where))

    def _choices(self, result: Mapping[str, Any]) -> Iterator[ImageLabel]:
        value = result.get("value")
        names = value.get("choices") if isinstance(value, dict) else None
        for name in names if isinstance(names, list) else (None,):
            if not isinstance(name, str) or not name:
                unusable(self.findings, "bad_result", self.where, "a choice is no name of a class")
            else:
                yield ImageLabel(name, score_of(result.get("score"), self.findings, self.where))


FORMAT = Format("label-studio", "Label Studio tasks with annotations", write, _place, read, needs_size=True)
