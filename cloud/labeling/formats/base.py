"""What the formats have in common: what a writer is told, what a reader tells, and how numbers and names are spelt."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic_core import from_json

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line
from cloud.labeling.labels import Box, Example, Split
from cloud.labeling.shapes import FAR
from edge_agent.errors import ConfigInvalid

Task = Literal["boxes", "labels"]
"""What of the examples a format is to carry: rectangles, or classes of whole pictures."""

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SHORT: Mapping[str, str] = {"train": "train", "validation": "val", "test": "test"}
"""What COCO, YOLO and VOC call the splits."""
LONG: Mapping[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

DECIMALS = 4
"""Of a pixel that a read coordinate keeps: what percentages and sums of floats lose on the way is below it."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff￾￿]")  # no format's text may hold these


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of an export before its first example is written.

    ``classes`` are sorted: their ids depend on nothing but the set of them. ``splits`` are those that have examples.
    ``several``: a picture may have more than one class of its own. ``pictures``: copies stand in the export.
    ``title`` is the data set's name, the export directory's.
    """

    task: Task
    classes: tuple[str, ...]
    splits: tuple[Split, ...] = ("train",)
    several: bool = False
    pictures: bool = True
    title: str = "dataset"
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {name: index for index, name in enumerate(self.classes)})


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of an export. Its labels, and for boxes its size, are there: others are sorted out before.

    ``name`` is a safe file name whose stem no other picture of the export has; ``picture`` is where the picture stands,
    relative to the export, with ``/``; ``file`` is the copy on this disk, None when pictures are not copied. ``line``
    is where the example comes from, ``attribute`` what held its labels there; None: they were made of class fields.
    """

    line: Line
    attribute: str | None
    example: Example
    split: Split
    name: str
    picture: str = ""
    file: Path | None = None

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Found:
    """An example read from a file of another tool; ``picture`` is what that file calls it, ``line`` where known.

    ``dropped``: how many findings took a label from it. Where that is not 0, an empty list does not say that the
    picture is empty.
    """

    example: Example
    picture: str
    where: str
    line: int | None = None
    dropped: int = 0


class Writer(Protocol):
    """Takes the examples of an export one after the other; memory does not grow with their number."""

    def add(self, entry: Entry) -> None: ...


@dataclass(frozen=True, slots=True)
class Format:
    """``write`` makes label files in a directory while its block lasts; they are whole when it ends without an error.

    ``place`` is where a picture stands. ``read`` (None: cannot be imported) yields what a path holds and reports what
    it cannot use. ``tasks``: what it can carry. ``needs_size``: not without the picture's width and height.
    ``inside``: boxes must not leave the picture, so they are clipped. ``single``: one class a picture at most.
    ``dotless``: a stem must have no dot. ``staged``: the pictures go into the label files, no copy stays beside them.
    ``fractions``: the boxes that are read are fractions of a picture's size, which its reader may not know.
    """

    name: str
    summary: str
    write: Callable[[Path, Plan], AbstractContextManager[Writer]]
    place: Callable[[Plan, Entry], str]
    read: Callable[[Path, Findings], Iterator[Found]] | None = None
    tasks: tuple[Task, ...] = ("boxes", "labels")
    needs_size: bool = False
    inside: bool = False
    single: bool = False
    dotless: bool = False
    staged: bool = False
    fractions: bool = False


