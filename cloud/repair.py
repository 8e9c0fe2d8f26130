"""Mends what :mod:`cloud.fsck` found, as far as it follows from what is there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from cloud.dataset import holding, layout, manifest
from cloud.dataset.manifest import Appended
from cloud.events import ObjectRef
from cloud.fsck import Fault, Finding
from cloud.pipeline import remove
from cloud.settings import Settings
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, NameInvalid, ObjectNotFound, Scope
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectStore

_DELETED = frozenset({Fault.FRAME_ORPHANED, Fault.SHEET_ORPHANED})
_PROCESSED = frozenset(
    {
        Fault.UNFINISHED,
        Fault.SETTINGS_STALE,
        Fault.FRAME_MISSING,
        Fault.FRAME_DAMAGED,
        Fault.SHEET_MISSING,
        Fault.VIDEO_CHANGED,
        Fault.VIDEO_MISSED,
        Fault.INDEX_DAMAGED,
    }
)
_LISTED = frozenset({Fault.LINES_DIFFER, Fault.LINES_STALE, Fault.LINES_TWICE})


def repair(
    findings: Iterable[Finding],
    dataset: ObjectStore,
    settings: Settings,
    clock: Clock,
    raw: ObjectStore | None = None,
    *,
    gone: bool = False,
) -> list[EdgeCaptureError]:
    """Mend *findings*: videos of *raw* are processed, partitions made from indexes, what is left over deleted.

    What was made of videos that are no longer in *raw* goes only if *gone* is true: a data set may outlive its videos.
    Returns why videos could not be processed; one of them holds up no other. Raises errors of the link.
    """
    found = list(findings)
    errors = _process(found, dataset, settings, clock, raw, gone=gone) if raw is not None else []
    for finding in found:
        if finding.fault is Fault.PARTITION_DAMAGED:
            _rebuild(dataset, finding.key, settings, clock)
    for key, stem in dict.fromkeys((finding.key, finding.stem) for finding in found if finding.fault in _LISTED):
        _relist(dataset, key, stem, settings, clock)
    for finding in found:
        if finding.fault in _DELETED and not _is_listed(dataset, finding):
            dataset.delete(finding.key)
    return errors


def _process(
    found: list[Finding], dataset: ObjectStore, settings: Settings, clock: Clock, raw: ObjectStore, *, gone: bool
) -> list[EdgeCaptureError]:
    lost = {finding.video for finding in found if finding.fault is Fault.VIDEO_GONE}
    wrong = _PROCESSED | {Fault.VIDEO_GONE}
    again = {finding.video: None for finding in found if finding.fault in wrong and finding.video}
    errors: list[EdgeCaptureError] = []
    for key in again:
        if key in lost and not gone:
            continue
        for finding in found:
            if finding.video == key and key not in lost:
                _distrust(dataset, finding)
        try:
            remove(ObjectRef(raw.name, key), raw, dataset, settings, clock)
        except EdgeCaptureError as error:
            if error.scope is Scope.LINK:
                raise
            errors.append(error)
    return errors


def _distrust(dataset: ObjectStore, finding: Finding) -> None:
    """Make sure that the video is processed again: a frame of the right size, or a missing sheet, would not tell."""
    if finding.fault is Fault.FRAME_DAMAGED:
        dataset.delete(finding.key)
    elif finding.fault is Fault.SHEET_MISSING:
        dataset.delete(f"{layout.INDEX}{finding.stem}{layout.RECORD_SUFFIX}")


def _relist(dataset: ObjectStore, key: str, stem: str, settings: Settings, clock: Clock) -> None:
    """Make the lines of *stem* in the partition *key* those of its index; none when there is no index."""
    place = f"{layout.INDEX}{stem}{layout.RECORD_SUFFIX}"
    while True:
        held = holding.look(dataset, place)
        if held.etag is not None and held.index is None:
            return  # being made: whoever finishes it lists it
        lines = manifest.lines_of(held.index, dataset.uri, settings.lines.extra) if held.index else []
        still = partial(holding.is_still, dataset, place, held.etag)
        if manifest.append(dataset, key, stem, lines, clock, still) is not Appended.SUPERSEDED:
            return


def _rebuild(dataset: ObjectStore, key: str, settings: Settings, clock: Clock) -> None:
    """Set the damaged partition aside, and list every indexed video that belongs there."""
    aside = f"{layout.FAILED}{key}"
    try:
        dataset.put(aside, dataset.get(key).body, content_type=manifest.CONTENT_TYPE)
    except ObjectNotFound:
        return
    dataset.delete(key)
    for info in list(dataset.list(layout.INDEX)):
        stem = layout.stem_of(info.key)
        try:
            name = SegmentName.parse(stem, settings.fields)
        except NameInvalid:
            continue
        if layout.partition_key(name) == key:
            _relist(dataset, key, stem, settings, clock)


def _is_listed(dataset: ObjectStore, finding: Finding) -> bool:
    """Whether an index that came since lists what seemed an orphan, or is being made."""
    held = holding.look(dataset, f"{layout.INDEX}{finding.stem}{layout.RECORD_SUFFIX}")
    index = held.index
    if index is None:
        return held.etag is not None
    return finding.key == index.preview or finding.key in {frame.key for frame in index.frames}
