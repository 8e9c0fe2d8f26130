"""What an upload may do now: nothing, so many bytes a second, or what it likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edge_agent.bandwidth import PAUSED, Bandwidth
from edge_agent.clock import Clock
from edge_agent.errors import SpoolError

_WINDOWS = 20  # that an order covers are passed over: a few days of them


@dataclass(frozen=True, slots=True)
class UploadOrder:
    """What an operator last said of uploads: go on or pause; who, when (ISO 8601), and when that ends by itself.

    ``after``: the order that holds again then; None: the settings do.
    """

    on: bool
    set_by: str
    set_at: str
    until: datetime | None = None
    after: UploadOrder | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings: ``on_demand`` uploads nothing until somebody says so."""

    bandwidth: Bandwidth = Bandwidth()
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """``paused``: why nothing may be uploaded, for a person; ``rate``: bytes a second, None for no limit."""

    paused: str | None = None
    rate: float | None = None


def allowance(rules: Rules, order: UploadOrder | None, now: datetime) -> Allowance:
    """What is allowed at *now* (aware). Pure.

    An order holds until its end; then the one after it does, or the settings. One to go on, with an end, goes before a
    window that pauses.
    """
    order = in_force(order, now)
    if order is not None and not order.on:
        return Allowance(f"paused by {order.set_by} since {order.set_at}{until_end(order.until)}")
    if order is None and rules.on_demand:
        return Allowance("on demand: waits for 'edge-agent resume-upload'")
    rate = rules.bandwidth.at(now)
    if rate != PAUSED:
        return Allowance(None, rate)
    if order is None or order.until is None:
        return Allowance("paused by the settings' bandwidth or timetable")
    usual = rules.bandwidth.usual
    return Allowance(None, usual if usual != PAUSED else None)


def next_change(rules: Rules, order: UploadOrder | None, now: datetime) -> datetime | None:
    """When something else is allowed than at *now* unless somebody says so earlier, or None. Pure; takes a while."""
    allowed, moment = allowance(rules, order, now), now
    for _ in range(_WINDOWS):
        order = in_force(order, moment)
        ends = order.until if order is not None else None
        ruled = order.on if order is not None else not rules.on_demand  # else no window changes anything
        later = min(filter(None, (rules.bandwidth.next_change(moment) if ruled else None, ends)), default=None)
        if later is None or allowance(rules, order, later) != allowed:
            return later
        moment = later
    return None


def in_force(order: UploadOrder | None, now: datetime) -> UploadOrder | None:
    """*order*, or, after its end, what follows it. Pure."""
    while order is not None and order.until is not None and now >= order.until:
        order = order.after
    return order


def until_end(until: datetime | None) -> str:
    """`` until …`` in the box's own time, or nothing. Pure."""
    return f" until {until.astimezone():%Y-%m-%d %H:%M:%S}" if until else ""


class Limits:
    """What is allowed now, by *rules* and by the *order* somebody gave. Safe to use from several threads.

    :meth:`paused` and :meth:`rate` cost nothing: they tell what the last :meth:`look` found, which one thread does a
    few times a second. *order* may raise SpoolError: then nothing is uploaded, since nobody knows what was ordered.
    """

    def __init__(self, rules: Rules, order: Callable[[], UploadOrder | None], clock: Clock) -> None:
        self._rules = rules
        self._order = order
        self._clock = clock
        self._listeners: list[Callable[[], object]] = []
        self._allowed = self._now()

    @classmethod
    def none(cls, clock: Clock) -> Limits:
        """Nothing is limited, ever."""
        return cls(Rules(), lambda: None, clock)

    def paused(self) -> str | None:
        """Why nothing may be uploaded now, for a person; None when something may."""
        return self._allowed.paused

    def rate(self) -> float | None:
        """Bytes a second that may be sent now, more than zero; None: no limit."""
        return self._allowed.rate

    def next_change(self) -> datetime | None:
        """When something else will be allowed by itself (UTC), or None. Takes some 20 ms for each window."""
        try:
            return next_change(self._rules, self._order(), self._clock.now())
        except SpoolError:  # the reason stands in paused(); it ends when somebody mends the file
            return None

    def listen(self, changed: Callable[[], object]) -> None:
        """Call *changed* whenever something else is allowed, on the thread that noticed."""
        self._listeners.append(changed)

    def look(self) -> None:
        """Notice what has changed: one stat, unless somebody ordered something."""
        before, self._allowed = self._allowed, self._now()
        if before != self._allowed:
            for changed in self._listeners:
                changed()

    def _now(self) -> Allowance:
        try:
            return allowance(self._rules, self._order(), self._clock.now())
        except SpoolError as error:
            return Allowance(f"nobody knows whether uploads were paused: {error}")
