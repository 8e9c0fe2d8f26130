"""A picture with what is known of it: the one shape between label files of all kinds.

Readers (``output``, ``formats``) make :class:`Example`; writers take them. Coordinates are pixels from the upper left
corner, floats, so that every format's numbers survive the way through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Box:
    """An object's rectangle. ``confidence`` is 0 to 1, None where nobody gave one."""

    label: str
    left: float
    top: float
    width: float
    height: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ImageLabel:
    """A class of the whole picture; ``confidence`` as that of a box."""

    label: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A picture and its labels.

    ``source`` is its URI or path; ``width`` and ``height`` (pixels) and ``depth`` (channels) None where nobody said.
    ``boxes`` None: nobody looked for objects; empty: somebody looked and there is none. ``labels`` likewise.
    ``tag`` is the class fields of the line, ``extra`` what else the line had and no reader gave a meaning to.
    """

    source: str
    width: int | None = None
    height: int | None = None
    depth: int | None = None
    boxes: tuple[Box, ...] | None = None
    labels: tuple[ImageLabel, ...] | None = None
    tag: Mapping[str, str] = field(default_factory=dict)
    split: Split | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
