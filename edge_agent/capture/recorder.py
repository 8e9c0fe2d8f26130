"""One camera: ``run()`` for ever, ``run_once()`` one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.backoff import backoff
from edge_agent.capture.reader import Arrival, End, PacketReader
from edge_agent.capture.report import STATUS, Event, Report
from edge_agent.capture.rotation import Incoming, Reason, due_to_close
from edge_agent.capture.salvage import salvage
from edge_agent.capture.segments import OpenSegment, TagSource
from edge_agent.capture.sources.base import Source
from edge_agent.capture.stamps import Mender
from edge_agent.capture.timeline import Timeline
from edge_agent.clock import Clock
from edge_agent.errors import DiskFull, SourceError, SourceStalled, SpoolError
from edge_agent.segment import SegmentName
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob

CONNECT_SECONDS = 15.0  # a camera may take this long to deliver its first packet, however short a stall may be
TICK = 0.2  # seconds; how late a stop or a stall can be noticed


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
    ) -> None:
        self._job = job
        self._spool = spool
        self._clock = clock
        self._tags = tags
        self._open_source = open_source
        self._report_event = report
        self._mine = mine or self._made_here
        self._segment: OpenSegment | None = None
        self._state = "connecting"
        self._problem = ""
        self._packets = 0
        self._segments = 0
        self._reported = -1.0

    def run(self, stop: threading.Event) -> None:
        """Record until *stop* is set or the source has an end. Raises only SpoolUnusable and ConfigInvalid."""
        attempt = 0
        while not stop.is_set():
            packets = self._packets
            try:
                self.run_once(stop)
            except (SourceError, DiskFull, SpoolError) as error:
                if not error.retryable:
                    raise
                attempt = 1 if self._packets > packets else attempt + 1
                wait = backoff(attempt)
                self._state, self._problem = "waiting", str(error)
                self._report("camera_lost", code=error.code, error=str(error), attempt=attempt, retry_in=round(wait, 1))
                self._pause(stop, wait)
            else:
                return

    def run_once(self, stop: threading.Event) -> None:
        """One connection: until *stop*, the source's end (both return) or an error (raised; the segment is closed)."""
        self._salvage()
        self._state = "connecting"
        timeline, mender = Timeline(self._clock), Mender()
        reason = Reason.SOURCE_LOST
        last = self._clock.monotonic()
        patience = max(CONNECT_SECONDS, self._job.stall_seconds)
        with PacketReader(self._open_source, self._clock, self._job.camera) as reader:
            try:
                while not stop.is_set():
                    arrival = reader.next(TICK)
                    now = self._clock.monotonic()
                    self._status(now)
                    if isinstance(arrival, End):
                        for held in mender.flush():
                            self._take(held, timeline, reader)
                        reason = Reason.SOURCE_ENDED
                        self._report("source_ended")
                        return
                    if arrival is not None:
                        last, patience = now, self._job.stall_seconds
                        for mended in mender.feed(arrival):
                            self._take(mended, timeline, reader)
                    elif now - last > patience:
                        raise SourceStalled(f"no packet for {now - last:.0f} s", fix="check the camera and its network")
                reason = Reason.STOPPED
            except SpoolError:
                reason = Reason.WRITE_FAILED
                raise
            finally:
                self._close(reason)
                self._state = "stopped"
                self._status(self._clock.monotonic(), now_please=True)

    def _made_here(self, name: SegmentName) -> bool:
        made = name.made_by
        return made is not None and made.camera == self._job.camera

    def _salvage(self) -> None:
        """Publish what an earlier crash, or a disk that was full, left of this camera."""
        found = salvage(self._spool, self._job.fields, self._job.device, self._mine, self._alive)
        for item in found:
            fields = {"frames": item.frames, "seconds": round(item.duration, 3)} if item.frames else {}
            extra = {"error": item.reason} if item.reason else {}
            self._report("segment_salvaged", stem=item.stem, outcome=item.outcome.value, **fields, **extra)

    def _alive(self) -> None:
        self._status(self._clock.monotonic())

    def _take(self, arrival: Arrival, timeline: Timeline, reader: PacketReader) -> None:
        """Put one packet where it belongs."""
        packet = arrival.packet
        if self._packets == 0 or self._state != "recording":
            self._state, self._problem = "recording", ""
            self._report("camera_connected", format=str(arrival.format))
        self._packets += 1
        choice = self._tags.current()
        time = float((packet.pts or 0) * packet.time_base)
        incoming = Incoming(packet.is_keyframe, choice.tag if choice else None, arrival.format, time)
        wall = timeline.wall(time)
        if self._segment is not None:
            if choice and choice.tag != self._segment.opened.tag:
                reader.request_keyframe()
            if reason := due_to_close(self._segment.opened, incoming, self._job.segment_seconds):
                self._close(reason)
        if self._segment is None:
            if choice is None or not packet.is_keyframe:
                return  # nothing to record under, or nothing a decoder could begin with
            self._segment = OpenSegment.begin(self._spool, self._job, choice, arrival, time, wall)
            self._report("segment_opened", stem=self._segment.name.stem)
        self._segment.write(packet)

    def _close(self, reason: Reason) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        if reason is Reason.WRITE_FAILED:
            segment.abandon()
            self._report("segment_abandoned", stem=segment.name.stem)
            return
        done = segment.finish(self._spool)
        self._segments += 1
        self._report(
            "segment_closed",
            stem=done.name.stem,
            reason=reason.value,
            frames=done.frames,
            seconds=round(done.duration, 3),
            bytes=done.size,
        )

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        """Wait, and say meanwhile that the process is alive."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self._clock.wait(stop, min(1.0, left)):
            self._alive()

    def _status(self, now: float, *, now_please: bool = False) -> None:
        if not now_please and now - self._reported < 1.0:
            return
        self._reported = now
        segment = self._segment
        self._report(
            STATUS,
            state=self._state,
            problem=self._problem,
            tag=str(segment.opened.tag) if segment else None,
            segment=segment.name.stem if segment else None,
            format=str(segment.opened.format) if segment else None,
            seconds=round(segment.duration, 1) if segment else None,
            packets=self._packets,
            segments=self._segments,
        )

    def _report(self, name: str, **fields: str | float | None) -> None:
        self._report_event(Event(name, self._job.camera, dict(fields)))
