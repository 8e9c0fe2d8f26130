"""What a dataset store has for a manifest: lines of its partitions, and what index and reviewers say of each video."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cloud.dataset import layout, overrides
from cloud.dataset.entries import Entry, Rebase, entry_of, rebased, text_of
from cloud.dataset.findings import Finding, Findings
from cloud.dataset.index import VideoIndex
from cloud.dataset.lines import lines_in
from cloud.dataset.overrides import Overrides
from cloud.dataset.select import Wanted
from cloud.pipelining import pipelined
from edge_agent.errors import ObjectNotFound
from edge_agent.store import ObjectInfo, ObjectStore, StoredObject

_WORKERS, _AHEAD = 8, 16  # a request mostly waits
_LONGEST = timedelta(days=1)  # no take of the daemon lasts as long


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of a video: its index, None when there is none, its decisions, and the ETags of both."""

    index: VideoIndex | None
    decided: Overrides | None
    etags: tuple[str, ...]


def partitions(store: ObjectStore, wanted: Wanted, findings: Findings) -> Iterator[ObjectInfo]:
    """The partitions that may hold lines that are *wanted*, in key order."""
    for info in store.list(layout.MANIFESTS):
        tag, _, name = info.key.removeprefix(layout.MANIFESTS).partition("/")
        if not name.endswith(layout.MANIFEST_SUFFIX):
            what = "is no partition, and is left out"
            findings.add(Finding("odd_object", store.uri(info.key), None, what, "move it away", dropped=True))
        elif wanted.has_class(tag) and _may_hold(name.removesuffix(layout.MANIFEST_SUFFIX), wanted):
            yield info


def classes_of(store: ObjectStore) -> list[str]:
    """The classes the dataset has lines of, as ``--class`` names them."""
    return sorted({info.key.removeprefix(layout.MANIFESTS).partition("/")[0] for info in store.list(layout.MANIFESTS)})


def _may_hold(partition: str, wanted: Wanted) -> bool:
    """Whether the *partition* named ``<day>-<device>`` may have frames of the wanted device and time."""
    try:
        day = date.fromisoformat(partition[:10])
    except ValueError:
        return True  # takes that a person named: only their indexes tell
    early = wanted.since is not None and day < (wanted.since - _LONGEST).date()
    late = wanted.until is not None and day > wanted.until.date()
    return not early and not late and wanted.has_device(partition[11:])


@dataclass(frozen=True, slots=True)
class Part:
    """A partition's lines that are wanted by name. ``lines`` counts all that it has."""

    info: ObjectInfo
    lines: int
    entries: Sequence[Entry]


def read_partitions(
    store: ObjectStore,
    found: Iterable[ObjectInfo],
    wanted: Wanted,
    class_fields: Sequence[str],
    rebase: Sequence[Rebase],
    findings: Findings,
) -> Iterator[Part]:
    """The lines of each partition in *found*, as it is now."""

    def fetch(info: ObjectInfo) -> StoredObject | None:
        try:
            return store.get(info.key)
        except ObjectNotFound:
            return None  # its last video was deleted since it was listed

    for info, stored in pipelined(found, fetch, workers=_WORKERS, ahead=_AHEAD):
        if stored is None:
            continue
        lines, entries = 0, []
        for line in lines_in(io.BytesIO(stored.body), findings, store.uri(info.key)):
            lines += 1
            fields = rebased(line.fields, rebase)
            entry = entry_of(fields, line.text if fields is line.fields else text_of(fields), class_fields)
            if wanted.has_stem(entry.video) is not False:
                entries.append(entry)
        yield Part(stored.info, lines, entries)


def reviewed(store: ObjectStore) -> set[str]:
    """The stems of all videos somebody decided about."""
    return {layout.stem_of(info.key) for info in store.list(overrides.OVERRIDES)}


def knowledge(store: ObjectStore, stems: Iterable[str], decided: set[str]) -> Iterator[tuple[str, Known]]:
    """What index and, for those *decided* about, reviewers say of each of *stems*, in their order.

    Raises ObjectConflict when a reviewer's file is damaged.
    """

    def fetch(stem: str) -> Known:
        etags, index = list[str](), None
        try:
            stored = store.get(f"{layout.INDEX}{stem}{layout.RECORD_SUFFIX}")
        except ObjectNotFound:
            pass
        else:
            index = VideoIndex.from_json(stored.body)
            etags.append(f"{stored.info.key} {stored.info.etag}")
        found = overrides.stored(store, stem) if stem in decided else None
        if found is not None:
            etags.append(f"{overrides.key_of(stem)} {hashlib.sha256(found.to_json()).hexdigest()}")
        return Known(index, found, tuple(etags))

    yield from pipelined(stems, fetch, workers=_WORKERS, ahead=_AHEAD)
