"""A task set for a label tool of one's own: pictures, categories, and a former job's boxes as a start.

::

    Label Studio:  tasks.json to import, config.xml as the labelling interface, images/
    CVAT:          images/ to upload, labels.json for the task, annotations.xml to upload with a former job's boxes
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line, read_lines
from cloud.dataset.pictures import AHEAD, THREADS, Pictures, header_of
from cloud.dataset.whole import refused
from cloud.labeling.formats import cvat, label_studio
from cloud.labeling.formats.base import Task as Kind
from cloud.labeling.formats.base import scaled
from cloud.labeling.job_create import Prepared
from cloud.labeling.labels import Example
from cloud.labeling.output import Choice, parse
from cloud.labeling.output import Kind as LabelKind
from cloud.labeling.picture_names import named
from cloud.labeling.tasks import Task
from cloud.pipelining import pipelined
from cloud.words import counted
from edge_agent.errors import ConfigInvalid, ContainerMissing, EdgeCaptureError, ObjectConflict, ObjectNotFound, Scope

IMAGES, LABELS = "images", "labels.json"
_EXPORTS = {"label-studio": "JSON", "cvat": "'CVAT for images 1.1'"}


@dataclass(frozen=True, slots=True)
class TaskSet:
    """What is written: ``pictures`` are names and examples, labelled where a former job's labels are a start."""

    title: str
    kind: Kind
    several: bool
    categories: tuple[str, ...]
    chained: bool


def write_tasks(
    prepared: Prepared,
    tool: str,
    out: Path,
    findings: Findings,
    images: Path | None = None,
    endpoint_url: str | None = None,
    *,
    strict: bool = False,
) -> list[str]:
    """Write the task set into the new directory *out*, whole or not at all; says what was made and is to be done.

    Findings: ``missing_picture``, ``broken_picture`` (dropped), ``wrong_size`` (boxes are scaled, as on sheets); with
    *strict* they keep it from being made. What cannot be read of a former job was told when *prepared*. Raises
    ObjectConflict when *out* is there, ConfigInvalid, FindingsPresent, ``whole.refused``, and what keeps a whole
    store from being read.
    """
    settings = prepared.settings
    if settings.task is Task.VERIFICATION:
        raise ConfigInvalid(
            f"task: {tool} has no verification", fix="use 'task: adjustment': the boxes can be mended there"
        )
    if out.exists():
        raise ObjectConflict("is there already", where=str(out), fix="name a new directory: nothing is overwritten")
    boxes = settings.task in (Task.BOUNDING_BOX, Task.ADJUSTMENT)
    kind: Kind = "boxes" if boxes else "labels"
    several = settings.task is Task.MULTI_LABEL
    chosen = TaskSet(out.name, kind, several, settings.categories, settings.labels is not None)
    scratch = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with closing(Pictures(images=images, base=prepared.path.parent, endpoint_url=endpoint_url)) as pictures:
            (scratch / IMAGES).mkdir(parents=True)
            examples = _examples(prepared, pictures, scratch / IMAGES, findings)
            written = (
                _label_studio(scratch, chosen, examples) if tool == "label-studio" else _cvat(scratch, chosen, examples)
            )
        findings.raise_if_strict(strict)
        if not written:
            raise ConfigInvalid("has no picture that can be read", where=prepared.manifest, fix="give --images DIR")
        scratch.rename(out)
    except OSError as error:
        raise refused(error, out) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lines = [f"{out}: {counted(written, 'picture')}" + (f"; {findings.dropped:,} left out" if findings.dropped else "")]
    lines += _next_label_studio(out) if tool == "label-studio" else _next_cvat(out, chosen)
    sent, key = shlex.quote(prepared.manifest), settings.attribute
    back = f"edge-cloud label fetch {prepared.name} --from {tool} --export FILE -m {sent} --attribute {key}"
    return [*lines, f"when it is labelled: export as {_EXPORTS[tool]}, then {back}"]


