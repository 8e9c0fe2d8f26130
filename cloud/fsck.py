"""Whether manifest, index, frames and videos of a data set agree; and what to do where they do not.

One partition is looked at after the other, so memory is that of one class, one device, one day. What is found while
workers are at work may be gone a moment later.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from cloud.dataset import holding, layout, manifest, parked
from cloud.dataset.commit import frames_of
from cloud.dataset.holding import Held
from cloud.dataset.index import VideoIndex
from cloud.dataset.manifest import ManifestLine
from cloud.extraction import checksum_of
from cloud.origin import is_video
from cloud.settings import Settings
from edge_agent.errors import NameInvalid, ObjectConflict, ObjectNotFound
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectInfo, ObjectStore

VIDEOS = "videos/"


class Fault(enum.StrEnum):
    """What can be wrong."""

    PARTITION_DAMAGED = "partition_damaged"
    LINES_DIFFER = "lines_differ"
    LINES_STALE = "lines_stale"
    LINES_TWICE = "lines_twice"
    INDEX_DAMAGED = "index_damaged"
    UNFINISHED = "unfinished"
    SETTINGS_STALE = "settings_stale"
    FRAME_MISSING = "frame_missing"
    FRAME_DAMAGED = "frame_damaged"
    FRAME_ORPHANED = "frame_orphaned"
    SHEET_MISSING = "sheet_missing"
    SHEET_ORPHANED = "sheet_orphaned"
    VIDEO_GONE = "video_gone"
    VIDEO_CHANGED = "video_changed"
    VIDEO_MISSED = "video_missed"
    PARKED = "parked"


_REPAIR = "edge-cloud fsck --repair"
_AGAIN = "process the video again: edge-cloud fsck --repair --raw STORE"

ADVICE: Mapping[Fault, str] = {
    Fault.PARTITION_DAMAGED: f"{_REPAIR} sets the damaged file aside under failed/ and makes it anew from the index",
    Fault.LINES_DIFFER: f"{_REPAIR} writes the video's lines anew from its index",
    Fault.LINES_STALE: f"{_REPAIR} removes lines of a video that has no index",
    Fault.LINES_TWICE: f"{_REPAIR} leaves one of each",
    Fault.INDEX_DAMAGED: _AGAIN,
    Fault.UNFINISHED: f"if no worker is at it, {_AGAIN}",
    Fault.SETTINGS_STALE: _AGAIN,
    Fault.FRAME_MISSING: _AGAIN,
    Fault.FRAME_DAMAGED: _AGAIN,
    Fault.FRAME_ORPHANED: f"{_REPAIR} deletes frames that no index lists",
    Fault.SHEET_MISSING: _AGAIN,
    Fault.SHEET_ORPHANED: f"{_REPAIR} deletes it",
    Fault.VIDEO_GONE: f"{_REPAIR} --raw STORE --gone takes out what was made of it",
    Fault.VIDEO_CHANGED: _AGAIN,
    Fault.VIDEO_MISSED: _AGAIN,
    Fault.PARKED: "mend or rename the video, or delete it and this record",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong at ``key``. ``stem`` and ``video`` (its key in the raw store) where it is about one video."""

    fault: Fault
    key: str
    what: str
    stem: str = ""
    video: str = ""

    @property
    def fix(self) -> str:
        return ADVICE[self.fault]


def check(dataset: ObjectStore, settings: Settings, raw: ObjectStore | None = None) -> Iterator[Finding]:
    """Everything that is wrong with *dataset* under *settings*, also against the videos in *raw* where that is given.

    Every frame is asked for its checksum: one request a frame.
    """
    indexed = {layout.stem_of(info.key) for info in dataset.list(layout.INDEX)}
    videos = {info.key: info for info in raw.list(VIDEOS) if is_video(info.key)} if raw is not None else None
    partitions: dict[str, list[SegmentName]] = {}
    for stem in sorted(indexed):
        name = _parse(stem, settings)
        if name is None:
            yield Finding(Fault.INDEX_DAMAGED, f"{layout.INDEX}{stem}{layout.RECORD_SUFFIX}", "is no segment's", stem)
        else:
            partitions.setdefault(layout.partition_key(name), []).append(name)
    there = {info.key for info in dataset.list(layout.MANIFESTS) if info.key.endswith(layout.MANIFEST_SUFFIX)}
    for key in sorted(there | partitions.keys()):
        yield from _partition(dataset, settings, key, partitions.get(key, []), videos, raw)
    yield from _orphans(dataset, indexed)
    waiting = {info.key: parked.read(dataset, info.key) for info in dataset.list(layout.FAILED)}
    for key, record in waiting.items():
        if record is not None:
            yield Finding(Fault.PARKED, key, f"{record.video} {record.what}")
    known = {record.video for record in waiting.values() if record is not None}
    for key in sorted(videos or ()):
        stem = PurePosixPath(key).stem
        if stem not in indexed and raw is not None and raw.uri(key) not in known:
            yield Finding(Fault.VIDEO_MISSED, key, "was never processed", stem, key)


