"""What a video is of, and where and when it was taken: object metadata first, its name second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from edge_agent.errors import NameInvalid
from edge_agent.segment import Segment, SegmentName
from edge_agent.store import ObjectInfo

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".ts", ".webm"})


@dataclass(frozen=True, slots=True)
class Origin:
    """A video's segment name, and what else is known of how it was taken; None where nothing tells."""

    name: SegmentName
    device: str | None = None
    camera: str | None = None
    start: datetime | None = None
    clock: str | None = None
    recovered: bool | None = None


def place(device: str | None, camera: str | None) -> str:
    """How a camera is called where there are several devices, which may all have a ``cam1``."""
    return "/".join(part for part in (device, camera) if part)


def is_video(key: str) -> bool:
    """Whether *key* is named like a video."""
    return PurePosixPath(key).suffix.lower() in VIDEO_SUFFIXES


def origin_of(video: ObjectInfo, fields: Sequence[str]) -> Origin:
    """The origin of *video*. Raises NameInvalid when it is not named right, or its metadata disagrees with its name."""
    stem = PurePosixPath(video.key).stem
    try:
        name = SegmentName.parse(stem, fields)
        if "name" not in video.metadata:  # put there by hand
            take = name.made_by
            return Origin(name) if take is None else Origin(name, take.device, take.camera, take.start)
        segment = Segment.from_metadata(_in_order(video.metadata, fields))
        if segment.name != name:
            raise NameInvalid(f"its metadata names it {segment.name}", fix="rename it back, or drop its metadata")
    except NameInvalid as error:
        raise NameInvalid(error.what, where=video.key, fix=error.fix) from error
    return Origin(name, segment.device, segment.camera, segment.start, segment.clock, segment.recovered)


def _in_order(metadata: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """*metadata* with the class fields in configured order: stores hand metadata back in any order."""
    first = {f"class-{field}": metadata[f"class-{field}"] for field in fields if f"class-{field}" in metadata}
    return {**first, **metadata}
