"""All children of one agent: each on a thread that watches it; started, replaced and ended by key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.capture.report import Event
from edge_agent.clock import Clock
from edge_agent.supervisor import Orders, Worker, supervise


@dataclass(frozen=True, slots=True)
class _Child:
    worker: Worker
    orders: Orders
    thread: threading.Thread
    ended: threading.Event  # by itself


class Fleet:
    """The running children. Used by one thread, but for :meth:`order`, which may be called from any.

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
        return len(self._children)

    def start(self, worker: Worker) -> None:
        """Keep *worker* alive from now on."""
        with self._lock:
            orders = Orders(self._standing if worker.kind == "capture" else "")
            ended = threading.Event()
            thread = threading.Thread(target=self._watch, args=(worker, orders, ended), name=f"watch-{worker.name}")
            self._children[worker.key] = _Child(worker, orders, thread, ended)
        thread.start()

    def order(self, standing: str) -> None:
        """Give every capture process, and every one that is started from now on, this order."""
        with self._lock:
            self._standing = standing
            for child in self._children.values():
                if child.worker.kind == "capture":
                    child.orders.give(standing)

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

    def _watch(self, worker: Worker, orders: Orders, ended: threading.Event) -> None:
        supervise(worker, orders, self._clock, self._on_event)
        ended.set()
        if not orders.stop.is_set():
            self._on_end()
