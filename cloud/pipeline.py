"""The data set is made to agree with one video, exactly once however often and by however many that is asked for.

1. What stands at the video's index is read, then HEAD pins the version: what is replaced later is newer than the video.
2. The index is claimed by compare-and-swap, before a frame is touched (``dataset/holding.py``).
3. Everything derived from (version, settings) is deterministic, so every put of a frame is an idempotent overwrite.
4. The claim becomes the index by compare-and-swap, after frames and sheet: an index means that all of them are there.
5. A second HEAD proves that the pinned version was what was read.
6. The video's lines go into their partition by compare-and-swap, if the index is still this one; frames no index lists
   any more are deleted last, and the index is looked at once more.

Whoever loses a step begins again with what is there now; whoever may have overwritten what is newer than it makes that
anew, and if it dies before, its event comes again. What is left is a worker that was given up for dead, whose event
somebody else has ended, and that wakes, overwrites a frame and then dies: ``edge-cloud fsck`` finds that by checksum.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from cloud.dataset import commit, holding, layout, parked
from cloud.dataset.holding import Held
from cloud.dataset.index import Claim, VideoFacts, VideoIndex
from cloud.dataset.manifest import Appended
from cloud.events import ObjectRef
from cloud.extraction import Extraction, Progress
from cloud.origin import Origin, origin_of
from cloud.settings import Settings
from edge_agent.clock import Clock
from edge_agent.errors import NameInvalid, ObjectNotFound, PreconditionFailed, VideoUnreadable
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectInfo, ObjectStore

__all__ = ["Outcome", "Progress", "Result", "Videos", "is_stale", "process", "remove", "same_version"]

_RESTARTS = 5  # a video replaced more often than this while it is processed is no finished video


class Videos(Protocol):
    """What is needed of the store the video is in; every ObjectStore is one."""

    def uri(self, key: str) -> str: ...

    def key_of(self, uri: str) -> str | None: ...

    def head(self, key: str) -> ObjectInfo: ...

    def checkout(self, key: str) -> AbstractContextManager[Path]: ...


class Outcome(enum.StrEnum):
    """How :func:`process` or :func:`remove` ended."""

    PROCESSED = "processed"
    UNCHANGED = "unchanged"
    STALE = "stale"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a video. ``appended``: its partition had to be written. ``index``: None when nothing was made."""

    outcome: Outcome
    video: str
    index: VideoIndex | None = None
    appended: bool = False