def _partition(
    dataset: ObjectStore,
    settings: Settings,
    key: str,
    names: list[SegmentName],
    videos: Mapping[str, ObjectInfo] | None,
    raw: ObjectStore | None,
) -> Iterator[Finding]:
    """What is wrong with the partition *key*, and the videos *names* that belong there."""
    try:
        lines: list[ManifestLine] | None = manifest.parse(_body(dataset, key), key)
    except ObjectConflict as error:
        lines = None
        yield Finding(Fault.PARTITION_DAMAGED, key, error.what)
    blocks = {stem: list(block) for stem, block in groupby(lines or (), lambda line: line.stem)}
    twice = Counter(line.source for line in lines or ())
    for source in sorted(source for source, count in twice.items() if count > 1):
        yield Finding(Fault.LINES_TWICE, key, f"{source} is listed {twice[source]} times", manifest.stem_of(source))
    for name in names:
        held = holding.look(dataset, layout.index_key(name))
        yield from _index(dataset, settings, name, held, videos, raw)
        if lines is not None and held.index is not None:
            wanted = manifest.lines_of(held.index, dataset.uri, settings.lines.extra)
            if [line.text for line in blocks.get(name.stem, [])] != wanted:
                yield Finding(Fault.LINES_DIFFER, key, f"{name.stem} is not listed as its index says", name.stem)
    for stem in sorted(blocks.keys() - {name.stem for name in names}):
        yield Finding(Fault.LINES_STALE, key, f"{stem} has lines and no index", stem)


def _index(
    dataset: ObjectStore,
    settings: Settings,
    name: SegmentName,
    held: Held,
    videos: Mapping[str, ObjectInfo] | None,
    raw: ObjectStore | None,
) -> Iterator[Finding]:
    """What is wrong with the index *held* of the video *name*, its frames and its sheet."""
    key, stem = layout.index_key(name), name.stem
    if held.video is None:
        yield Finding(Fault.INDEX_DAMAGED, key, "cannot be read", stem, _only(videos, stem))
        return
    video = (raw.key_of(held.video.uri) if raw is not None else None) or ""
    if videos is not None and video:
        if video not in videos:
            yield Finding(Fault.VIDEO_GONE, key, f"{held.video.uri} is gone", stem, video)
        elif videos[video].etag != held.video.etag:
            yield Finding(Fault.VIDEO_CHANGED, key, f"{held.video.uri} is another one now", stem, video)
    index = held.index
    if index is None:
        old = b'"begun"' not in held.body
        fault, what = (Fault.INDEX_DAMAGED, "is of another format") if old else (Fault.UNFINISHED, "was begun only")
        yield Finding(fault, key, what, stem, video)
        return
    if index.settings != settings.fingerprint:
        yield Finding(Fault.SETTINGS_STALE, key, f"was made under the settings {index.settings}", stem, video)
    for found in _frames(dataset, name, index):
        yield Finding(found.fault, found.key, found.what, stem, video)
    sheet = _checksum(dataset, index.preview)
    if sheet != index.preview_checksum:
        what = "is not the sheet that was stored" if sheet else "is missing"
        yield Finding(Fault.SHEET_MISSING, index.preview, what, stem, video)


def _frames(dataset: ObjectStore, name: SegmentName, index: VideoIndex) -> Iterator[Finding]:
    there = frames_of(dataset, name)
    for frame in index.frames:
        found = there.pop(frame.key, None)
        if found is None:
            yield Finding(Fault.FRAME_MISSING, frame.key, "is missing")
        elif found.size != frame.size or _checksum(dataset, frame.key) not in ("", frame.checksum):
            yield Finding(Fault.FRAME_DAMAGED, frame.key, "is not the frame that was stored")
    for key in sorted(there):
        yield Finding(Fault.FRAME_ORPHANED, key, "is in no index")


def _orphans(dataset: ObjectStore, indexed: set[str]) -> Iterator[Finding]:
    """Frames and sheets of videos that have no index."""
    for fault, prefix in ((Fault.FRAME_ORPHANED, layout.FRAMES), (Fault.SHEET_ORPHANED, layout.PREVIEWS)):
        for info in dataset.list(prefix):
            stem = layout.stem_of(info.key)
            if stem not in indexed:
                yield Finding(fault, info.key, "is in no index", stem)


def _only(videos: Mapping[str, ObjectInfo] | None, stem: str) -> str:
    """The key of the video named *stem*; empty when there is none, or more than one."""
    found = [key for key in videos or () if PurePosixPath(key).stem == stem]
    return found[0] if len(found) == 1 else ""


def _parse(stem: str, settings: Settings) -> SegmentName | None:
    try:
        return SegmentName.parse(stem, settings.fields)
    except NameInvalid:
        return None


def _body(store: ObjectStore, key: str) -> bytes:
    try:
        return store.get(key).body
    except ObjectNotFound:
        return b""


def _checksum(store: ObjectStore, key: str) -> str:
    try:
        return checksum_of(store.head(key))
    except ObjectNotFound:
        return ""
