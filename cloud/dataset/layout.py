"""Where everything derived from a video stands in the dataset store. Pure functions of the segment's name.

::

    frames/<stem>/<stem>_000023.jpg
    previews/<stem>.jpg
    index/<stem>.json
    failed/<stem>.json                                        what could not be read, and why
    manifests/<class tag>/<yyyy-mm-dd>-<device>.manifest      takes the daemon made
    manifests/<class tag>/undated.manifest                    takes a person named
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from edge_agent.segment import SegmentName

FRAMES, PREVIEWS, INDEX, FAILED, MANIFESTS = "frames/", "previews/", "index/", "failed/", "manifests/"
MANIFEST_SUFFIX, RECORD_SUFFIX, SHEET_SUFFIX = ".manifest", ".json", ".jpg"
PICTURE_SUFFIXES = (".jpg", ".png")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def frames_prefix(name: SegmentName) -> str:
    """What the keys of all the segment's frames start with, and of no other segment's."""
    return f"{FRAMES}{name.stem}/"


def frame_key(name: SegmentName, index: int, suffix: str = ".jpg") -> str:
    return f"{frames_prefix(name)}{name.frame(index)}{suffix}"


def preview_key(name: SegmentName) -> str:
    return f"{PREVIEWS}{name.stem}{SHEET_SUFFIX}"


def index_key(name: SegmentName) -> str:
    return f"{INDEX}{name.stem}{RECORD_SUFFIX}"


def failed_key(video: str) -> str:
    """Where the video with the key *video* is parked; it may be named as it likes, so odd characters become ``=XX``."""
    stem = PurePosixPath(video).stem
    safe = _UNSAFE.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), stem)
    return f"{FAILED}{safe[:200] or '=00'}{RECORD_SUFFIX}"


def stem_of(key: str) -> str:
    """The stem of the video that the index, sheet or frame at *key* is of."""
    rest = key.partition("/")[2]
    return rest.partition("/")[0] if key.startswith(FRAMES) else rest.rpartition(".")[0]


def partition_key(name: SegmentName) -> str:
    """The manifest partition that holds the segment's lines: one class, one device, one day (UTC)."""
    take = name.made_by
    day = "undated" if take is None else f"{take.start.year:04d}-{take.start:%m-%d}-{take.device}"
    return f"{MANIFESTS}{name.tag}/{day}{MANIFEST_SUFFIX}"


def is_frame_key(name: SegmentName, key: str) -> bool:
    """Whether *key* is that of a frame of the segment, of whatever ordinal and format."""
    head = f"{frames_prefix(name)}{name.stem}_"
    stem, dot, suffix = key.removeprefix(head).rpartition(".")
    return key.startswith(head) and dot + suffix in PICTURE_SUFFIXES and stem.isascii() and stem.isdecimal()
