"""What an earlier crash left in ``recording/`` becomes a segment again, or goes to ``failed/`` with its reason."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.error

from edge_agent.capture.boxes import extent_of
from edge_agent.capture.writer import SegmentWriter
from edge_agent.durable import os_errors
from edge_agent.errors import NameInvalid, SourceUnsupported, SpoolError, VideoUnreadable
from edge_agent.segment import Segment, SegmentName
from edge_agent.spool import Spool, stem_of

if TYPE_CHECKING:
    from av.container import InputContainer

    from edge_agent.capture.sources.base import AudioPacket, VideoPacket

SCRATCH_PREFIX = ".salvage-"


class Outcome(enum.StrEnum):
    """What became of a part file."""

    RECOVERED = "recovered"
    PUBLISHED = "published"  # it had been published already; only the second name was left
    EMPTY = "empty"  # nothing had reached it; the name is given back
    FAILED = "failed"  # in failed/ with its reason


@dataclass(frozen=True, slots=True)
class Salvaged:
    stem: str
    outcome: Outcome
    frames: int = 0
    duration: float = 0.0
    reason: str = ""


def salvage(
    spool: Spool,
    fields: tuple[str, ...],
    device: str,
    mine: Callable[[SegmentName], bool],
    alive: Callable[[], None] = lambda: None,
) -> list[Salvaged]:
    """Publish every part file whose name *mine* accepts. *device* is used where neither name nor note gives one.

    Call it only while nobody records under these names. *alive* is called now and then: an hour of video takes a while.
    Raises SpoolError when the disk is the trouble; then the part files are still there.
    """
    salvaged = []
    with os_errors(spool.recording):
        for scratch in spool.recording.glob(f"{SCRATCH_PREFIX}*"):
            if _is_mine(stem_of(scratch).removeprefix(SCRATCH_PREFIX), fields, mine):
                scratch.unlink()  # the salvage itself was killed
        for part in spool.parts():
            stem = stem_of(part)
            if not stem.startswith(SCRATCH_PREFIX) and _is_mine(stem, fields, mine):
                salvaged.append(_salvage_one(spool, part, SegmentName.parse(stem, fields), device, alive))
    return salvaged


def _is_mine(stem: str, fields: tuple[str, ...], mine: Callable[[SegmentName], bool]) -> bool:
    try:
        return mine(SegmentName.parse(stem, fields))
    except NameInvalid:
        return False


def _salvage_one(spool: Spool, part: Path, name: SegmentName, device: str, alive: Callable[[], None]) -> Salvaged:
    status = part.stat()
    # Killed between link and unlink of the publishing rename, or before a salvage had removed what it had published.
    if status.st_nlink > 1 or spool.published(name.stem):
        spool.discard_empty(part)
        return Salvaged(name.stem, Outcome.PUBLISHED)
    extent = extent_of(part)
    if status.st_size == 0 or (extent.end == status.st_size and not extent.has_media):
        spool.discard_empty(part)
        return Salvaged(name.stem, Outcome.EMPTY)
    scratch = part.with_name(f"{SCRATCH_PREFIX}{part.name}")
    scratch.touch()
    try:
        segment = _remux(part, scratch, _known(spool, part, name, device), alive)
    except SpoolError:
        scratch.unlink()  # it may be what fills the disk
        raise
    except (VideoUnreadable, SourceUnsupported) as error:
        scratch.unlink()
        spool.fail(part, str(error))
        return Salvaged(name.stem, Outcome.FAILED, reason=str(error))
    spool.finish(scratch, segment)
    spool.discard_empty(part)
    return Salvaged(name.stem, Outcome.RECOVERED, segment.frames, segment.duration)


def _known(spool: Spool, part: Path, name: SegmentName, device: str) -> Segment:
    """What was noted of the segment when it was opened, or what its name and file tell."""
    if noted := spool.noted(part):
        return noted
    made = name.made_by
    modified = datetime.fromtimestamp(part.stat().st_mtime, UTC)
    return Segment(
        name,
        device=made.device if made else device,
        camera=made.camera if made else "unknown",
        start=made.start if made else modified,
        duration=0.0,
        frames=0,
        codec="",
        width=0,
        height=0,
    )


def _remux(part: Path, scratch: Path, known: Segment, alive: Callable[[], None]) -> Segment:
    """Every whole packet of *part*, in an ordinary MP4 at *scratch*. Raises VideoUnreadable."""
    try:
        source = av.open(f"subfile,,start,0,end,{extent_of(part).end},,:file:{part}")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"cannot be opened ({error.strerror or error})", where=part.name) from error
    with source:
        if not source.streams.video:
            raise VideoUnreadable("holds no video stream", where=part.name)
        stream = source.streams.video[0]
        context = stream.codec_context
        known = replace(known, codec=context.name, width=context.width, height=context.height)
        sound = source.streams.audio[0] if source.streams.audio else None
        writer = SegmentWriter(scratch, stream, sound)
        try:
            _copy(source, writer, alive)
            if not writer.frames:
                raise VideoUnreadable("holds no whole frame", where=part.name)
            written = writer.close()
        except (VideoUnreadable, SpoolError):
            writer.abort()
            raise
    known = replace(known, duration=written.duration, frames=written.frames, recovered=True)
    return known.with_file(scratch.stat().st_size, written.crc64nvme)


def _copy(source: InputContainer, writer: SegmentWriter, alive: Callable[[], None]) -> None:
    video, sounds = source.streams.video[0], list(source.streams.audio[:1])
    packets = source.demux(video, *sounds)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return  # the torn end of the file
        alive()
        if packet.size and not packet.is_corrupt and packet.dts is not None and packet.pts is not None:
            if packet.stream_index == video.index:
                writer.write(cast("VideoPacket", packet))
            else:
                writer.write_sound(cast("AudioPacket", packet), float(packet.pts * packet.time_base))
