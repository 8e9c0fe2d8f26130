"""From a data set in another tool's format to an augmented manifest; what our own export knew beside it comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.labeling.augmented import to_line
from cloud.labeling.formats.base import Format, Found, bad_class, bad_picture, in_pixels
from cloud.labeling.formats.sidecar import Origin, Origins, origins, restored
from cloud.labeling.labels import Example
from cloud.labeling.words import quoted
from edge_agent.errors import ConfigInvalid, WriteFailed

ATTRIBUTE = "labels"
"""The label attribute of lines that were made of files without a sidecar, unless another is wished."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An example read back, the attribute its labels go under, and what our export knew of it."""

    example: Example
    attribute: str
    origin: Origin | None
    place: Found


@dataclass(slots=True)
class Outcome:
    """What came back. ``known``: pictures that a sidecar told more of."""

    lines: int = 0
    labels: int = 0
    unlabelled: int = 0
    known: int = 0
    classes: dict[str, int] = field(default_factory=dict)


def read_back(
    form: Format, path: Path, findings: Findings, *, attribute: str | None = None, base: str | None = None
) -> Iterator[Imported]:
    """Every example of the data set *path* in the format *form*.

    *base* is what the pictures' names are put behind to make their URIs; else they are files of the data set.
    Findings: those of the format's reader, ``class_refused``, ``size_unknown``, ``unknown_picture`` (dropped),
    ``bad_sidecar``. Raises ConfigInvalid.
    """
    if form.read is None:
        raise ConfigInvalid(f"{form.name} cannot be imported", fix="import coco, yolo, voc, cvat or label-studio")
    if not path.exists():
        raise ConfigInvalid("is not there", where=str(path), fix=f"name the {form.name} data set")
    root = path if path.is_dir() else path.parent
    sidecars = root if (root / "sources.jsonl").is_file() else root.parent
    with origins(sidecars, findings) as known:
        for found in form.read(path, findings):
            if why := bad_picture(found.picture):
                what = f"the picture {quoted(found.picture)} {why}"
                findings.add(Finding("bad_image", found.where, found.line, what, "rename it", dropped=True))
                continue
            example = _cleaned(found, findings)
            made = _restored(form, replace(found, example=example), known, findings)
            if made is None:
                continue
            example, origin = made
            if origin is None:
                example = replace(example, source=source_of(found, root, base), extra=_split(example))
            name = attribute or (origin.attribute if origin is not None else None) or ATTRIBUTE
            yield Imported(example, name, origin, found)


def _restored(form: Format, found: Found, known: Origins, findings: Findings) -> tuple[Example, Origin | None] | None:
    example, origin = found.example, known.of(found.picture)
    if form.fractions and example.boxes is not None:
        size = example.width, example.height
        if None in size and origin is not None:
            size = origin.example.width, origin.example.height
        if size[0] is not None and size[1] is not None:
            example = in_pixels(example, size[0], size[1])
        elif example.boxes:
            what = f"the picture {quoted(found.picture)}, and so its size, is not known"
            findings.add(Finding("size_unknown", found.where, found.line, what, "put it there", dropped=True))
            return None
    return (restored(example, origin), origin) if origin is not None else (example, None)


def _split(example: Example) -> dict[str, object]:
    return {} if example.split is None else {"split": example.split}


def _cleaned(found: Found, findings: Findings) -> Example:
    """The example without labels whose class no other file could hold."""
    example = found.example
    for name in (*(box.label for box in example.boxes or ()), *(label.label for label in example.labels or ())):
        if why := bad_class(name):
            what = f"class {quoted(name)} {why}"
            findings.add(Finding("class_refused", found.where, found.line, what, "rename it", dropped=True))
    boxes, labels = example.boxes, example.labels
    return replace(
        example,
        boxes=None if boxes is None else tuple(box for box in boxes if not bad_class(box.label)),
        labels=None if labels is None else tuple(label for label in labels if not bad_class(label.label)),
    )


def source_of(found: Found, root: Path, base: str | None) -> str:
    """The URI of a picture that no sidecar knows: its own, when it has one; behind *base*; or of the file itself."""
    if "://" in found.example.source:
        return found.example.source
    name = found.picture.rpartition("/")[2] or found.picture
    if base is not None:
        return f"{base.rstrip('/')}/{name}"
    for path in (root / found.picture, root / found.example.source, root / "images" / name):
        if path.is_file():
            return path.resolve().as_uri()
    return (root / found.picture).resolve().as_uri()


def write_manifest(read: Iterator[Imported], out: Path, findings: Findings, *, strict: bool = False) -> Outcome:
    """Write the lines of *read* to the new file *out*; it appears whole. With *strict* findings keep it from that.

    Raises ConfigInvalid when *out* is there or nothing came, FindingsPresent, WriteFailed.
    """
    if out.exists():
        raise ConfigInvalid("is there already", where=str(out), fix="name another --out, or delete it first")
    outcome = Outcome()
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            for each in read:
                file.write(_line(each, outcome) + "\n")
            file.flush()
            os.fsync(file.fileno())
        findings.raise_if_strict(strict)
        if not outcome.lines:
            raise ConfigInvalid("nothing came back", where=str(out), fix="see what was passed over above")
        part.rename(out)
    except OSError as error:
        raise WriteFailed(f"cannot be written: {error.strerror}", where=str(error.filename or out)) from error
    finally:
        part.unlink(missing_ok=True)
    return outcome


def _line(each: Imported, outcome: Outcome) -> str:
    example = each.example
    labels = example.boxes if example.boxes is not None else example.labels
    for label in labels or ():
        outcome.classes.setdefault(label.label, len(outcome.classes))
    outcome.lines += 1
    outcome.labels += len(labels or ())
    outcome.unlabelled += labels is None
    outcome.known += each.origin is not None
    order = each.origin.fields if each.origin is not None else ()
    return to_line(example, each.attribute, outcome.classes, order)
