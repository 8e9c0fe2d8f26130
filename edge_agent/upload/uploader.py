"""The loop that brings every finished segment to the store.

One thread decides, looks and keeps the ledger; a few others send a segment each, so that a store that hangs, or a file
that never ends, keeps nobody from his work. Every step can be the last: ``uploading`` in the ledger, the put, the move
to ``uploaded/``, ``verified`` in the ledger. Whichever of them a crash follows, the next rescan finds either the file
still in ``ready/`` and tries again, asking the store first, or the file in ``uploaded/`` and notes that it got there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectStore
from edge_agent.tombstones import Tombstones
from edge_agent.upload.arrivals import Arrivals
from edge_agent.upload.dispatch import Dispatch
from edge_agent.upload.housekeeping import Housekeeping
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.limits import Limits
from edge_agent.upload.link import Link
from edge_agent.upload.report import Reporter, UploadEvent
from edge_agent.upload.retry import Fate, fate_of
from edge_agent.upload.rows import UploadStatus
from edge_agent.upload.sending import Sender
from edge_agent.upload.watcher import Watcher

# The wake-up is one event and the stop another; no longer than this goes by until a stop is noticed while waiting. What
# is allowed is looked at as often.
GLANCE_SECONDS = 0.5
MOST_HINTS = 200  # more arrivals at once than this, and a rescan finds them sooner than one by one
PROGRESS_SECONDS = 5.0  # how often what goes on is noted for the status


class Uploader:
    """Uploads what is in *spool*'s ``ready/``, for *device* where a file does not say which, with class *fields*.

    *priorities*: class tag to number, the higher goes first, 0 where none is set. *limits*: what may be sent when.
    *link_url*: where the store is, to hear when the way there is open again. Not to be run by two threads.
    :meth:`status`, :meth:`wake` and :meth:`retry` may be called from any.
    """

    def __init__(
        self,
        spool: Spool,
        store: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        device: str,
        fields: tuple[str, ...],
        rescan_seconds: float = 30.0,
        on_event: Callable[[UploadEvent], object] | None = None,
        tombstones: Tombstones | None = None,
        priorities: Mapping[str, int] | None = None,
        limits: Limits | None = None,
        link_url: str | None = None,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._rescan_seconds = rescan_seconds
        self._limits = limits or Limits.none(clock)
        self._priorities = priorities or {}
        self._wake = threading.Event()
        self._asked = threading.Event()
        self._hints: deque[str] = deque(maxlen=MOST_HINTS + 1)
        self._link = Link(clock, self._wake, link_url)
        report = Reporter(on_event)
        self._arrivals = Arrivals(spool, ledger, clock, report, lambda: self._dispatch.in_flight, tombstones)
        new_sender = partial(Sender, spool, store, ledger, clock, device, fields, self._limits)
        self._dispatch = Dispatch(
            spool, ledger, clock, self._limits, self._link, report, self._arrivals, self._wake, new_sender
        )
        self._housekeeping = Housekeeping(spool, store, ledger, clock, device)
        self._scan: Iterator[None] | None = None
        self._next_scan = 0.0
        self._noted = (-PROGRESS_SECONDS, False)
        self._limits.listen(self._limits_changed)

    def status(self) -> UploadStatus:
        """What waits, what was done, what is wrong."""
        return self._ledger.status()

    def wake(self) -> None:
        """Look at ``ready/`` now."""
        self._asked.set()
        self._wake.set()

    def retry(self, stems: Collection[str] | None = None) -> int:
        """Try *stems*, or all that wait, now instead of when their back-off ends; how many waited for that."""
        count = self._ledger.hurried(stems, self._now())
        self._link.hurry()
        self.wake()
        return count

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, *, until_empty: bool = False) -> None:
        """Upload until *stop* is set, or with *until_empty* until nothing is left in ``ready/``.

        A store that cannot be reached is tried again for ever. Ends within some two seconds of the stop, whatever the
        store does: what was being sent goes on at the next start. Raises only what no retry mends, such as
        SpoolUnusable.
        """
        with self._at_work(), closing(Watcher(self._spool.ready, self._wake, self._hints.append)) as watcher:
            self._next_scan = self._clock.monotonic()
            while not stop.is_set():
                self._wake.clear()
                try:
                    self._look(watcher)
                    self._dispatch.book()
                    self._dispatch.start(fresh=False)
                    self._link.look()
                    self._note_progress()
                except EdgeCaptureError as error:  # of the disk or the ledger: files have theirs settled by then
                    self._dispatch.forget_finished()
                    self._scan, self._next_scan = None, self._clock.monotonic()
                    if fate_of(error) is Fate.STOP:
                        raise
                    self._clock.wait(stop, self._dispatch.all_wait(error))
                    continue
                if until_empty and self._is_empty():
                    return
                self._rest(stop)

    def run_once(self) -> None:
        """Look once, and try everything that is due once. Raises what concerns more than one file."""
        with self._at_work():
            self._link.breaker.hurry()
            self.rescan()
            while True:
                self._dispatch.start(fresh=False)
                if not self._dispatch.in_flight:
                    return
                self._wake.wait(GLANCE_SECONDS)
                self._wake.clear()
                if error := self._dispatch.book():
                    raise error

    def rescan(self) -> None:
        """Make the ledger agree with ``ready/``. Raises SpoolError."""
        for _ in self._arrivals.scan():
            pass

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._ledger.prioritise(self._priorities)
        with ExitStack() as stack:
            stack.enter_context(self._link.watching())
            stack.enter_context(self._housekeeping.open())
            stack.enter_context(self._dispatch.open())
            yield
        # Nothing is sent any more; why nothing was is still true.
        self._ledger.progressed(replace(self._dispatch.progress(), rate=0.0, in_flight=0))

    def _look(self, watcher: Watcher) -> None:
        """Take in what the watcher heard of, and go a step on with the rescan that is due."""
        self._limits.look()
        if len(self._hints) > MOST_HINTS:
            self._hints.clear()
            self._asked.set()
        while self._hints:
            self._arrivals.arrived(self._hints.popleft())
            self._dispatch.start(fresh=True)
        if self._scan is None and (self._asked.is_set() or self._clock.monotonic() >= self._next_scan):
            watcher.ensure()
            self._asked.clear()
            self._scan = self._arrivals.scan()
        if self._scan is not None and next(self._scan, _END) is _END:
            self._scan, self._next_scan = None, self._clock.monotonic() + self._rescan_seconds
            if not self._link.breaker.is_open and self._limits.paused() is None:
                self._housekeeping.tick()

    def _rest(self, stop: threading.Event) -> None:
        """Wait for a wake-up, the next due time or the next rescan, whichever is first."""
        if self._scan is not None or self._hints:
            return
        if self._dispatch.in_flight:
            # Time that others spend working, on clocks of their own.
            self._wake.wait(GLANCE_SECONDS)
            return
        seconds = self._next_scan - self._clock.monotonic()
        due = self._ledger.next_due()
        if due is not None and self._limits.paused() is None:
            seconds = min(seconds, max(due - self._now(), self._link.breaker.seconds_left(self._clock.monotonic())))
        end = self._clock.monotonic() + seconds
        while not stop.is_set() and (left := end - self._clock.monotonic()) > 0:
            self._limits.look()
            if self._clock.wait(self._wake, min(left, GLANCE_SECONDS)):
                return

    def _is_empty(self) -> bool:
        return self._scan is None and not self._dispatch.in_flight and not self._spool.ready_videos()

    def _note_progress(self) -> None:
        """Tell the status what goes on: every few seconds while something does, and once when it ends."""
        at, busy = self._noted
        now, is_busy = self._clock.monotonic(), bool(self._dispatch.in_flight)
        if now - at < PROGRESS_SECONDS or not (busy or is_busy):
            return
        self._noted = (now, is_busy)
        self._ledger.progressed(self._dispatch.progress())

    def _limits_changed(self) -> None:
        if self._limits.paused() is not None:
            self._link.drop()
        self._dispatch.limits_changed()
        self._wake.set()

    def _now(self) -> float:
        return self._clock.now().timestamp()


_END = object()
