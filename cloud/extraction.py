"""One version of one video: probe, decode, judge, store. What comes out is the index; nothing is committed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.dataset import layout
from cloud.dataset.index import DecodeFacts, FrameFacts, ProbeFacts, SegmentFacts, VideoFacts, VideoIndex
from cloud.decode import libraries
from cloud.decode.decoder import Decoder, Report
from cloud.decode.encode import FORMATS, file_of
from cloud.decode.reading import Probe
from cloud.judge.judges import Judges
from cloud.judge.policy import Scores, Verdict, verdicts
from cloud.origin import Origin
from cloud.pipelining import pipelined
from cloud.review.sheet import ContactSheet, clock_face
from cloud.settings import Settings
from edge_agent.segment import format_moment
from edge_agent.store import ObjectInfo, ObjectStore

if TYPE_CHECKING:
    from cloud.decode.sample import Sample

# Encoding keeps two cores busy, a put mostly waits; what is under way holds a picture each (6 MB at 1080p).
WORKERS, AHEAD = 4, 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a video is: frames passed and sampled; ``expected`` frames where the container tells."""

    decoded: int
    sampled: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The making of *video*, which is of *origin*, into *dataset* under *settings*."""

    dataset: ObjectStore
    settings: Settings
    video: VideoFacts
    origin: Origin

    def run(self, path: Path, progress: Callable[[Progress], None] | None = None) -> VideoIndex:
        """Store every sampled frame of the file *path*, and the contact sheet; the index of it all.

        Frames are encoded and put by a few threads while the next ones are decoded and judged; rejected ones are stored
        too, so that they can be restored. Raises VideoUnreadable and whatever the store or *progress* raise.
        """
        libraries.load()
        judges, sheet = Judges(self.settings.judges), ContactSheet(self.settings.sheet)
        stored: list[_Stored] = []
        with Decoder(path, self.video.uri) as decoder:
            samples = decoder.samples(self.settings.sampling, self.settings.picture)
            frames = self._judged(samples, judges, sheet)
            with closing(pipelined(frames, self._store, workers=WORKERS, ahead=AHEAD)) as done:
                for sample, info in done:
                    stored.append(_Stored(sample.index, sample.time, info))
                    if progress is not None:
                        progress(Progress(decoder.passed, len(stored), decoder.probe.frames))
            probe, report = decoder.probe, decoder.report()
        scores = judges.finish()
        ruled = verdicts(scores, self.settings.judges)
        rejected = {row.index: rule.reasons for row, rule in zip(stored, ruled, strict=True) if _is_rejected(rule)}
        drawn = sheet.render(self.origin.name.stem, _sheet_facts(probe, report, len(stored), len(rejected)), rejected)
        preview = self.dataset.put(layout.preview_key(self.origin.name), drawn, content_type="image/jpeg")
        return self._index(probe, report, self._frames(stored, scores, ruled, judges.looks()), preview)

    def _judged(self, samples: Iterable[Sample], judges: Judges, sheet: ContactSheet) -> Iterator[Sample]:
        for sample in samples:
            judges.look(sample)
            shown = judges.redacted(sample)
            sheet.add(shown)
            yield shown

    def _store(self, sample: Sample) -> ObjectInfo:
        body = file_of(sample, self.settings.picture, self.settings.jpeg_quality)
        announced = FORMATS[self.settings.picture.format].content_type
        return self.dataset.put(self._key(sample.index), body, content_type=announced)

    def _key(self, index: int) -> str:
        return layout.frame_key(self.origin.name, index, FORMATS[self.settings.picture.format].suffix)

    def _frames(
        self, stored: list[_Stored], scores: list[Scores], ruled: list[Verdict], looks: list[str | None]
    ) -> tuple[FrameFacts, ...]:
        start = self.origin.start
        return tuple(
            FrameFacts(
                index=row.index,
                time=row.time,
                at=format_moment(start + timedelta(seconds=row.time)) if start else None,
                key=row.info.key,
                size=row.info.size,
                checksum=checksum_of(row.info),
                verdict=rule.verdict,
                reasons=rule.reasons,
                scores=dict(score),
                look=look,
            )
            for row, score, rule, look in zip(stored, scores, ruled, looks, strict=True)
        )

    def _index(self, probe: Probe, report: Report, frames: tuple[FrameFacts, ...], preview: ObjectInfo) -> VideoIndex:
        origin = self.origin
        return VideoIndex(
            settings=self.settings.fingerprint,
            video=self.video,
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
                mode=str(report.mode),
                frames=report.frames,
                decoded=report.decoded,
                packets=report.packets,
                packet_errors=report.packet_errors,
                mended=report.mended,
                lost=report.lost,
                truncated=report.truncated,
                why=report.why,
            ),
            preview=preview.key,
            preview_size=preview.size,
            preview_checksum=checksum_of(preview),
            manifest=layout.partition_key(origin.name),
            frames=frames,
        )


@dataclass(frozen=True, slots=True)
class _Stored:
    """A frame that is in the store."""

    index: int
    time: float
    info: ObjectInfo


def checksum_of(info: ObjectInfo) -> str:
    """The checksum a store keeps of an object, as indexes spell it: ``crc64nvme:<base64>``; empty if none."""
    return f"{info.checksum.algorithm.lower()}:{info.checksum.value}" if info.checksum else ""


def _is_rejected(verdict: Verdict) -> bool:
    return verdict.verdict == "rejected"


def _sheet_facts(probe: Probe, report: Report, sampled: int, rejected: int) -> str:
    facts = [f"{report.frames} frames", f"{sampled} sampled"] + ([f"{rejected} rejected"] if rejected else [])
    facts += [f"{probe.width} x {probe.height} {probe.codec}"]
    facts += [f"{probe.fps:.4g} fps"] if probe.fps else []
    facts += [clock_face(probe.duration)] if probe.duration else []
    facts += [f"{report.lost} lost"] if report.lost else []
    return "  |  ".join([*facts, *(["truncated"] if report.truncated else [])])
