"""Which formats there are. A format's module, and what it needs, is loaded when it is asked for."""

from __future__ import annotations

import enum
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from cloud.labeling.formats.base import Format


class Name(enum.StrEnum):
    """The formats as the command line spells them."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    WEBDATASET = "webdataset"
    HUGGINGFACE = "huggingface"
    AUGMENTED = "augmented"


class Readable(enum.StrEnum):
    """Those of them that can be imported."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"


def format_of(name: Name | Readable) -> Format:
    """The format of that name."""
    module = import_module(f"cloud.labeling.formats.{name.value.replace('-', '_')}")
    return cast("Format", module.FORMAT)
