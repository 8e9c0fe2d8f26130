"""The last steps with a video: what its index says becomes its manifest lines, and what it does not list goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloud.dataset import holding, layout, manifest
from cloud.dataset.index import VideoIndex
from cloud.dataset.manifest import Appended
from edge_agent.clock import Clock
from edge_agent.errors import ObjectNotFound
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectInfo, ObjectStore


def frames_of(store: ObjectStore, name: SegmentName) -> dict[str, ObjectInfo]:
    """The segment's frames in the store by key; other objects beside them are left out."""
    found = store.list(layout.frames_prefix(name))
    return {info.key: info for info in found if layout.is_frame_key(name, info.key)}


def is_complete(store: ObjectStore, name: SegmentName, index: VideoIndex) -> bool:
    """Whether every frame *index* lists, and the contact sheet, are there in the size they were stored with."""
    return _holds(frames_of(store, name), index) and _size(store, index.preview) == index.preview_size


def has_leftovers(store: ObjectStore, name: SegmentName) -> bool:
    """Whether there are frames or a contact sheet of the segment."""
    return bool(frames_of(store, name)) or _size(store, layout.preview_key(name)) is not None


def commit(
    store: ObjectStore, name: SegmentName, index: VideoIndex, etag: str, extra: Sequence[str], clock: Clock
) -> Appended:
    """Make the manifest list exactly the kept and flagged frames of *index*, which stands in the store with *etag*.

    Then frames that it does not list are deleted. SUPERSEDED when the index was replaced meanwhile, or a frame is
    missing: whoever did that deletes frames as here, and knows nothing of this index.
    """
    current = _still(store, name, etag)
    lines = manifest.lines_of(index, store.uri, extra)
    appended = manifest.append(store, index.manifest, name.stem, lines, clock, current)
    if appended is Appended.SUPERSEDED:
        return appended
    there = frames_of(store, name)
    orphans = there.keys() - {frame.key for frame in index.frames}
    for key in sorted(orphans):
        store.delete(key)
    intact = _holds(there, index) and (not orphans or current())
    return appended if intact else Appended.SUPERSEDED


def retract(store: ObjectStore, name: SegmentName, etag: str | None, clock: Clock) -> bool:
    """Take out of the data set what was made of a video, as long as its index has *etag* (None: is not there).

    False when it has not, and something may be left: look again. The index goes last. Nothing can be deleted on a
    condition, so the caller asks afterwards whether the video is there again.
    """
    current = _still(store, name, etag)
    if manifest.append(store, layout.partition_key(name), name.stem, [], clock, current) is Appended.SUPERSEDED:
        return False
    for key in sorted(frames_of(store, name)):
        store.delete(key)
    if not current():
        return False
    store.delete(layout.preview_key(name))
    if etag is not None:
        store.delete(layout.index_key(name))
    return True


def _holds(there: Mapping[str, ObjectInfo], index: VideoIndex) -> bool:
    return all(frame.key in there and there[frame.key].size == frame.size for frame in index.frames)


def _size(store: ObjectStore, key: str) -> int | None:
    try:
        return store.head(key).size
    except ObjectNotFound:
        return None


def _still(store: ObjectStore, name: SegmentName, etag: str | None) -> Callable[[], bool]:
    return lambda: holding.is_still(store, layout.index_key(name), etag)
