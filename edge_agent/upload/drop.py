"""One directory where other programs drop videos, as the upload process is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Drop:
    """``values``: the class of what bears no segment's own name, one for each configured field, in their order.

    ``camera``: what stands in those names where a camera would. ``settle_seconds``: how long size and time of a file
    must not have changed before it is taken.
    """

    path: str
    values: tuple[str, ...]
    camera: str
    settle_seconds: float

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Drop:
        """The inverse of ``dataclasses.asdict``, through JSON too."""
        return cls(**{**document, "values": tuple(document["values"])})
