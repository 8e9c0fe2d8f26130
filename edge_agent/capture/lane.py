"""What happens to a packet between the camera and the disk.

    thinned ▶ looked at by health ▶ let through by the gate ▶ put in the segment it belongs in

A lane lives as long as one connection. It owns the open segment and decides nothing itself: ``rotation`` says when a
segment ends, ``tags`` under which class to record, ``timeline`` what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.capture.gate import Gate, GateState
from edge_agent.capture.rotation import Incoming, Reason, due_to_close
from edge_agent.capture.segments import Choice, OpenSegment, TagSource
from edge_agent.capture.soundtrack import Soundtrack
from edge_agent.capture.thinner import Thinner
from edge_agent.capture.timekeeper import Timekeeper, media_time
from edge_agent.clock import Clock
from edge_agent.errors import SpoolError
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob
    from edge_agent.capture.reader import Arrival
    from edge_agent.capture.sources.base import AudioPacket
    from edge_agent.capture.timeline import Moment

Tell = Callable[..., None]
"""``tell(event_name, **fields)``."""


class Held(NamedTuple):
    """A packet and what was true when it came: the class in force, its media time in seconds, when it was taken.

    ``sounds`` are the audio packets that go before it, each with its media time.
    """

    arrival: Arrival
    choice: Choice | None
    time: float
    moment: Moment
    sounds: tuple[tuple[float, AudioPacket], ...] = ()

    @property
    def is_keyframe(self) -> bool:
        return self.arrival.packet.is_keyframe

    @property
    def wall(self) -> datetime:
        return self.moment.wall

    @property
    def size(self) -> int:
        return self.arrival.packet.size + sum(sound.size for _, sound in self.sounds)


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
        self.time = Timekeeper(clock, tell)
        self._thinner = Thinner(job.keep_every)
        self._sound = Soundtrack()
        self._stepped = False  # since the open segment began
        self._asked = False  # for a keyframe that has not come yet
        self.gate: Gate[Held] = Gate(job.gate)
        self.choice: Choice | None = None
        self._request_keyframe = request_keyframe
        self._tell = tell
        self.segment: OpenSegment | None = None
        self.packets = 0
        self.segments = 0
        self.abandoned = 0

    def take(self, arrival: Arrival) -> None:
        """Put one packet, whose timestamps are mended, where it belongs."""
        if self.packets == 0:
            sound = {"audio": arrival.heard.template.codec_context.name} if arrival.heard else {}
            self._tell("camera_connected", format=str(arrival.format), **sound)
        self.packets += 1
        self._sound.hear(arrival)
        for kept in self._thinner.feed(arrival):
            for settled in self.time.arrived(kept):
                self._pass(settled)

    def end(self, reason: Reason, mended: Iterable[Arrival] = ()) -> None:
        """The connection ends: record what was held back, here and on the way here (*mended*), and close.

        Raises SpoolError; then the open segment is abandoned.
        """
        if reason is not Reason.WRITE_FAILED:
            try:
                for arrival in mended:
                    self.take(arrival)
                for settled in self.time.flush():
                    self._pass(settled)
            except SpoolError as error:
                self.abandon(error)
                raise
        self.close(reason)

    def close(self, reason: Reason) -> None:
        """End the open segment, if there is one, and publish it. Raises SpoolError; then it is abandoned."""
        self._stepped = False
        if self.segment is None:
            return
        try:
            done = self.segment.finish(self._spool)
        except SpoolError as error:
            self.abandon(error)
            raise
        self.segment = None
        self.segments += 1
        self._tell(
            "segment_closed",
            stem=done.name.stem,
            reason=reason.value,
            frames=done.frames,
            seconds=round(done.duration, 3),
            bytes=done.size,
            retimed=done.retimed,
        )

    def abandon(self, error: SpoolError) -> None:
        """Leave the open segment, if there is one, to salvage: after *error* nothing more may be written to it.

        Trying again would prove nothing: once fsync has failed, Linux may have dropped what it could not write.
        """
        segment, self.segment = self.segment, None
        if segment is not None:
            segment.abandon()
            self.abandoned += 1
            self._tell("segment_abandoned", stem=segment.name.stem, code=error.code, error=str(error))

    @property
    def idle(self) -> str:
        """Why nothing is recorded while packets come, as the status says it; empty while a segment is open."""
        if self.segment is not None:
            return ""
        if self.gate.state is not GateState.OPEN:
            return "gate closed"
        return "no class set" if self.choice is None else "waiting for a keyframe"

    def _pass(self, arrival: Arrival) -> None:
        """Through the gate: nothing, the packet, or with it those from before the motion, is recorded."""
        choice = self.choice = self._tags.current()
        time = media_time(arrival)
        held = Held(arrival, choice, time, self.time.moment(arrival), tuple(self._sound.before(time)))
        before = self.gate.state
        passed = self.gate.admit(held, arrival, self._tags.recording())
        if self.gate.state is not before:
            self._tell("gate_changed", gate=self.gate.state.value)
        if not passed:
            self.close(Reason.GATE_CLOSED)
        for item in passed:
            self._record(item)

    def _record(self, held: Held) -> None:
        """Write the packet to the open segment, which is first closed or opened as is due."""
        arrival, choice, time, moment = held.arrival, held.choice, held.time, held.moment
        packet = arrival.packet
        wanted = choice.tag if choice else None
        if self.segment is not None:
            self._stepped = self._stepped or bool(moment.stepped)
            for at, sound in held.sounds:
                self.segment.write_sound(sound, at)
        self._want_keyframe(held)
        incoming = Incoming(packet.is_keyframe, wanted, arrival.format, time, self._stepped)
        if self.segment and (reason := due_to_close(self.segment.opened, incoming, self._job.segment_seconds)):
            self.close(reason)
        if self.segment is None:
            if choice is None or not packet.is_keyframe:
                return  # nothing to record under, or nothing a decoder could begin with
            state = self.time.state(moment)
            self.segment = OpenSegment.begin(self._spool, self._job, choice, arrival, time, moment, state)
            self._tell("segment_opened", stem=self.segment.name.stem)
        self.segment.retimed += arrival.retimed
        self.segment.write(packet)

    def _want_keyframe(self, held: Held) -> None:
        """Ask for a keyframe, once, when only one can end what is recorded now, or begin what is to be recorded."""
        if held.is_keyframe:
            self._asked = False
            return
        wanted = held.choice.tag if held.choice else None
        due = wanted is not None if self.segment is None else self._stepped or wanted != self.segment.opened.tag
        if due and not self._asked:
            self._asked = True
            self._request_keyframe()