def process(
    video: ObjectRef,
    raw: Videos,
    dataset: ObjectStore,
    settings: Settings,
    clock: Clock,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Make everything of *video* in *dataset*, unless it is made already.

    *progress* is called at every sampled frame; what it raises ends the work, which the next call takes up again.
    Raises ObjectNotFound when the video is gone: what was made of it stays, see :func:`remove`. Raises NameInvalid or
    VideoUnreadable when nothing can be made of it: what was made of it before is taken out then, and the video is
    parked (``failed/``). Also ObjectConflict (a damaged partition), PreconditionFailed (others kept winning), and
    whatever the stores raise.
    """
    result = _Work(video, raw, dataset, settings, clock, progress).settle()
    if result.outcome is Outcome.REMOVED:
        raise ObjectNotFound(
            "the video is gone: deleted or moved since it was announced",
            where=result.video,
            fix="upload it again if it is wanted",
        )
    return result


def remove(
    video: ObjectRef,
    raw: Videos,
    dataset: ObjectStore,
    settings: Settings,
    clock: Clock,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Take what was made of the deleted *video* out of *dataset*; for "object removed" events.

    The event is a hint like any other: a video that is there (again) is processed. Raises what :func:`process` raises,
    but for the video being gone.
    """
    ref = replace(video, etag=None, version_id=None)
    return _Work(ref, raw, dataset, settings, clock, progress, deleted=True).settle()


def is_stale(video: ObjectRef, current: ObjectInfo) -> bool:
    """Whether the event speaks of another version than the *current* one. Pure."""
    if video.version_id and current.version:
        return video.version_id != current.version
    return video.etag is not None and video.etag != current.etag


def same_version(one: ObjectInfo, other: ObjectInfo) -> bool:
    return (one.etag, one.version, one.modified) == (other.etag, other.version, other.modified)


@dataclass(slots=True)
class _Work:
    """One call of :func:`process` or, with ``deleted``, :func:`remove`.

    ``dirty``: frames were written or deleted, maybe newer ones: nothing is trusted.
    """

    ref: ObjectRef
    raw: Videos
    dataset: ObjectStore
    settings: Settings
    clock: Clock
    progress: Callable[[Progress], None] | None
    deleted: bool = False
    dirty: bool = False

    @property
    def uri(self) -> str:
        return self.raw.uri(self.ref.key)

    def settle(self) -> Result:
        for _ in range(_RESTARTS):
            result = self._once()
            if result is not None:
                return result
        raise PreconditionFailed(
            f"the video was replaced {_RESTARTS} times while it was processed, or others process it differently",
            where=self.uri,
            fix="process it again when it is no longer written to, with one set of settings",
        )

    def _once(self) -> Result | None:
        """One try; None when somebody else came between."""
        name = self._name()
        held = holding.look(self.dataset, layout.index_key(name)) if name else Held()
        pinned = self._head()
        if pinned is None:
            return self._gone(name, held)
        try:
            origin = origin_of(pinned, self.settings.fields)
            self._refuse_namesake(held, pinned, origin)
        except NameInvalid as error:
            if name is not None and self._is_ours(held):
                self._retract(name, held.etag)
            if not self._parked(pinned, error):
                return None
            raise
        index = None if self.dirty else self._finished(held, pinned, origin)
        stale = not self.dirty and is_stale(self.ref, pinned)
        if stale and held.etag is None and not commit.has_leftovers(self.dataset, origin.name):
            return Result(Outcome.STALE, self.uri)  # the newer version's own event is to come, or came to nothing
        if index is not None and held.etag is not None:
            return self._commit(Outcome.STALE if stale else Outcome.UNCHANGED, pinned, origin, index, held.etag)
        return self._make(held, pinned, origin)

    def _make(self, held: Held, pinned: ObjectInfo, origin: Origin) -> Result | None:
        key = layout.index_key(origin.name)
        video = self._video(pinned)
        etag = holding.claim(self.dataset, key, held, Claim(settings=self.settings.fingerprint, video=video))
        if etag is None:
            return None
        self.dirty = True
        try:
            with self.raw.checkout(pinned.key) as path:
                index = Extraction(self.dataset, self.settings, video, origin).run(path, self.progress)
        except ObjectNotFound:
            return None  # gone between HEAD and now: the next try sees that
        except VideoUnreadable as error:
            if not self._is_still(pinned):
                return None
            self._retract(origin.name, etag)
            if not self._parked(pinned, error):
                return None
            raise
        sealed = holding.seal(self.dataset, key, etag, index)
        if sealed is None or not self._is_still(pinned):
            return None
        return self._commit(Outcome.PROCESSED, pinned, origin, index, sealed)

    def _commit(
        self, outcome: Outcome, pinned: ObjectInfo, origin: Origin, index: VideoIndex, etag: str
    ) -> Result | None:
        appended = commit.commit(self.dataset, origin.name, index, etag, self.settings.lines.extra, self.clock)
        if appended is Appended.SUPERSEDED:
            return None
        if parked.release(self.dataset, self.ref.key, self.uri) and not self._is_still(pinned):
            self.dirty = True
            return None
        written = appended is Appended.WRITTEN
        return Result(Outcome.PROCESSED if written else outcome, self.uri, index, written)

    def _gone(self, name: SegmentName | None, held: Held) -> Result | None:
        # What is finished outlives footage that expires, whatever event comes late. What was only just made does not,
        # and a removal, which is told once, is not done before nothing is left of what somebody seals meanwhile.
        unwanted = (self.deleted or self.dirty or held.index is None) and (held.etag is None or self._is_ours(held))
        if name is not None and unwanted and not self._retract(name, held.etag):
            return None
        parked.release(self.dataset, self.ref.key, self.uri)
        if self._head() is not None:
            self.dirty = True
            return None
        return Result(Outcome.REMOVED, self.uri)

    def _is_ours(self, held: Held) -> bool:
        """Whether the record is about this very video, not a namesake."""
        return held.video is not None and held.video.uri == self.uri

    def _retract(self, name: SegmentName, etag: str | None) -> bool:
        self.dirty = True
        return commit.retract(self.dataset, name, etag, self.clock)

    def _parked(self, pinned: ObjectInfo, error: NameInvalid | VideoUnreadable) -> bool:
        """Park the video; whether it is still this version, so that nobody will have released it before."""
        settings = self.settings.fingerprint
        parked.park(self.dataset, self.ref.key, self.uri, pinned.etag, settings, error, self.clock)
        return self._is_still(pinned)

    def _finished(self, held: Held, pinned: ObjectInfo, origin: Origin) -> VideoIndex | None:
        """The index, if this version was processed under these settings and its frames are still there."""
        index = held.index
        if index is None or index.claim != Claim(settings=self.settings.fingerprint, video=self._video(pinned)):
            return None
        return index if commit.is_complete(self.dataset, origin.name, index) else None

    def _refuse_namesake(self, held: Held, pinned: ObjectInfo, origin: Origin) -> None:
        """Two videos of one name would overwrite each other's frames. A video that was moved is no second one."""
        other = held.video
        if other is None or other.uri == self.uri or other.etag == pinned.etag:
            return
        key = self.raw.key_of(other.uri)
        if key is not None and self._head(key) is None:
            return
        raise NameInvalid(
            f"another video of this name was processed already: {other.uri}",
            where=self.uri,
            fix=f"rename one of them, or delete {layout.index_key(origin.name)} to replace it",
        )

    def _video(self, pinned: ObjectInfo) -> VideoFacts:
        return VideoFacts(uri=self.uri, key=pinned.key, etag=pinned.etag, version=pinned.version, size=pinned.size)

    def _name(self) -> SegmentName | None:
        try:
            return SegmentName.parse(PurePosixPath(self.ref.key).stem, self.settings.fields)
        except NameInvalid:
            return None

    def _head(self, key: str | None = None) -> ObjectInfo | None:
        try:
            return self.raw.head(self.ref.key if key is None else key)
        except ObjectNotFound:
            return None

    def _is_still(self, pinned: ObjectInfo) -> bool:
        now = self._head()
        return now is not None and same_version(now, pinned)
