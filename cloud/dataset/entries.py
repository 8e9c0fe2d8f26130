"""A manifest line as building sees it: its text, and the few facts that rules of selection ask for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cloud.dataset.lines import INLINE, REFERENCE, frame_of
from cloud.labeling.output import FAILURE, METADATA, label_attributes
from cloud.origin import place
from edge_agent.errors import ConfigInvalid
from edge_agent.segment import Take

NO_FRAME = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """A line on its way into a manifest. ``text`` is without line end; half a kilobyte an entry, all told.

    ``source`` is the picture's URI (or the text to be labelled itself), ``video`` the stem of the video it is a frame
    of, with the ``ordinal`` there; for other pictures the folder, and :data:`NO_FRAME`. ``tag`` is the class as in
    names (``yellow_box``) and ``camera`` is ``<device>/<camera>``; both are empty where nobody tells. ``labelled``: it
    has labels, and nobody is to pay for it again.
    """

    source: str
    video: str
    ordinal: int
    tag: str
    camera: str
    text: str
    labelled: bool = False

    @property
    def group(self) -> str:
        """What must stay on one side of a split; as :func:`cloud.dataset.lines.group_of`."""
        return self.source if self.ordinal == NO_FRAME else self.video

    @property
    def order(self) -> tuple[str, int, str]:
        """Where the line stands in whatever is built: by video, then by frame."""
        return self.video, self.ordinal, self.source


@dataclass(frozen=True, slots=True)
class Rebase:
    """Pictures whose URI starts with ``old`` are looked for under ``new`` instead."""

    old: str
    new: str

    @classmethod
    def parse(cls, text: str, home: str = "") -> Rebase:
        """From ``FROM=TO``, or from ``TO`` alone where pictures have a *home*. Raises ConfigInvalid."""
        old, equals, new = text.partition("=") if "=" in text else (home, "=", text)
        if not (old and equals and new):
            raise ConfigInvalid(
                f"--rebase: {ascii(text)[:120]} is not FROM=TO", fix="for instance file:///data/=s3://bucket/"
            )
        slash = "/" if old.endswith("/") and not new.endswith("/") else ""
        return cls(old, new + slash)


def rebased(fields: Mapping[str, Any], rules: Sequence[Rebase]) -> Mapping[str, Any]:
    """*fields* of a line with its picture where the first rule that fits puts it; itself when none does. Pure."""
    source = fields.get(REFERENCE)
    if isinstance(source, str):
        for rule in rules:
            if source.startswith(rule.old):
                return {**fields, REFERENCE: rule.new + source.removeprefix(rule.old)}
    return fields


def entry_of(fields: Mapping[str, Any], text: str, class_fields: Sequence[str]) -> Entry:
    """The entry of a usable line, see :class:`cloud.dataset.lines.Line`. Pure.

    The class is what the line says of all *class_fields*, else what the name of a frame says.
    """
    reference = fields.get(REFERENCE)
    picture = isinstance(reference, str) and reference != ""
    source = str(reference if picture else fields[INLINE])
    frame = frame_of(source) if picture else None
    video, ordinal = frame or (source.rpartition("/")[0] if picture else "", NO_FRAME)
    said = [fields.get(name) for name in class_fields]
    values = [value for value in said if isinstance(value, str)]
    named = video.rpartition("_")[0] if frame else ""
    tag = "_".join(values) if values and len(values) == len(said) else named
    camera = (camera_of(video) if frame else "") or _camera(fields)
    labelled = any(FAILURE not in fields[f"{name}{METADATA}"] for name in label_attributes(fields))
    return Entry(source, sys.intern(video), ordinal, sys.intern(tag), sys.intern(camera), text, labelled)


def take_of(stem: str) -> Take | None:
    """Device, camera and start that the *stem* of a video spells, whatever class fields stand before them."""
    return Take.parse(stem.rpartition("_")[2])


@lru_cache(maxsize=4096)
def camera_of(stem: str) -> str:
    take = take_of(stem)
    return place(take.device, take.camera) if take else ""


def _camera(fields: Mapping[str, Any]) -> str:
    device, camera = fields.get("device"), fields.get("camera")
    return place(device if isinstance(device, str) else None, camera) if isinstance(camera, str) else ""


def text_of(fields: Mapping[str, Any]) -> str:
    """A line's text, as :func:`cloud.dataset.manifest.make_line` writes it."""
    return json.dumps(fields)