def _examples(
    prepared: Prepared, pictures: Pictures, directory: Path, findings: Findings
) -> Iterator[tuple[str, Example]]:
    """Each picture once, with its name, stored in *directory*; its labels are the former job's, if any."""
    choice = Choice(prepared.settings.labels, LabelKind.BOXES)
    lines = read_lines(prepared.path, Findings(), prepared.manifest)
    stored = pipelined(
        _once(named(lines)), lambda each: _store(each, pictures, directory), workers=THREADS, ahead=AHEAD
    )
    for (line, name), size in stored:
        if isinstance(size, Finding):
            findings.add(size)
            continue
        example = parse(line, choice, Findings()).example
        drawn_on = example.width or size[0], example.height or size[1]
        if drawn_on != size:
            what = f"its picture has {size[0]}x{size[1]} pixels, the labelled one had {drawn_on[0]}x{drawn_on[1]}"
            fix = "the boxes are scaled to it; if it is another picture, put the labelled one there"
            findings.add(Finding("wrong_size", line.where, line.number, what, fix))
            example = scaled(example, size[0] / drawn_on[0], size[1] / drawn_on[1])
        yield name, replace(example, width=size[0], height=size[1])


def _once(lines: Iterable[tuple[Line, str]]) -> Iterator[tuple[Line, str]]:
    seen: set[str] = set()
    for line, name in lines:
        if name not in seen:
            seen.add(name)
            yield line, name


def _store(item: tuple[Line, str], pictures: Pictures, directory: Path) -> tuple[int, int] | Finding:
    """Put the picture into *directory*; its width and height, or why it cannot be had."""
    line, name = item
    try:
        return _copy(line, name, pictures, directory)
    except EdgeCaptureError as error:
        if error.scope is Scope.LINK and not isinstance(error, ContainerMissing):
            raise
        code = "missing_picture" if isinstance(error, ObjectNotFound | ContainerMissing) else "broken_picture"
        what = f"its picture ({error.where or line.source}): {error.what}"
        fix = error.fix or "put it there, or take the line out"
        return Finding(code, line.where, line.number, what, fix, dropped=True)


def _copy(line: Line, name: str, pictures: Pictures, directory: Path) -> tuple[int, int]:
    """A link where that can be."""
    target, local = directory / name, pictures.local(line.source)
    header = pictures.header(line.source)
    if local is not None:
        with suppress(OSError):  # another file system, or one without links: copied below
            os.link(local.resolve(), target)
            return header.width, header.height
    body = pictures.read(line.source)
    target.write_bytes(body)
    found = header_of(body, len(body)) or header
    return found.width, found.height


def _label_studio(directory: Path, chosen: TaskSet, examples: Iterable[tuple[str, Example]]) -> int:
    interface = label_studio.config(chosen.kind, chosen.categories, several=chosen.several)
    (directory / label_studio.CONFIG).write_text(interface, encoding="utf-8")
    written = 0
    with label_studio.tasks_file(directory / label_studio.FILE, chosen.kind, "predictions") as tasks:
        for name, example in examples:
            start = example if chosen.chained else replace(example, boxes=None, labels=None)
            tasks.put(start, label_studio.LOCAL + quote(f"{chosen.title}/{IMAGES}/{name}"))
            written += 1
    return written


def _cvat(directory: Path, chosen: TaskSet, examples: Iterable[tuple[str, Example]]) -> int:
    shape = "rectangle" if chosen.kind == "boxes" else "tag"
    labels = [{"name": category, "type": shape, "attributes": []} for category in chosen.categories]
    (directory / LABELS).write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")
    written = 0
    if not chosen.chained:
        return sum(1 for _ in examples)

    def counted() -> Iterator[tuple[str, Example]]:
        nonlocal written
        for each in examples:
            written += 1
            yield each

    with (directory / cvat.FILE).open("w", encoding="utf-8") as file:
        file.writelines(cvat.document(counted(), chosen.categories, chosen.kind, chosen.title))
    return written


def _next_label_studio(out: Path) -> Iterator[str]:
    root = out.resolve().parent
    yield (
        f"start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}, add {out.resolve() / IMAGES} as local storage"
    )
    yield f"make a project with {out / label_studio.CONFIG} as its interface, then import {out / label_studio.FILE}"


def _next_cvat(out: Path, chosen: TaskSet) -> Iterator[str]:
    yield f"make a CVAT task with {out / LABELS} as its labels (Raw), and the pictures in {out / IMAGES}"
    if chosen.chained:
        yield f"upload {out / cvat.FILE} to it as CVAT 1.1 annotations: the former boxes are the start"
