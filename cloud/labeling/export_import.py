"""From a data set in another tool's format to an augmented manifest; what our own export knew beside it comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.pictures import is_file
from cloud.dataset.whole import whole
from cloud.labeling.augmented import to_line
from cloud.labeling.formats.base import Format, Found, bad_class, bad_picture, in_pixels
from cloud.labeling.formats.sidecar import Origin, origins, restored
from cloud.labeling.labels import Box, Example, ImageLabel
from cloud.labeling.shapes import FAR
from cloud.words import quoted
from edge_agent.errors import ConfigInvalid, ObjectExists

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
    Findings: those of the format's reader, ``class_refused``, ``bad_box``, ``bad_labels``, ``bad_image``,
    ``size_unknown``, ``duplicate_line`` (dropped), ``bad_sidecar``. Raises ConfigInvalid.
    """
    if form.read is None:
        raise ConfigInvalid(f"{form.name} cannot be imported", fix="import coco, yolo, voc, cvat or label-studio")
    if not path.exists():
        raise ConfigInvalid("is not there", where=str(path), fix=f"name the {form.name} data set")
    root = path if path.is_dir() else path.parent
    sidecars = root if (root / "sources.jsonl").is_file() else root.parent
    seen: set[str] = set()
    with _reading(path), origins(sidecars, findings) as known:
        for found in form.read(path, findings):
            if why := bad_picture(found.picture):
                what = f"the picture {quoted(found.picture)} {why}"
                findings.add(Finding("bad_image", found.where, found.line, what, "rename it", dropped=True))
                continue
            origin = known.of(found.picture)
            example = _in_pixels(form, found, origin, findings)
            if example is None:
                continue
            example = cleaned(replace(found, example=example), findings)
            if example is None:
                what = f"no label of {quoted(found.picture)} can be used, which does not make it empty: it is left out"
                findings.add(Finding("bad_labels", found.where, found.line, what, "mend them", dropped=True))
                continue
            if origin is not None:
                example = restored(example, origin)
            else:
                example = replace(example, source=source_of(found, root, base), extra=_split(example))
            if example.source in seen:
                what, fix = f"{quoted(example.source)} comes a second time", "the first is kept"
                findings.add(Finding("duplicate_line", found.where, found.line, what, fix, dropped=True))
                continue
            seen.add(example.source)
            name = attribute or (origin.attribute if origin is not None else None) or ATTRIBUTE
            yield Imported(example, name, origin, found)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise as one of ours what the operating system refuses while *path* is read, however deep below it."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or path)
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=where, fix="mend that") from error


def _in_pixels(form: Format, found: Found, origin: Origin | None, findings: Findings) -> Example | None:
    """The example of *found* with its boxes in pixels; None, and reported, when that cannot be."""
    example = found.example
    if not form.fractions or example.boxes is None:
        return example
    size = example.width, example.height
    if None in size and origin is not None:
        size = origin.example.width, origin.example.height
    if size[0] is not None and size[1] is not None:
        return in_pixels(example, size[0], size[1])
    if not example.boxes:
        return example
    what = f"the picture {quoted(found.picture)}, and so its size, is not known"
    findings.add(Finding("size_unknown", found.where, found.line, what, "put it there", dropped=True))
    return None


def _split(example: Example) -> dict[str, object]:
    return {} if example.split is None else {"split": example.split}


def cleaned(found: Found, findings: Findings) -> Example | None:
    """The example without labels that no manifest can hold: by their class, or where they are.

    None when no other is left, of these or of those its reader dropped: an empty list would say that nothing is in
    the picture. For the same reason a list from which labels may have been dropped is empty no more, but None.
    """

    def fits(label: Box | ImageLabel) -> bool:
        code, why = "class_refused", bad_class(label.label)
        fix = "rename it"
        if not why and isinstance(label, Box) and _is_far(label):
            code, why, fix = "bad_box", f"has a box beyond {FAR:,.0f} pixels", "see what the tool counts in"
        if why:
            what = f"class {quoted(label.label)} {why}"
            findings.add(Finding(code, found.where, found.line, what, fix, dropped=True))
        return not why

    example = found.example
    boxes, labels = tuple(filter(fits, example.boxes or ())), tuple(filter(fits, example.labels or ()))
    if (found.dropped or example.boxes or example.labels) and not (boxes or labels):
        return None
    return replace(
        example,
        boxes=boxes if boxes or (example.boxes == () and not found.dropped) else None,
        labels=labels if labels or (example.labels == () and not found.dropped) else None,
    )


def _is_far(box: Box) -> bool:
    return max(map(abs, (box.left, box.top, box.width, box.height))) > FAR


def source_of(found: Found, root: Path, base: str | None) -> str:
    """The URI of a picture that no sidecar knows: its own, when it has one; behind *base*; or of the file itself."""
    if "://" in found.example.source:
        return found.example.source
    name = found.picture.rpartition("/")[2] or found.picture
    if base is not None:
        return f"{base.rstrip('/')}/{name}"
    for path in (root / found.picture, root / found.example.source, root / "images" / name):
        if is_file(path):
            return path.resolve().as_uri()
    return Path(os.path.realpath(root / found.picture)).as_uri()  # a link to itself is told later, as not there


def write_manifest(read: Iterator[Imported], out: Path, findings: Findings, *, strict: bool = False) -> Outcome:
    """Write the lines of *read* to the new file *out*; it appears whole. With *strict* findings keep it from that.

    Raises ConfigInvalid when *out* is there or nothing came, FindingsPresent, and what ``whole`` raises.
    """
    taken = ConfigInvalid("is there already", where=str(out), fix="name another --out, or delete it first")
    if out.exists():
        raise taken
    outcome = Outcome()
    try:
        with whole(out, absent=True) as file:
            for each in read:
                file.write(f"{_line(each, outcome)}\n".encode())
            findings.raise_if_strict(strict)
            if not outcome.lines:
                raise ConfigInvalid("nothing came back", where=str(out), fix="see what was passed over above")
    except ObjectExists as error:
        raise taken from error
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
