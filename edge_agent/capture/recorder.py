"""One camera: ``run()`` for ever, ``run_once()`` one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.backoff import backoff
from edge_agent.capture.lane import Lane
from edge_agent.capture.live import LiveView
from edge_agent.capture.lookers import Lookers
from edge_agent.capture.parameters import ParameterWatch
from edge_agent.capture.reader import End, PacketReader
from edge_agent.capture.report import STATUS, Event, Report
from edge_agent.capture.room import Room
from edge_agent.capture.rotation import Reason
from edge_agent.capture.salvage import salvage
from edge_agent.capture.segments import TagSource
from edge_agent.capture.sources.base import Source
from edge_agent.capture.stamps import Mender
from edge_agent.capture.vitals import Vitals
from edge_agent.clock import Clock
from edge_agent.errors import SourceError, SourceStalled, SpoolError
from edge_agent.segment import SegmentName
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob

CONNECT_SECONDS = 15.0  # a camera may take this long to deliver its first packet, however short a stall may be
BLOCKED_SECONDS = 2.0  # beyond libav's own time-outs, which are as long as a stall; so much later they may take effect
PAUSED = "paused: disk full"
STOOD_STILL = 2.0  # seconds; a machine that did nothing so long did not read either: that is no camera's stall
TICK = 0.4  # seconds; how late a stop or a stall can be noticed; longer than packets are left unread


class Recorder:
    """Records one camera into the spool. Errors of the source or the disk end a connection, never the recorder."""

    def __init__(
        self,
        job: CaptureJob,
        spool: Spool,
        clock: Clock,
        tags: TagSource,
        open_source: Callable[[threading.Event], Source],
        report: Report,
        mine: Callable[[SegmentName], bool] | None = None,
        room: Room | None = None,
        lookers: Lookers | None = None,
    ) -> None:
        self._job = job
        self._spool = spool
        self._clock = clock
        self._tags = tags
        self._open_source = open_source
        self._report = report
        self._mine = mine or self._made_here
        self._room = room or Room()
        self._live = LiveView(lookers or Lookers(clock), job.camera, report)
        self._vitals = Vitals(job.health, self._tell)
        self._reader: PacketReader | None = None
        self._lane: Lane | None = None
        self._state = "connecting"
        self._problem = ""
        self._attempt = 0  # to get the camera back; 0 while it is there
        self._packets = 0
        self._segments = 0
        self._abandoned = 0
        self._reported = -1.0
        self._said: tuple[object, ...] = ()

    def run(self, stop: threading.Event) -> None:
        """Record until *stop* is set or the source has an end.

        Raises only SpoolUnusable, ConfigInvalid, and SourceStalled when a read is blocked for good: the camera may be
        held by it, so that only the end of the process sets it free.
        """
        attempt = 0
        while not stop.is_set():
            packets = self._packets
            try:
                self._wait_for_room(stop)
                if self.run_once(stop) is not Reason.DISK_FULL:
                    return
            except (SourceError, SpoolError) as error:
                if not error.retryable:
                    raise
                attempt = 1 if self._packets > packets else attempt + 1
                wait = backoff(attempt)
                self._state, self._problem, self._attempt = "waiting", str(error), attempt
                self._tell("camera_lost", code=error.code, error=str(error), attempt=attempt, retry_in=round(wait, 1))
                self._pause(stop, wait)
                if self._reader is not None and not stop.is_set() and not self._reader.close(BLOCKED_SECONDS):
                    raise SourceStalled("reading is blocked", fix="its process is started anew") from error

    def run_once(self, stop: threading.Event) -> Reason:
        """One connection: until *stop*, the source's end or a disk that is full; which of them it was.

        Raises what else ends it; the segment is closed.
        """
        self._salvage()
        self._state = "connecting"
        with PacketReader(self._open_source, self._clock, self._job.camera) as reader:
            self._reader = reader
            lane = self._lane = Lane(
                self._job, self._spool, self._clock, self._tags, reader.request_keyframe, self._tell
            )
            reason, mender = Reason.SOURCE_LOST, Mender()
            try:
                reason = self._follow(reader, mender, lane, stop)
            except SpoolError as error:
                reason = Reason.WRITE_FAILED
                lane.abandon(error)
                raise
            finally:
                try:
                    lane.end(reason, mender.flush())
                finally:
                    self._packets += lane.packets
                    self._segments += lane.segments
                    self._abandoned += lane.abandoned
                    self._lane = None
                    self._state = "stopped"
                    self._status(self._clock.monotonic(), now_please=True)
        return reason

    def _follow(self, reader: PacketReader, mender: Mender, lane: Lane, stop: threading.Event) -> Reason:
        """Every packet of *reader* into *lane*, until *stop* or the source's end. Raises SourceError, SpoolError."""
        parameters = ParameterWatch()
        self._vitals.connected(mender.mended, lane.time)
        last = now = self._clock.monotonic()
        patience = max(CONNECT_SECONDS, self._job.stall_seconds)
        while not stop.is_set():
            if self._room.lacking:
                return Reason.DISK_FULL
            before = now
            arrival = reader.next(TICK)
            now = self._clock.monotonic()
            if now - before > STOOD_STILL:
                last += now - before
            self._status(now)
            if isinstance(arrival, End):
                self._tell("source_ended")
                return Reason.SOURCE_ENDED
            if arrival is not None:
                last, patience = now, self._job.stall_seconds
                self._state, self._problem, self._attempt = "recording", "", 0
                arrival = parameters.look(arrival)
                self._vitals.packet(arrival)
                self._live.packet(arrival)
                for mended in mender.feed(arrival):
                    lane.take(mended)
            elif now - last > patience:
                raise SourceStalled(f"no packet for {now - last:.0f} s", fix="check the camera and its network")
        return Reason.STOPPED

    def _made_here(self, name: SegmentName) -> bool:
        made = name.made_by
        return made is not None and made.camera == self._job.camera

    def _salvage(self) -> None:
        """Publish what an earlier crash, or a disk that was full, left of this camera."""
        found = salvage(self._spool, self._job.fields, self._job.device, self._mine, self._alive)
        for item in found:
            fields = {"frames": item.frames, "seconds": round(item.duration, 3)} if item.frames else {}
            extra = {"error": item.reason} if item.reason else {}
            self._tell("segment_salvaged", stem=item.stem, outcome=item.outcome.value, **fields, **extra)

    def _alive(self) -> None:
        self._status(self._clock.monotonic())

    def _wait_for_room(self, stop: threading.Event) -> None:
        """Return when there is room on the disk again, or *stop* is set."""
        if not self._room.lacking:
            return
        self._state, self._problem = PAUSED, self._room.lacking
        self._tell("recording_paused", error=self._room.lacking)
        self._status(self._clock.monotonic(), now_please=True)
        while self._room.lacking and not self._clock.wait(stop, TICK):
            self._problem = self._room.lacking or self._problem
            self._alive()
        self._problem = ""
        if not stop.is_set():
            self._tell("recording_resumed")

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        """Wait, and say meanwhile that the process is alive."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self._clock.wait(stop, min(1.0, left)):
            self._alive()

    def _status(self, now: float, *, now_please: bool = False) -> None:
        lane = self._lane
        segment = lane.segment if lane else None
        choice = lane.choice if lane else None
        said = (choice, segment and segment.name, lane and lane.gate.state)  # a change of these is told at once
        if not now_please and now - self._reported < 1.0 and said == self._said:
            return
        self._reported, self._said = now, said
        self._tell(
            STATUS,
            state=(self._state == "recording" and lane and lane.idle) or self._state,
            **self._vitals.status(now, segment, self._problem),
            attempt=self._attempt,
            gate=lane.gate.state.value if lane else None,
            wanted=str(choice.tag) if choice else None,
            wanted_at=choice.set_at if choice else None,
            tag=str(segment.opened.tag) if segment else None,
            segment=segment.name.stem if segment else None,
            format=str(segment.opened.format) if segment else None,
            seconds=round(segment.duration, 1) if segment else None,
            packets=self._packets + (lane.packets if lane else 0),
            segments=self._segments + (lane.segments if lane else 0),
            abandoned=self._abandoned + (lane.abandoned if lane else 0),
        )

    def _tell(self, name: str, **fields: str | float | None) -> None:
        self._report(Event(name, self._job.camera, dict(fields)))
