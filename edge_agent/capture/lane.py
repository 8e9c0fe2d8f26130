"""What happens to a packet between the camera and the disk.

    thinned ▶ looked at by health ▶ let through by the gate ▶ put in the segment it belongs in

A lane lives as long as one connection. It owns the open segment and decides nothing itself: ``rotation`` says when a
segment ends, ``tags`` under which class to record, ``timeline`` what time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.capture.rotation import Incoming, Reason, due_to_close
from edge_agent.capture.segments import OpenSegment, TagSource
from edge_agent.capture.timeline import Timeline
from edge_agent.clock import Clock
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob
    from edge_agent.capture.reader import Arrival

Tell = Callable[..., None]
"""``tell(event_name, **fields)``."""


class Lane:
    """One connection's packets to segments in *spool*. Raises SpoolError, SourceUnsupported and NameInvalid."""

    def __init__(
        self,
        job: CaptureJob,
        spool: Spool,
        clock: Clock,
        tags: TagSource,
        request_keyframe: Callable[[], None],
        tell: Tell,
    ) -> None:
        self._job = job
        self._spool = spool
        self._tags = tags
        self._timeline = Timeline(clock)
        self._request_keyframe = request_keyframe
        self._tell = tell
        self.segment: OpenSegment | None = None
        self.packets = 0
        self.segments = 0

    def take(self, arrival: Arrival) -> None:
        """Put one packet, whose timestamps are mended, where it belongs."""
        if self.packets == 0:
            self._tell("camera_connected", format=str(arrival.format))
        self.packets += 1
        self._record(arrival)

    def close(self, reason: Reason) -> None:
        """End the open segment, if there is one: publish it, or after a failed write leave it for salvage."""
        segment, self.segment = self.segment, None
        if segment is None:
            return
        if reason is Reason.WRITE_FAILED:
            segment.abandon()
            self._tell("segment_abandoned", stem=segment.name.stem)
            return
        done = segment.finish(self._spool)
        self.segments += 1
        self._tell(
            "segment_closed",
            stem=done.name.stem,
            reason=reason.value,
            frames=done.frames,
            seconds=round(done.duration, 3),
            bytes=done.size,
        )

    def _record(self, arrival: Arrival) -> None:
        """Write the packet to the open segment, which is first closed or opened as is due."""
        packet = arrival.packet
        choice = self._tags.current()
        time = float((packet.pts or 0) * packet.time_base)
        incoming = Incoming(packet.is_keyframe, choice.tag if choice else None, arrival.format, time)
        wall = self._timeline.wall(time)
        if self.segment is not None:
            if choice and choice.tag != self.segment.opened.tag:
                self._request_keyframe()
            if reason := due_to_close(self.segment.opened, incoming, self._job.segment_seconds):
                self.close(reason)
        if self.segment is None:
            if choice is None or not packet.is_keyframe:
                return  # nothing to record under, or nothing a decoder could begin with
            self.segment = OpenSegment.begin(self._spool, self._job, choice, arrival, time, wall)
            self._tell("segment_opened", stem=self.segment.name.stem)
        self.segment.write(packet)
