"""The frames of a data set under review: what the indices tell, and the decisions in ``overrides/``."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from cloud.dataset import layout, overrides
from cloud.dataset.findings import Finding, Findings
from cloud.dataset.index import Origins
from cloud.dataset.lines import frame_of
from cloud.dataset.overrides import Decision, Overrides
from cloud.dataset.pictures import media_type
from cloud.pipelining import pipelined
from cloud.review.catalogue import Decided, Item, Word
from cloud.review.video import FSCK, Index, unusable
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, IntegrityMismatch, ObjectConflict, ObjectNotFound
from edge_agent.segment import format_moment
from edge_agent.store import ObjectStore

THREADS = 8  # reading and writing at once; on S3 nearly all of the time is waiting
_AHEAD = 16  # videos read before they are asked for: bounds the memory, and what is done before the first is shown

Done = TypeVar("Done")


@dataclass(slots=True)
class _Video:
    """What must be remembered of a video that was read: its version, its pictures, what was decided.

    ``heard`` is the ETag that the decisions' file had before they were read; None: there was no file.
    """

    etag: str
    keys: dict[int, str]
    decisions: dict[int, Decided]
    heard: str | None


@dataclass(slots=True)
class _Known:
    videos: dict[str, _Video] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    complained: set[str] = field(default_factory=set)


class FrameCatalogue:
    """The :class:`~cloud.review.catalogue.Catalogue` of the data set in *store*: a group is a video, in key order."""

    def __init__(self, store: ObjectStore, clock: Clock, title: str) -> None:
        self._store = store
        self._clock = clock
        self._title = title
        self._lock = threading.Lock()
        self._known = _Known()

    @property
    def title(self) -> str:
        return self._title

    def findings(self) -> Findings:
        with self._lock:
            return copy.deepcopy(self._known.findings)

    def groups(self) -> Iterator[Sequence[Item]]:
        etags = self._etags()
        keys = (info.key for info in self._store.list(layout.INDEX) if info.key.endswith(layout.RECORD_SUFFIX))
        is_empty = True
        with closing(pipelined(keys, lambda key: self._video(key, etags), workers=THREADS, ahead=_AHEAD)) as read:
            for _, items in read:
                is_empty = False
                if items:
                    yield items
        if is_empty:
            what, fix = "holds no processed video", "is it a data set? edge-cloud extract VIDEO --out makes one"
            self._add(Finding("no_videos", self._title, None, what, fix))

    def check_pictures(self) -> None:
        """Find every picture that an index names and that is not there. Lists all frames: minutes on a large set."""
        there = {info.key for info in self._store.list(layout.FRAMES)}
        with self._lock:
            videos = list(self._known.videos.items())
        for stem, video in videos:
            for index, key in video.keys.items():
                if key not in there:
                    self._missing(f"{stem}_{index:06d}", key)

    def picture(self, item: str) -> tuple[bytes, str]:
        stem, index = self._place(item)
        key = self._known.videos[stem].keys[index]
        try:
            found = self._store.get(key)
        except ObjectNotFound:
            self._missing(item, key)
            raise
        if media_type(found.body) is None:
            self._complain(item, Finding("no_picture", self._store.uri(key), None, "holds no picture", FSCK))
        return found.body, found.info.content_type

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        at = format_moment(self._clock.now())
        wanted: dict[str, dict[int, Decision | None]] = {}
        for item, word in changes.items():
            stem, index = self._place(item)
            decision = None if word is None else Decision(decision=word, by=by, at=at)
            wanted.setdefault(stem, {})[index] = decision

        def write(stem: str) -> dict[str, Decided] | EdgeCaptureError:
            etag = self._known.videos[stem].etag
            try:
                after = overrides.decide(self._store, stem, etag, wanted[stem], lambda: self._stands(stem, etag))
            except EdgeCaptureError as error:
                return error  # the others are written nevertheless
            return _named(stem, self._remember(stem, after))

        standing: dict[str, Decided] = {}
        errors: list[EdgeCaptureError] = []
        for _, done in _at_once(write, wanted):
            if isinstance(done, EdgeCaptureError):
                errors.append(done)
            else:
                standing.update(done)
        if errors:
            raise errors[0]
        return standing

    def news(self) -> Mapping[str, Decided | None]:
        now = self._etags()
        with self._lock:
            changed = {stem: video for stem, video in self._known.videos.items() if video.heard != now.get(stem)}
        # Only what was read counts as heard, and that only when all of it can be told: an error loses nobody's word.
        read = list(_at_once(lambda stem: self._decisions(stem, changed[stem].etag), changed))
        found: dict[str, Decided | None] = {}
        with self._lock:
            for stem, after in read:
                video = changed[stem]
                former, video.decisions, video.heard = video.decisions, after, now.get(stem)
                different = {index for index in {*former, *after} if former.get(index) != after.get(index)}
                found.update({f"{stem}_{index:06d}": after.get(index) for index in different})
        return found

    def _etags(self) -> dict[str, str]:
        """Of the files of all decisions, by video."""
        return {layout.stem_of(info.key): info.etag for info in self._store.list(overrides.OVERRIDES)}

    # -- one video -------------------------------------------------------------------------------------------------

    def _video(self, key: str, decided: Mapping[str, str]) -> list[Item]:
        """The items of the video with that index key; none, and a finding, when it cannot be read."""
        stem = layout.stem_of(key)
        try:
            body = self._store.get(key).body
        except ObjectNotFound:
            return []  # deleted since it was listed
        except (ObjectConflict, IntegrityMismatch) as error:
            self._add(Finding("damaged_index", error.where or key, None, error.what, error.fix, dropped=True))
            return []
        try:
            index = Index.model_validate_json(body)
        except ValidationError:
            self._add(unusable(self._store.uri(key), body))
            return []
        decisions = self._decisions(stem, index.video.etag) if stem in decided else {}
        with self._lock:
            keys = {frame.index: frame.key for frame in index.frames}
            self._known.videos[stem] = _Video(index.video.etag, keys, decisions, decided.get(stem))
        return index.items(stem, decisions)

    def _decisions(self, stem: str, etag: str) -> dict[int, Decided]:
        """What was decided on this version of the video; a file that cannot be read is a finding."""
        where = self._store.uri(overrides.key_of(stem))
        try:
            found = overrides.stored(self._store, stem)
        except (ObjectConflict, IntegrityMismatch) as error:
            self._add(Finding("damaged_decisions", where, None, error.what, error.fix, dropped=True))
            return {}
        if found is None:
            return {}
        if found.video != etag and found.decisions:
            what = f"holds {len(found.decisions)} decisions on another version of the video"
            self._add(Finding("outdated_decisions", where, None, what, "decide anew", dropped=True))
            return {}
        return _decided(found)

    def _stands(self, stem: str, etag: str) -> bool:
        """Whether the video is still of that version."""
        try:
            body = self._store.get(f"{layout.INDEX}{stem}{layout.RECORD_SUFFIX}").body
        except ObjectNotFound:
            return False
        video = Origins.video_in(body)
        return video is not None and video.etag == etag

    def _remember(self, stem: str, after: Overrides) -> dict[int, Decided]:
        decisions = _decided(after)
        with self._lock:
            self._known.videos[stem].decisions = decisions
        return decisions

    def _place(self, item: str) -> tuple[str, int]:
        """Video and ordinal of an item that is there. Raises ObjectNotFound."""
        place = frame_of(f"{item}.jpg")
        with self._lock:
            video = self._known.videos.get(place[0]) if place else None
        if place is None or video is None or place[1] not in video.keys:
            raise ObjectNotFound("no such frame", where=ascii(item)[:120])
        return place

    def _missing(self, item: str, key: str) -> None:
        self._complain(item, Finding("missing_picture", self._store.uri(key), None, "the picture is not there", FSCK))

    def _complain(self, item: str, finding: Finding) -> None:
        """Add *finding*, the first time that something is wrong with *item*."""
        with self._lock:
            if item not in self._known.complained:
                self._known.complained.add(item)
                self._known.findings.add(finding)

    def _add(self, finding: Finding) -> None:
        with self._lock:
            self._known.findings.add(finding)


def _decided(found: Overrides) -> dict[int, Decided]:
    return {index: Decided(word.decision, word.by) for index, word in found.decisions.items()}


def _named(stem: str, decisions: Mapping[int, Decided]) -> dict[str, Decided]:
    return {f"{stem}_{index:06d}": decided for index, decided in decisions.items()}


def _at_once(work: Callable[[str], Done], stems: Collection[str]) -> Iterator[tuple[str, Done]]:
    """*work* for each of *stems*, on threads where there are several."""
    if len(stems) > 1:
        yield from pipelined(stems, work, workers=min(THREADS, len(stems)), ahead=_AHEAD)
    else:
        yield from ((stem, work(stem)) for stem in stems)
