"""CVAT: "CVAT for images 1.1", one ``annotations.xml`` beside ``images/``.

Corners in pixels as floats, the picture's split as ``subset``, classes of whole pictures as tags. CVAT matches pictures
by name, so the file can be uploaded to a task that has the same pictures: :func:`document` makes one of any examples,
which is how labels come in as a start for annotators. CVAT has no confidences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

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
    number_of,
    size_of,
    text_of,
    unusable,
)
from cloud.labeling.formats.xml import elements, escaped
from cloud.labeling.labels import Box, Example, ImageLabel
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FILE = "annotations.xml"
_CORNERS = ("xtl", "ytl", "xbr", "ybr")


def header(task: Task, classes: Iterable[str], title: str) -> str:
    """The document up to its first image."""
    kind = "rectangle" if task == "boxes" else "tag"
    labels = "".join(
        f"        <label><name>{escaped(name)}</name><type>{kind}</type><attributes></attributes></label>\n"
        for name in classes
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <name>{escaped(title)}</name>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )


FOOTER = "</annotations>\n"


def image(number: int, name: str, example: Example, task: Task, subset: str = "") -> str:
    """The element of the picture that CVAT calls *name*; *number* counts from 0. The picture's size is known."""
    split = f' subset="{escaped(subset)}"' if subset else ""
    head = f'  <image id="{number}" name="{escaped(name)}"{split} width="{example.width}" height="{example.height}">\n'
    if task == "boxes":
        return head + "".join(map(_box, example.boxes or ())) + "  </image>\n"
    tags = (f'    <tag label="{escaped(label.label)}" source="manual"></tag>\n' for label in example.labels or ())
    return head + "".join(tags) + "  </image>\n"


def document(pictures: Iterable[tuple[str, Example]], classes: Iterable[str], task: Task, title: str) -> Iterator[str]:
    """A whole document, in pieces, for pictures by the names CVAT has for them. Pure."""
    yield header(task, classes, title)
    for number, (name, example) in enumerate(pictures):
        yield image(number, name, example, task, example.split or "")
    yield FOOTER


def _box(box: Box) -> str:
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    places = " ".join(f'{name}="{text_of(value)}"' for name, value in zip(_CORNERS, corners, strict=True))
    return f'    <box label="{escaped(box.label)}" source="manual" occluded="0" {places} z_order="0"></box>\n'


@dataclass(slots=True)
class CvatWriter:
    file: TextIO
    plan: Plan
    number: int = 0

    def add(self, entry: Entry) -> None:
        self.file.write(image(self.number, entry.name, entry.example, self.plan.task, entry.split))
        self.number += 1


@contextmanager
def write(directory: Path, plan: Plan) -> Iterator[Writer]:
    """``annotations.xml`` in *directory*."""
    with (directory / FILE).open("w", encoding="utf-8") as file:
        file.write(header(plan.task, plan.classes, plan.title))
        yield CvatWriter(file, plan)
        file.write(FOOTER)


def _place(plan: Plan, entry: Entry) -> str:  # noqa: ARG001 - the shape of every format
    return f"images/{entry.name}"


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, findings: Findings) -> Iterator[Found]:
    """The images of the file *path*, or of ``annotations.xml`` in the directory *path*, streaming.

    A picture without any shape was looked at and has nothing in it: CVAT cannot say that nobody looked.
    Findings: ``bad_box``, ``other_shape`` (dropped), ``rotated`` (its upright frame is taken). Raises ConfigInvalid,
    XmlInvalid.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigInvalid("is no CVAT export", where=str(file), fix="name the annotations.xml, unzipped")
    tags = False
    for element in elements(file, "label", "image"):
        if element.tag == "label":  # what can be drawn is said before the first image
            tags |= element.findtext("type") == "tag"
            continue
        name = element.get("name", "")
        if not name:
            unusable(findings, "bad_image", str(file), f"image {element.get('id')!a} has no name")
            continue
        before = findings.dropped
        example = _example(element, name, str(file), findings, tags=tags)
        yield Found(example, f"images/{name}", str(file), dropped=findings.dropped - before)


def _example(element: Element, name: str, where: str, findings: Findings, *, tags: bool) -> Example:
    boxes = []
    for child in element:
        if child.tag == "box":
            box = read_box(child)
            if box is None:
                unusable(findings, "bad_box", where, f"a box of {name!a} has no label or no numbers")
                continue
            if number_of(child.get("rotation")):
                what = f"a box of {name!a} is rotated; it is taken as if it were upright"
                unusable(findings, "rotated", where, what, dropped=False)
            boxes.append(box)
        elif child.tag != "tag":
            what = f"a {child.tag} of {name!a} is no box"
            unusable(findings, "other_shape", where, what, "convert it in CVAT, or do without")
    labels = tuple(ImageLabel(child.get("label", "")) for child in element.iter("tag"))
    return Example(
        name,
        size_of(element.get("width")),
        size_of(element.get("height")),
        boxes=tuple(boxes) if boxes or not tags else None,
        labels=labels if labels or tags else None,
        split=LONG.get(element.get("subset", "").lower()),
    )


def read_box(element: Element) -> Box | None:
    """The box of a ``<box>`` element; None when it has no label or no numbers."""
    label = element.get("label", "")
    left, top, right, bottom = (number_of(element.get(corner)) for corner in _CORNERS)
    if not label or left is None or top is None or right is None or bottom is None or right < left or bottom < top:
        return None
    return box_from(label, left, top, right, bottom)


FORMAT = Format("cvat", "CVAT for images 1.1", write, _place, read, needs_size=True)
