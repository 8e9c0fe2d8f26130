"""Where everything derived from a video stands in the dataset store. Pure functions of the segment's name.

::

    frames/<stem>/<stem>_000023.jpg
    previews/<stem>.jpg
    index/<stem>.json
    manifests/<class tag>/<yyyy-mm-dd>-<device>.manifest      takes the daemon made
    manifests/<class tag>/undated.manifest                    takes a person named
"""

from __future__ import annotations

from edge_agent.segment import SegmentName

FRAMES, PREVIEWS, INDEX, MANIFESTS = "frames/", "previews/", "index/", "manifests/"
MANIFEST_SUFFIX = ".manifest"
PICTURE_SUFFIX = ".jpg"


def frames_prefix(name: SegmentName) -> str:
    """What the keys of all the segment's frames start with, and of no other segment's."""
    return f"{FRAMES}{name.stem}/"


def frame_key(name: SegmentName, index: int) -> str:
    return f"{frames_prefix(name)}{name.frame(index)}{PICTURE_SUFFIX}"


def preview_key(name: SegmentName) -> str:
    return f"{PREVIEWS}{name.stem}{PICTURE_SUFFIX}"


def index_key(name: SegmentName) -> str:
    return f"{INDEX}{name.stem}.json"


def partition_key(name: SegmentName) -> str:
    """The manifest partition that holds the segment's lines: one class, one device, one day (UTC)."""
    take = name.made_by
    day = "undated" if take is None else f"{take.start.year:04d}-{take.start:%m-%d}-{take.device}"
    return f"{MANIFESTS}{name.tag}/{day}{MANIFEST_SUFFIX}"


def is_frame_key(name: SegmentName, key: str) -> bool:
    """Whether *key* is that of a frame of the segment, of whatever ordinal."""
    head, suffix = f"{frames_prefix(name)}{name.stem}_", PICTURE_SUFFIX
    return key.startswith(head) and key.endswith(suffix) and key[len(head) : -len(suffix)].isdecimal()
