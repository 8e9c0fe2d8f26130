"""What is sent next, by how many at once, and what each end means: the part of the loop that hands segments out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_agent.clock import Clock
from edge_agent.errors import DiskFull, EdgeCaptureError, Scope, SpoolUnusable, StoreError
from edge_agent.spool import Spool
from edge_agent.upload import concurrency
from edge_agent.upload.arrivals import Arrivals
from edge_agent.upload.concurrency import Streams
from edge_agent.upload.lanes import Lane, interleaved
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.limits import Limits
from edge_agent.upload.link import Link
from edge_agent.upload.report import Reporter
from edge_agent.upload.retry import Fate, fate_of, file_delay
from edge_agent.upload.rows import Progress, Row
from edge_agent.upload.schema import printable
from edge_agent.upload.sending import Delivered, Sender
from edge_agent.upload.workers import Finished, Workers

# Small files are noted as begun several at a time, since each note costs a disk's flush; and handed out ahead, so that
# nobody waits for it. Not more of them than go in a moment: what is handed out is out of the lanes' reach.
AHEAD_FILES = 8
AHEAD_BYTES = 1 << 20
STOP_SECONDS = 2.0  # how long a stop waits for what is being sent; the process has half a second more


Ended = Finished[Row, Delivered]


class Dispatch:
    """Hands out what is due in *ledger* to threads that send it. All methods are for the loop's thread.

    What was left hanging by an earlier :meth:`open` may still use its sender: each has one of its own, *new_sender*'s.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        clock: Clock,
        limits: Limits,
        link: Link,
        report: Reporter,
        arrivals: Arrivals,
        wake: threading.Event,
        new_sender: Callable[[], Sender],
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._link = link
        self._report = report
        self._arrivals = arrivals
        self._wake = wake
        self._new_sender = new_sender
        self._sender: Sender | None = None
        self._workers: Workers[Row, Delivered] | None = None
        self._streams = Streams()
        self._turn = 0
        self._probe = ""  # what is being tried while the breaker is open
        self._failed_last = ""
        self._known_well = False  # that the link is noted as well: else whoever was here before may have left a note
        self.in_flight: dict[str, Row] = {}
        """By stem, what was handed out and is not booked yet."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Threads to send with while the block lasts. At its end what they have in hand is returned, to go on later."""
        sender = self._sender = self._new_sender()
        workers = self._workers = Workers("upload", sender.send, self._wake.set, self._clock, at_once=AHEAD_FILES // 2)
        self.in_flight.clear()
        self._probe = ""
        try:
            yield
            self._return(workers.take_back())
        finally:
            sender.pacer.close()
            workers.close(STOP_SECONDS)
            sender.abandon()
        self.book()

    def limits_changed(self) -> None:
        """Let whoever is held back by the pacer look again. From any thread."""
        if self._sender is not None:
            self._sender.pacer.notice()

    def progress(self) -> Progress:
        """What goes on now."""
        rate = self._sender.pacer.rate() if self._sender is not None else 0.0
        paused = self._limits.paused() or ""
        return Progress(self._now(), rate, len(self.in_flight), self._streams.limit, paused)

    # -- handing out -----------------------------------------------------------------------------------------------

    def start(self, *, fresh: bool) -> None:
        """Hand out what may go now; if *fresh*, what has just arrived goes before all that nobody has begun."""
        workers, sender = self._workers, self._sender
        assert workers is not None  # noqa: S101 - open() comes first
        assert sender is not None  # noqa: S101
        now = self._clock.monotonic()
        if self._limits.paused() is not None or self._link.breaker.seconds_left(now) > 0:
            self._return(workers.take_back())
            return
        if self._link.breaker.is_open:
            self._try_one(workers)
            return
        # One that hangs, in the store or on the way, holds nobody up; but no more are begun than could do any good.
        streams = self._streams.limit + min(sender.stalled(), concurrency.MOST_STREAMS)
        workers.allow(streams)
        if fresh:
            self._turn -= self._turn % 4  # the live lane's turn
            self._hand_out(1, first=True)
        waiting = workers.waiting
        if len(waiting) <= AHEAD_FILES // 2 and sum(row.size for row in waiting) < AHEAD_BYTES:
            self._hand_out(streams - workers.running - len(waiting), ahead=AHEAD_FILES - len(waiting))
        if not self.in_flight:
            self._streams = concurrency.idle(self._streams)

    def _try_one(self, workers: Workers[Row, Delivered]) -> None:
        """Send one segment to see whether the link is back, unless one is under way since it was last said to be."""
        hurried = self._link.breaker.is_hurried and workers.running < concurrency.MOST_STREAMS
        if self._probe in self.in_flight and not hurried:
            return
        self._return(workers.take_back())
        # Whatever hung since before the link was lost takes nobody's place.
        workers.allow(workers.running + 1)
        if self._hand_out(1):
            self._probe = next(reversed(self.in_flight))

    def _hand_out(self, count: int, *, ahead: int = 0, first: bool = False) -> bool:
        """Begin *count* rows, and up to *ahead* more of the small ones; whether there were any."""
        count = max(0, count)
        most = count + ahead
        now = self._now()
        live, backlog = (self._ledger.due_now(now, most + 1, lane) for lane in (Lane.LIVE, Lane.BACKLOG))
        avoid = {self._failed_last} if self._link.breaker.is_open else ()
        chosen: list[Row] = []
        extra = 0
        for _, row in interleaved(live, backlog, self._turn, avoid):
            if len(chosen) >= most or (len(chosen) >= count and extra + row.size > AHEAD_BYTES):
                break
            extra += row.size if len(chosen) >= count else 0
            chosen.append(row)
        if not chosen:
            return False
        with self._ledger.together():
            for row in chosen:
                self._ledger.uploading(row.stem, now)
        self._link.breaker.trying()
        self._turn += len(chosen)
        self._streams = concurrency.begun(self._streams, self._clock.monotonic())
        self.in_flight.update((row.stem, row) for row in chosen)
        if self._workers is not None:
            self._workers.give(chosen, first=first)
        return True

    def _return(self, rows: list[Row]) -> None:
        """Let what was handed out and not begun be as it was."""
        if rows:
            with self._ledger.together():
                for row in rows:
                    self._ledger.returned(row.stem, self._now())
                    self.in_flight.pop(row.stem, None)

    # -- booking ---------------------------------------------------------------------------------------------------

    def book(self) -> EdgeCaptureError | None:
        """Note what has ended; what of it concerns more than one file, if anything. Raises SpoolError."""
        ended = self._workers.finished() if self._workers is not None else []
        for one in ended:
            if one.error is not None and not isinstance(one.error, EdgeCaptureError):
                raise one.error
        self._book_delivered([one for one in ended if one.result is not None])
        trouble = None
        for one in ended:
            if isinstance(one.error, EdgeCaptureError):
                del self.in_flight[one.job.stem]
                trouble = self._settle(one.job, one.error) or trouble
        return trouble

    def forget_finished(self) -> None:
        """After an error nobody knows what was noted: the next rescan finds out what became of what has ended."""
        if self._workers is not None:
            waiting = {row.stem for row in self._workers.waiting}
            for one in self._workers.finished():
                self.in_flight.pop(one.job.stem, None)
            if not self._workers.running:
                self.in_flight = {stem: row for stem, row in self.in_flight.items() if stem in waiting}

    def all_wait(self, error: EdgeCaptureError) -> float:
        """Note that nothing can be uploaded because of *error*; seconds until the next try."""
        delay = self._link.trip(error)
        self._known_well = False
        self._streams = concurrency.failed(self._streams, self._clock.monotonic())
        try:
            news = self._ledger.link_lost(error, self._now())
        except DiskFull:
            news = True
        self._report.all_postponed(error, delay, news=news)
        return delay

    def _book_delivered(self, ended: list[Ended]) -> None:
        if not ended:
            return
        now, monotonic = self._now(), self._clock.monotonic()
        with self._ledger.together():
            for one in ended:
                if one.result is not None:
                    info, checksum = one.result.info, one.result.checksum
                    self._ledger.verified(
                        one.job.stem, now, key=info.key, size=info.size, checksum=checksum, etag=info.etag
                    )
        for one in ended:
            self.in_flight.pop(one.job.stem, None)
            if one.result is not None:
                self._streams = concurrency.delivered(self._streams, one.result.info.size, monotonic)
                self._report.uploaded(one.job.stem, one.result.info, one.seconds)
        self._answered()

    def _settle(self, row: Row, error: EdgeCaptureError) -> EdgeCaptureError | None:
        """Note what *error* means for the segment; the error again when it concerns more than that."""
        video, now, fate = self._spool.ready / row.file, self._now(), fate_of(error)
        if isinstance(error, StoreError) and error.scope is Scope.FILE:
            self._answered()
        if self._usable() and not os.path.lexists(video):
            self._arrivals.account_for(row.stem, row.file)
            return None
        if isinstance(error, SpoolUnusable) and self._usable():
            fate = Fate.RETRY_FILE  # the spool is well: it is this file that cannot be reached
        match fate:
            case Fate.RETURN:
                self._ledger.returned(row.stem, now)
            case Fate.RETRY_FILE:
                attempts = row.attempts + 1
                delay = file_delay(attempts)
                self._ledger.postponed(row.stem, error, now, attempts=attempts, due=now + delay)
                self._report.file_postponed(row.stem, error, delay)
            case Fate.QUARANTINE | Fate.CONFLICT:
                # Ledger first: after a crash in between, the file is in ready/ with a final row, and begins anew.
                note = self._ledger.conflicted if fate is Fate.CONFLICT else self._ledger.quarantined
                note(row.stem, error, now)
                self._spool.fail(video, printable(str(error)))
                self._report.set_aside(row.stem, error, fate)
            case Fate.RETRY_ALL:
                was_well = not self._link.breaker.is_open
                self._ledger.released(row.stem, error, now, setback=was_well)
                self._failed_last = row.stem
                if was_well or row.stem == self._probe:
                    self.all_wait(error)
                return error
            case _:
                self._ledger.released(row.stem, error, now, setback=False)
                raise error
        return None

    def _answered(self) -> None:
        """The store answered: the link is well."""
        self._link.answered()
        if not self._known_well:
            if self._ledger.link_restored():
                self._report.resumed()
            self._known_well = True

    def _usable(self) -> bool:
        places = (self._spool.ready, self._spool.uploaded, self._spool.failed)
        return all(os.access(place, os.R_OK | os.W_OK | os.X_OK) for place in places)

    def _now(self) -> float:
        return self._clock.now().timestamp()
