"""What of the camera's view is kept: continuous, on motion with pre-roll, on demand; each within a weekly schedule.

``step`` decides, purely, from what is known when a packet comes. ``PreRoll`` holds the packets from before the motion,
encoded as they came. ``Gate`` puts both together for one connection.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from edge_agent.timetable import Timetable

if TYPE_CHECKING:
    from edge_agent.camera import GateSettings
    from edge_agent.capture.motion import MotionMeter
    from edge_agent.capture.reader import Arrival

SCHEDULE_SECONDS = 0.5  # how late a window of the schedule may open or close; a look costs 2 us


class GateState(enum.StrEnum):
    """What the gate does, as the status says it."""

    OPEN = "open"
    WAITING = "waiting for motion"
    OUTSIDE = "outside schedule"
    OFF = "off"


class Moment(NamedTuple):
    """What is known when a packet comes: its media time in seconds, and what else the gate decides from.

    ``wanted`` is what an operator said (None: nothing), ``scheduled`` whether the schedule allows recording now,
    ``score`` the share of the picture that moved (None: not looked at).
    """

    time: float
    is_keyframe: bool
    wanted: bool | None = None
    scheduled: bool = True
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the gate stands; ``opened`` and ``moved`` are media times: when it opened, when something moved last."""

    state: GateState
    opened: float = 0.0
    moved: float = 0.0


def start(settings: GateSettings) -> Progress:
    """Before the first packet."""
    states = {"continuous": GateState.OPEN, "motion": GateState.WAITING, "on_demand": GateState.OFF}
    return Progress(states[settings.mode])


def step(settings: GateSettings, threshold: float, progress: Progress, moment: Moment) -> Progress:
    """Where the gate stands for the packet that comes at *moment*: recorded if it is OPEN. Pure.

    An operator's stop and the end of a window close it at once. What motion opened closes before a keyframe, when it
    has been open for ``minimum_seconds`` and nothing has moved for ``cool_down_seconds``.
    """
    if moment.wanted is False or (moment.wanted is None and settings.mode == "on_demand"):
        return Progress(GateState.OFF)
    if not moment.scheduled:
        return Progress(GateState.OUTSIDE)
    return _by_motion(settings, threshold, progress, moment) if settings.mode == "motion" else Progress(GateState.OPEN)


def _by_motion(settings: GateSettings, threshold: float, progress: Progress, moment: Moment) -> Progress:
    moves = moment.score is not None and moment.score >= threshold
    if progress.state is not GateState.OPEN:
        return Progress(GateState.OPEN, moment.time, moment.time) if moves else Progress(GateState.WAITING)
    if moves:
        return replace(progress, moved=moment.time)
    long_enough = moment.time - progress.opened >= settings.minimum_seconds
    if moment.is_keyframe and long_enough and moment.time - progress.moved >= settings.cool_down_seconds:
        return Progress(GateState.WAITING)
    return progress


class Holdable(Protocol):
    """What a pre-roll needs to know of an item; ``time`` in seconds, ``size`` in bytes."""

    @property
    def time(self) -> float: ...
    @property
    def size(self) -> int: ...
    @property
    def is_keyframe(self) -> bool: ...
    @property
    def wall(self) -> datetime:
        """When the picture was taken."""


Item = TypeVar("Item", bound=Holdable)


@dataclass(slots=True)
class _Gop(Generic[Item]):
    began: float
    items: list[Item] = field(default_factory=list)
    size: int = 0


class PreRoll(Generic[Item]):
    """The last packets, in whole GOPs: at least *seconds* of them, never more than *limit* bytes.

    What it holds begins with a keyframe and has no gap. Where a single GOP is larger than *limit* nothing is held.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._gops: deque[_Gop[Item]] = deque()
        self.size = 0

    def push(self, item: Item) -> None:
        """Hold *item*, which follows the last one, and let go of what is too old or too much."""
        if item.is_keyframe:
            self._gops.append(_Gop(item.time))
        elif not self._gops:
            return
        gop = self._gops[-1]
        gop.items.append(item)
        gop.size += item.size
        self.size += item.size
        while len(self._gops) > 1 and self._gops[1].began <= item.time - self._seconds:
            self._drop()
        while self.size > self._limit:
            self._drop()

    def drain(self) -> list[Item]:
        """Everything held, oldest first; nothing is held any more."""
        items = [item for gop in self._gops for item in gop.items]
        self._gops.clear()
        self.size = 0
        return items

    def _drop(self) -> None:
        self.size -= self._gops.popleft().size


class Gate(Generic[Item]):
    """Lets through what is to be recorded of one connection."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._timetable = Timetable.parse(settings.schedule)
        self._pre_roll: PreRoll[Item] | None = None
        self._meter: MotionMeter | None = None
        self._threshold = 1.0
        if settings.mode == "motion":
            from edge_agent.capture.motion import MotionMeter, threshold

            self._meter = MotionMeter(settings.ignore)
            self._threshold = threshold(settings.sensitivity)
            self._pre_roll = PreRoll(settings.pre_roll_seconds, settings.pre_roll_bytes)
        self._progress = start(settings)
        self._scheduled = True
        self._looked = float("-inf")
        self.score: float | None = None

    @property
    def state(self) -> GateState:
        return self._progress.state

    def admit(self, item: Item, arrival: Arrival, wanted: bool | None) -> Sequence[Item]:
        """What to record now that *item*, made from *arrival*, has come: nothing, it alone, or the pre-roll up to it.

        *wanted* is what an operator said. What came while the gate was off or outside its schedule never comes back.
        """
        score = None
        if self._meter is not None:
            score = self._meter.feed(arrival.packet, arrival.format, item.time)
            self.score = self.score if score is None else score
        moment = Moment(item.time, item.is_keyframe, wanted, self._is_scheduled(item), score)
        before = self._progress.state
        self._progress = step(self._settings, self._threshold, self._progress, moment)
        return self._let(item, before)

    def _let(self, item: Item, before: GateState) -> Sequence[Item]:
        state = self._progress.state
        if self._pre_roll is None:
            return [item] if state is GateState.OPEN else []
        if state is GateState.WAITING:
            self._pre_roll.push(item)
            return []
        if state is not GateState.OPEN:
            self._pre_roll.drain()
            return []
        if before is GateState.OPEN:
            return [item]
        self._pre_roll.push(item)
        return self._pre_roll.drain() or [item]

    def _is_scheduled(self, item: Item) -> bool:
        if not 0 <= item.time - self._looked < SCHEDULE_SECONDS:
            self._looked = item.time
            self._scheduled = self._timetable.is_open(item.wall)
        return self._scheduled
