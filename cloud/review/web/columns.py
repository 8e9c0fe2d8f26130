"""Items in columns: what goes to the page for tens of thousands of pictures, small and quick to read. Pure.

::

    {"groups": [["yellow_box_1", 2]], "id": ["+_000000", "+_000030"], "verdict": "kr", "tag": [["yellow_box"], 0],
     "scores": {"blur": [0.1, null]}, "time": [0, 1.001], …}

A column in which all are equal is that one value. ``tag``, ``reasons`` and ``camera`` are the values there are and the
number of the one each item has. An id that starts with its group's name is ``+`` and the rest, any other is ``=`` and
itself; a name that is the id is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from typing import Any

from cloud.review.catalogue import Item


def packed(groups: Sequence[Sequence[Item]]) -> bytes:
    """*groups*, none of them empty, as one line of JSON."""
    items = [item for group in groups for item in group]
    names = dict.fromkeys(name for item in items for name in item.scores)  # in the order of the rules
    document: dict[str, Any] = {
        "groups": [[group[0].group, len(group)] for group in groups],
        "id": [_shortened(item) for item in items],
        "name": _column([None if item.name == item.id else item.name for item in items]),
        "verdict": "".join(item.verdict[0] for item in items),
        "tag": _numbered([item.tag for item in items]),
        "reasons": _numbered([item.reasons for item in items]),
        "camera": _numbered([item.camera for item in items]),
        "time": _column([_finite(item.time, 3) for item in items]),
        "at": _column([item.at for item in items]),
        "width": _column([item.width for item in items]),
        "height": _column([item.height for item in items]),
        "scores": {name: _column([_finite(item.scores.get(name)) for item in items]) for name in names},
    }
    if any(item.boxes for item in items):
        document["boxes"] = [_boxes(item) for item in items]
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _shortened(item: Item) -> str:
    return f"+{item.id[len(item.group) :]}" if item.id.startswith(item.group) else f"={item.id}"


def _finite(value: float | None, digits: int | None = None) -> float | None:
    """*value*, null where JSON has no word for it."""
    if value is None or not math.isfinite(value):
        return None
    return value if digits is None else round(value, digits)


def _column(values: list[Any]) -> Any:
    first = values[0]
    return first if all(value == first for value in values) else values


def _numbered(values: Sequence[Hashable]) -> list[Any]:
    numbers: dict[Hashable, int] = {}
    of = [numbers.setdefault(value, len(numbers)) for value in values]
    return [list(numbers), _column(of)]


def _boxes(item: Item) -> list[list[Any]]:
    return [[box.label, box.left, box.top, box.width, box.height, box.confidence] for box in item.boxes]
