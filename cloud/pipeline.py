"""One video becomes frames, a contact sheet, an index and manifest lines, exactly once however often it is asked for.

1. HEAD pins the version; an event about another version ends here.
2. Everything derived from (version, settings) is deterministic, so every put is an idempotent overwrite.
3. The index is written after frames and sheet: one of the same version and settings means all of them are there.
4. A second HEAD proves that the pinned version was what was read. If not, all is done anew for the version now there.
5. The video's lines go into their partition by compare-and-swap; frames no index lists any more are deleted last.

So a crash at any point is mended by the event's redelivery.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from cloud.dataset import layout, manifest
from cloud.dataset.index import DecodeFacts, FrameFacts, ProbeFacts, SegmentFacts, VideoFacts, VideoIndex
from cloud.decode.decoder import Decoder, Probe, Report, Sample
from cloud.decode.jpeg import encode_jpeg
from cloud.events import ObjectRef
from cloud.origin import Origin, origin_of
from cloud.review.sheet import ContactSheet, clock_face
from cloud.settings import Settings
from edge_agent.clock import Clock
from edge_agent.errors import NameInvalid, ObjectNotFound, PreconditionFailed
from edge_agent.segment import format_moment
from edge_agent.store import ObjectInfo, ObjectStore

JPEG = "image/jpeg"
_RESTARTS = 5  # a video replaced more often than this while it is processed is no finished video


class Videos(Protocol):
    """What is needed of the store the video is in; every ObjectStore is one."""

    def uri(self, key: str) -> str: ...

    def key_of(self, uri: str) -> str | None: ...

    def head(self, key: str) -> ObjectInfo: ...

    def checkout(self, key: str) -> AbstractContextManager[Path]: ...


class Outcome(enum.StrEnum):
    """How :func:`process` ended."""

    PROCESSED = "processed"
    UNCHANGED = "unchanged"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a video is: frames decoded and sampled; ``expected`` frames where the container tells."""

    decoded: int
    sampled: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a video. ``appended``: its partition had to be written. ``index`` is None when stale."""

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
    Raises ObjectNotFound when the video is gone, NameInvalid, VideoUnreadable, ObjectConflict (a damaged partition),
    PreconditionFailed (others kept winning), and whatever the stores raise.
    """
    for attempt in range(_RESTARTS):
        pinned = _pin(raw, video.key)
        if attempt == 0 and is_stale(video, pinned):
            return Result(Outcome.STALE, raw.uri(video.key))
        job = _Job(raw, dataset, settings, pinned, origin_of(pinned, settings.fields))
        index = job.finished() if attempt == 0 else None
        outcome = Outcome.UNCHANGED if index else Outcome.PROCESSED
        if index is None:
            index = job.extract(progress)
            if not same_version(_pin(raw, video.key), pinned):
                continue
        appended = job.commit(index, clock)
        return Result(Outcome.PROCESSED if appended else outcome, raw.uri(video.key), index, appended)
    raise PreconditionFailed(
        f"the video was replaced {_RESTARTS} times while it was processed",
        where=raw.uri(video.key),
        fix="process it when it is no longer written to",
    )


def is_stale(video: ObjectRef, current: ObjectInfo) -> bool:
    """Whether the event speaks of another version than the *current* one. Pure."""
    if video.version_id and current.version:
        return video.version_id != current.version
    return video.etag is not None and video.etag != current.etag


def same_version(one: ObjectInfo, other: ObjectInfo) -> bool:
    return (one.etag, one.version) == (other.etag, other.version)


def _pin(raw: Videos, key: str) -> ObjectInfo:
    with _gone(raw.uri(key)):
        return raw.head(key)


