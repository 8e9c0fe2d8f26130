"""A segment while it is being recorded: from the reserved name to the file in ``ready/``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge_agent.capture.rotation import Opened
from edge_agent.capture.timekeeper import ClockState
from edge_agent.capture.timeline import Moment
from edge_agent.capture.writer import SegmentWriter
from edge_agent.durable import os_errors
from edge_agent.errors import NameInvalid, SourceUnsupported, SpoolError
from edge_agent.segment import ClassTag, Segment, SegmentName, utc_milliseconds
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob
    from edge_agent.capture.reader import Arrival
    from edge_agent.capture.sources.base import AudioPacket, VideoPacket


class Choice(Protocol):
    """A class, who set it and when."""

    @property
    def tag(self) -> ClassTag: ...
    @property
    def set_by(self) -> str: ...
    @property
    def set_at(self) -> str: ...


class TagSource(Protocol):
    """Says under which class to record now; asked for every packet, so cheap."""

    def current(self) -> Choice | None:
        """The class in force, or None: record nothing."""

    def recording(self) -> bool | None:
        """Whether an operator started (True) or stopped (False) the camera; None when nobody said."""


@dataclass(slots=True)
class OpenSegment:
    """A segment with its part file open. ``opened`` is what rotation decides from."""

    name: SegmentName
    opened: Opened
    _part: Path
    _known: Segment
    _writer: SegmentWriter
    retimed: int = 0  # packets with another timestamp than the camera gave

    @classmethod
    def begin(
        cls,
        spool: Spool,
        job: CaptureJob,
        choice: Choice,
        arrival: Arrival,
        time: float,
        moment: Moment,
        state: ClockState,
    ) -> OpenSegment:
        """Reserve the name, note what is known, open the file. Raises SpoolError or SourceUnsupported."""
        tag, stream = choice.tag, arrival.format
        if job.take:
            name = SegmentName(tag, job.take)
            part = _reserved(spool, name)
        else:
            name, part = spool.reserve(tag, job.device, job.camera, moment.wall)
        made = name.made_by
        known = Segment(
            name,
            device=job.device,
            camera=job.camera,
            start=made.start if made else utc_milliseconds(moment.wall),
            duration=0.0,
            frames=0,
            codec=stream.codec,
            width=stream.width,
            height=stream.height,
            clock=state.clock,
            boot=state.boot,
            monotonic=state.monotonic,
            class_set_by=choice.set_by,
            class_set_at=choice.set_at,
        )
        spool.note(known)
        try:
            writer = SegmentWriter(part, arrival.template, arrival.heard.template if arrival.heard else None)
        except SourceUnsupported:
            spool.discard_empty(part)
            raise
        return cls(name, Opened(tag, stream, time), part, known, writer)

    @property
    def syncs(self) -> int:
        """How often something of it was made durable."""
        return self._writer.syncs

    @property
    def duration(self) -> float:
        """Seconds recorded so far."""
        return self._writer.duration

    def write(self, packet: VideoPacket) -> None:
        self._writer.write(packet)

    def write_sound(self, packet: AudioPacket, time: float) -> None:
        self._writer.write_sound(packet, time)

    def finish(self, spool: Spool) -> Segment:
        """Close the file and publish it in ``ready/``. Raises SpoolError; then the part file is left for salvage."""
        try:
            written = self._writer.close()
        except SpoolError:
            self._writer.abort()
            raise
        known = replace(self._known, duration=round(written.duration, 6), frames=written.frames, retimed=self.retimed)
        with os_errors(self._part):
            segment = known.with_file(self._part.stat().st_size, written.crc64nvme)
        spool.finish(self._part, segment)
        return segment

    def abandon(self) -> None:
        """Leave the part file as it is, for salvage."""
        self._writer.abort()


def _reserved(spool: Spool, name: SegmentName) -> Path:
    """The part file of exactly *name*. Raises NameInvalid when it is taken, as after a take whose format changed."""
    try:
        return spool.reserve_name(name)
    except FileExistsError as error:
        raise NameInvalid("this name is taken", where=name.stem, fix="choose another take") from error
