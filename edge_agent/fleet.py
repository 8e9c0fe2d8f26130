"""All children of one agent: each on a thread that watches it; started, replaced and ended by key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.backoff import LONGEST_SECONDS
from edge_agent.capture.report import STATUS, Event
from edge_agent.clock import Clock
from edge_agent.supervisor import START_SECONDS, STOP_SECONDS, Orders, Worker, supervise

RESTART_SECONDS = LONGEST_SECONDS + START_SECONDS + STOP_SECONDS
"""No child that is watched as it should be is silent for longer: it waits, may be slow to start, and is killed."""
GRACE_SECONDS = 10.0  # for a machine that is busy with other things


@dataclass(slots=True)
class Hearing:
    """When one capture process must have been heard of next, in monotonic seconds, and whether its status is known.

    The thread that watches it hears of it, or restarts it in time: that it is late means that this thread is stuck.
    """

    silence: float
    due: float
    known: bool = False

    def hear(self, event: Event, now: float) -> None:
        """It, or for it the thread that watches it, has just said *event*."""
        if event.name == STATUS:
            self.known = True
        restarts = event.fields.get("state") == "restarting"
        self.due = now + GRACE_SECONDS + (RESTART_SECONDS if restarts else self.silence + STOP_SECONDS)


@dataclass(frozen=True, slots=True)
class _Child:
    worker: Worker
    orders: Orders
    thread: threading.Thread
    ended: threading.Event  # by itself
    hearing: Hearing | None  # of a child that must not be silent


class Fleet:
    """The running children. Used by one thread, but for :meth:`order` and :meth:`say`, which any may call.

    ``on_end`` is called, on a child's thread, when the child has ended for good, unasked; then :meth:`reap` it.
    """

    def __init__(self, clock: Clock, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> None:
        self._clock = clock
        self._on_event = on_event
        self._on_end = on_end
        self._lock = threading.Lock()
        self._standing = ""
        self._children: dict[str, _Child] = {}

    def __len__(self) -> int:
        """How many children there is a reason to go on for: the page alone is none."""
        return sum(child.worker.kind != "web" for child in self._children.values())

    def start(self, worker: Worker) -> None:
        """Keep *worker* alive from now on."""
        with self._lock:
            orders = Orders(self._standing if worker.kind == "capture" else "")
            ended = threading.Event()
            due = self._clock.monotonic() + RESTART_SECONDS + GRACE_SECONDS
            hearing = None if worker.silence is None else Hearing(worker.silence, due)
            thread = threading.Thread(
                target=self._watch, args=(worker, orders, ended, hearing), name=f"watch-{worker.name}"
            )
            self._children[worker.key] = _Child(worker, orders, thread, ended, hearing)
        thread.start()

    def late(self) -> list[str]:
        """The children of whom nothing was heard for longer than can be while somebody watches them."""
        now = self._clock.monotonic()
        return [
            child.worker.name
            for child in self._children.values()
            if child.hearing is not None and now > child.hearing.due and not child.ended.is_set()
        ]

    def unknown(self) -> list[str]:
        """The children whose first status is still to come."""
        heard = [child for child in self._children.values() if child.hearing is not None]
        return [child.worker.name for child in heard if not (child.hearing and child.hearing.known)]

    def order(self, standing: str) -> None:
        """Give every capture process, and every one that is started from now on, this order."""
        with self._lock:
            self._standing = standing
            for child in self._children.values():
                if child.worker.kind == "capture":
                    child.orders.give(standing)

    def say(self, key: str, line: str) -> None:
        """Tell the child with this *key*, if there is one, something that holds for now."""
        with self._lock:
            if (child := self._children.get(key)) is not None:
                child.orders.say(line)

    def stop(self, keys: set[str] | None = None) -> None:
        """End the children with these keys (None: all), at the same time; return when they have ended."""
        chosen = [key for key in self._children if keys is None or key in keys]
        for key in chosen:
            self._children[key].orders.end()
        for key in chosen:
            self._forget(key)

    def reap(self) -> None:
        """Let go of the children that have ended by themselves."""
        for key in [key for key, child in self._children.items() if child.ended.is_set()]:
            self._forget(key)

    def _forget(self, key: str) -> None:
        child = self._children[key]
        child.thread.join()
        with self._lock:
            del self._children[key]
        child.orders.close()

    def _watch(self, worker: Worker, orders: Orders, ended: threading.Event, hearing: Hearing | None) -> None:
        def take(event: Event) -> None:
            if hearing is not None:
                hearing.hear(event, self._clock.monotonic())
            self._on_event(event)

        supervise(worker, orders, self._clock, take)
        ended.set()
        if not orders.stop.is_set():
            self._on_end()