@contextmanager
def _gone(uri: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFound as error:
        raise ObjectNotFound(
            "the video is gone: deleted or moved since it was announced",
            where=uri,
            fix="upload it again if it is wanted",
        ) from error


@dataclass(frozen=True, slots=True)
class _Job:
    """The work on one version of one video."""

    raw: Videos
    dataset: ObjectStore
    settings: Settings
    pinned: ObjectInfo
    origin: Origin

    @property
    def uri(self) -> str:
        return self.raw.uri(self.pinned.key)

    def finished(self) -> VideoIndex | None:
        """The index, if this version was processed under these settings and its frames are still there."""
        try:
            former = VideoIndex.from_json(self.dataset.get(layout.index_key(self.origin.name)).body)
        except ObjectNotFound:
            return None
        if former is None:
            return None
        self._refuse_namesake(former.video)
        made_from = (former.video.uri, former.video.etag, former.video.version, former.settings)
        if made_from != (self.uri, self.pinned.etag, self.pinned.version, self.settings.fingerprint):
            return None
        listed = {frame.key for frame in former.frames}
        return former if listed <= self._frames_there() else None

    def extract(self, progress: Callable[[Progress], None] | None) -> VideoIndex:
        """Store frames, contact sheet and index."""
        sheet = ContactSheet(self.settings.sheet)
        frames: list[FrameFacts] = []
        with ExitStack() as stack:
            with _gone(self.uri):
                path = stack.enter_context(self.raw.checkout(self.pinned.key))
            decoder = stack.enter_context(Decoder(path, self.uri))
            for sample in decoder.samples(self.settings.sampling):
                frames.append(self._store(sample))
                sheet.add(sample.index, sample.time, sample.picture)
                if progress is not None:
                    progress(Progress(decoder.decoded, len(frames), decoder.probe.frames))
            probe, report = decoder.probe, decoder.report()
        title = _sheet_facts(probe, report, len(frames))
        preview = layout.preview_key(self.origin.name)
        self.dataset.put(preview, sheet.render(self.origin.name.stem, title), content_type=JPEG)
        index = self._index(probe, report, frames, preview)
        self.dataset.put(layout.index_key(self.origin.name), index.to_json(), content_type="application/json")
        return index

    def commit(self, index: VideoIndex, clock: Clock) -> bool:
        """Make the manifest list exactly the index's frames, then delete frames the index does not know."""
        name = self.origin.name
        lines = [manifest.make_line(self.dataset.uri(frame.key), name) for frame in index.kept]
        appended = manifest.append(self.dataset, index.manifest, name.stem, lines, clock)
        for key in sorted(self._frames_there() - {frame.key for frame in index.frames}):
            self.dataset.delete(key)
        return appended

    def _store(self, sample: Sample) -> FrameFacts:
        key = layout.frame_key(self.origin.name, sample.index)
        self.dataset.put(key, encode_jpeg(sample.picture, self.settings.jpeg_quality), content_type=JPEG)
        start = self.origin.start
        at = format_moment(start + timedelta(seconds=sample.time)) if start else None
        return FrameFacts(index=sample.index, time=sample.time, at=at, key=key, verdict="kept")

    def _index(self, probe: Probe, report: Report, frames: list[FrameFacts], preview: str) -> VideoIndex:
        origin, pinned = self.origin, self.pinned
        return VideoIndex(
            settings=self.settings.fingerprint,
            video=VideoFacts(uri=self.uri, key=pinned.key, etag=pinned.etag, version=pinned.version, size=pinned.size),
            segment=SegmentFacts(
                name=origin.name.stem,
                class_=origin.name.tag.as_dict(),
                take=origin.name.take,
                device=origin.device,
                camera=origin.camera,
                start=format_moment(origin.start) if origin.start else None,
                clock=origin.clock,
                recovered=origin.recovered,
            ),
            probe=ProbeFacts(
                codec=probe.codec, width=probe.width, height=probe.height, fps=probe.fps, duration=probe.duration
            ),
            decode=DecodeFacts(
                frames=report.decoded,
                packets=report.packets,
                packet_errors=report.packet_errors,
                lost=report.lost,
                truncated=report.truncated,
            ),
            preview=preview,
            manifest=layout.partition_key(origin.name),
            frames=tuple(frames),
        )

    def _frames_there(self) -> set[str]:
        """Keys of the segment's frames in the store; other objects beside them are left out."""
        prefix = layout.frames_prefix(self.origin.name)
        return {found.key for found in self.dataset.list(prefix) if layout.is_frame_key(self.origin.name, found.key)}

    def _refuse_namesake(self, former: VideoFacts) -> None:
        """Two videos of one name would overwrite each other's frames. A video that was moved is no second one."""
        if former.uri == self.uri or former.etag == self.pinned.etag:
            return
        key = self.raw.key_of(former.uri)
        if key is not None:
            try:
                self.raw.head(key)
            except ObjectNotFound:
                return
        raise NameInvalid(
            f"another video of this name was processed already: {former.uri}",
            where=self.uri,
            fix=f"rename one of them, or delete {layout.index_key(self.origin.name)} to replace it",
        )


def _sheet_facts(probe: Probe, report: Report, sampled: int) -> str:
    facts = [f"{report.decoded} frames", f"{sampled} sampled", f"{probe.width} x {probe.height} {probe.codec}"]
    facts += [f"{probe.fps:.4g} fps"] if probe.fps else []
    facts += [clock_face(probe.duration)] if probe.duration else []
    facts += [f"{report.lost} lost"] if report.lost else []
    return "  |  ".join([*facts, *(["truncated"] if report.truncated else [])])