def images_by_split(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    """``images/val/<name>``."""
    return f"images/{SHORT[entry.split]}/{entry.name}"


def class_folder(label: str) -> str:
    """*label* as one part of a path, on any file system; two labels that differ never come out equal."""
    if (
        label
        and label == label.lower()
        and not _UNSAFE.search(label.replace(" ", "_"))
        and label.strip() == label
        and len(label) <= 100
    ):
        return label
    import hashlib

    safe = _UNSAFE.sub("-", label)[:80].strip("-") or "class"
    return f"{safe}~{hashlib.sha256(label.encode(errors='surrogatepass')).hexdigest()[:8]}"


def bad_class(label: str) -> str:
    """Why *label* can be no class in a label file; "" when it can."""
    if not label.strip():
        return "is empty"
    return "has control characters in it" if _UNPRINTABLE.search(label) else ""


def bad_picture(name: str) -> str:
    """Why no file can be called *name*; "" when one can."""
    return "has control characters in its name" if _UNPRINTABLE.search(name) else ""


def text_of(number: float) -> str:
    """*number* as the shortest decimal that is read back as the same, never with an exponent."""
    if float(number).is_integer():
        return str(int(number))
    text = repr(float(number))
    return text if "e" not in text else f"{number:.12f}".rstrip("0").rstrip(".")


def plain(number: float) -> float:
    """*number*, an int where it is whole: ``417``, not ``417.0``, in JSON."""
    return int(number) if float(number).is_integer() else number


def box_from(label: str, left: float, top: float, right: float, bottom: float, confidence: float | None = None) -> Box:
    """A box from its corners, as read: rounded to :data:`DECIMALS`, whole numbers exactly."""
    left, top = round(left, DECIMALS), round(top, DECIMALS)
    return Box(label, left, top, round(right - left, DECIMALS), round(bottom - top, DECIMALS), confidence)


def in_pixels(example: Example, width: int, height: int) -> Example:
    """*example*, whose boxes are fractions of its picture's size, for a picture of that size."""
    return replace(scaled(example, width, height), width=width, height=height)


def scaled(example: Example, across: float, down: float) -> Example:
    """*example* with boxes so many times as wide and high, and as far from the corner."""
    boxes = tuple(
        box_from(
            box.label,
            box.left * across,
            box.top * down,
            (box.left + box.width) * across,
            (box.top + box.height) * down,
            box.confidence,
        )
        for box in example.boxes or ()
    )
    return replace(example, boxes=boxes)


def clipped(box: Box, width: int, height: int) -> Box | None:
    """What of *box* is in a picture of that size; None when nothing is."""
    left, top = max(0.0, box.left), max(0.0, box.top)
    right, bottom = min(float(width), box.left + box.width), min(float(height), box.top + box.height)
    if right <= left or bottom <= top:
        return None
    if (left, top, right, bottom) == (box.left, box.top, box.left + box.width, box.top + box.height):
        return box
    return replace(box, left=left, top=top, width=right - left, height=bottom - top)


def number_of(value: object) -> float | None:
    """*value* as a float that a manifest may hold, within :data:`FAR`; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= FAR else None  # also false for NaN


def size_of(value: object) -> int | None:
    """*value* as a picture's width or height in pixels; None when it is none."""
    number = number_of(value)
    return int(number) if number is not None and number >= 1 and number.is_integer() else None


def score_of(value: object, findings: Findings, where: str, line: int | None = None) -> float | None:
    """*value* as a confidence from 0 to 1. None: there is none, or none of that kind, which is reported."""
    number = number_of(value)
    if value is None or (number is not None and 0 <= number <= 1):
        return number
    fix = "percent are to be divided by 100" if number is not None and 1 < number <= 100 else "it is not used"
    unusable(findings, "bad_confidence", where, f"score {value!a:.40} is not from 0 to 1", fix, line, dropped=False)
    return None


def json_of(path: Path) -> Any:
    """What the JSON file *path* holds, in memory whole; a byte order mark before it is passed over.

    Raises ConfigInvalid.
    """
    try:
        return from_json(path.read_bytes().removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise ConfigInvalid(f"is no JSON: {error}", where=str(path)) from error


def rows_of(path: Path, findings: Findings) -> list[str] | None:
    """The lines of the text file *path*; None, and ``unreadable`` reported, when it cannot be read.

    Bytes that are no text become characters that no name and no number has.
    """
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        unusable(findings, "unreadable", str(path), f"cannot be read: {error.strerror}")
        return None


def directory_of(path: Path, what: str) -> Path:
    """*path*, a directory. Raises ConfigInvalid."""
    if not path.is_dir():
        raise ConfigInvalid("is no directory", where=str(path), fix=f"name the directory of the {what} data set")
    return path


def unusable(
    findings: Findings,
    code: str,
    where: str,
    what: str,
    fix: str = "",
    line: int | None = None,
    *,
    dropped: bool = True,
) -> None:
    """Report what could not be used."""
    findings.add(Finding(code, where, line, what, fix, dropped=dropped))
