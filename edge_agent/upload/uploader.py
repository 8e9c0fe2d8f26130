"""The loop that brings every finished segment to the store.

One segment at a time, and every step can be the last: ``uploading`` in the ledger, the put, the move to ``uploaded/``,
``verified`` in the ledger. Whichever of them a crash follows, the next rescan finds either the file still in ``ready/``
and tries again, asking the store first, or the file in ``uploaded/`` and notes that it got there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.durable import in_use
from edge_agent.errors import (
    DiskFull,
    EdgeCaptureError,
    NameInvalid,
    Scope,
    SpoolUnusable,
    StoreError,
    VideoUnreadable,
)
from edge_agent.segment import video_key
from edge_agent.spool import VIDEO_SUFFIX, Spool
from edge_agent.store.base import ObjectStore
from edge_agent.tombstones import Tombstones
from edge_agent.upload import transfer
from edge_agent.upload.correction import Corrector
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.report import Reporter, UploadEvent
from edge_agent.upload.retry import Fate, fate_of, file_delay, link_delay
from edge_agent.upload.rows import Row, UploadStatus
from edge_agent.upload.schema import printable
from edge_agent.upload.watcher import Watcher

# Between two batches the loop looks for new arrivals and lets the watcher be mended, however long the queue is.
BATCH = 50
# The wake-up is one event and the stop another; no longer than this goes by until a stop is noticed while waiting.
GLANCE_SECONDS = 0.5


class Uploader:
    """Uploads what is in *spool*'s ``ready/``, for *device* where a file does not say which, with class *fields*.

    Not to be run by two threads. :meth:`status` and :meth:`wake` may be called from any.
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
    ) -> None:
        self._spool = spool
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._device = device
        self._fields = fields
        self._rescan_seconds = rescan_seconds
        self._tombstones = tombstones
        self._report = Reporter(on_event)
        self._corrector = Corrector(
            spool, clock, lambda old, new, file: ledger.renamed(printable(old), printable(new), file, self._now())
        )
        self._wake = threading.Event()
        self._begun = False
        self._failures = 0

    def status(self) -> UploadStatus:
        """What waits, what was done, what is wrong."""
        return self._ledger.status()

    def wake(self) -> None:
        """Look at ``ready/`` now."""
        self._wake.set()

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, *, until_empty: bool = False) -> None:
        """Upload until *stop* is set, or with *until_empty* until nothing is left in ``ready/``.

        A store that cannot be reached is tried again for ever. Raises only what no retry mends, such as SpoolUnusable.
        """
        with closing(Watcher(self._spool.ready, self._wake)) as watcher:
            next_rescan = self._clock.monotonic()
            while not stop.is_set():
                try:
                    if self._wake.is_set() or self._clock.monotonic() >= next_rescan:
                        watcher.ensure()
                        self._wake.clear()
                        self.rescan()
                        next_rescan = self._clock.monotonic() + self._rescan_seconds
                    busy = self._send_batch(stop)
                    if until_empty and not busy and not self._spool.ready_videos():
                        return
                except EdgeCaptureError as error:
                    if fate_of(error) is Fate.STOP:
                        raise
                    self._clock.wait(stop, self._trip(error))
                    next_rescan = self._clock.monotonic()
                    continue
                if not busy:
                    self._rest(stop, next_rescan - self._clock.monotonic())

    def run_once(self) -> None:
        """Look once, and try everything that is due once. Raises what concerns more than one file."""
        self.rescan()
        while self._send_batch(threading.Event()):
            pass

    def _rest(self, stop: threading.Event, until_rescan: float) -> None:
        """Wait for a wake-up, the next due time or the next rescan, whichever is first."""
        due = self._ledger.next_due()
        seconds = until_rescan if due is None else min(until_rescan, due - self._now())
        end = self._clock.monotonic() + seconds
        while not stop.is_set() and (left := end - self._clock.monotonic()) > 0:
            if self._clock.wait(self._wake, min(left, GLANCE_SECONDS)):
                return

    def _trip(self, error: EdgeCaptureError) -> float:
        """Note that nothing can be uploaded because of *error*; seconds until the next try."""
        self._failures += 1
        delay = link_delay(self._failures)
        try:
            news = self._ledger.link_lost(error, self._now())
        except DiskFull:
            news = self._failures == 1
        self._report.all_postponed(error, delay, news=news)
        return delay

    # -- looking ---------------------------------------------------------------------------------------------------

    def rescan(self) -> None:
        """Make the ledger agree with ``ready/``. Raises SpoolError."""
        if not self._begun:
            self._spool.sweep()
            if self._ledger.torn is not None:
                self._report.ledger_torn(str(self._ledger.torn))
            self._begun = True
        held = self._correct()
        there = {_stem(video): video for video in self._spool.ready_videos()}
        waiting = self._ledger.waiting()
        gone = waiting.keys() - there.keys()
        dropped = self._dropped() if gone else frozenset()
        for stem in gone:
            self._account_for(stem, waiting[stem], dropped)
        self._ledger.recovered(self._now())
        unknown = {stem: video for stem, video in there.items() if stem not in waiting and video not in held}
        new = [(stem, video.name, _size(video)) for stem, video in unknown.items()]
        if new:
            # A ledger that knows nothing may be a lost one: then the store may have any of them.
            self._ledger.discovered(new, self._now(), perhaps_stored=self._ledger.is_empty())

    def _correct(self) -> set[Path]:
        """Give segments recorded before the clock was set their right names; those that still have to wait for that."""

        def is_sent(stem: str) -> bool:
            row = self._ledger.get(printable(stem))
            return self._ledger.torn is not None or (row is not None and row.perhaps_stored)

        count, held = self._corrector.settle(self._spool.ready_videos(), is_sent)
        if count:
            self._report.corrected(count)
        return held

    def _dropped(self) -> frozenset[str]:
        """What was deleted unsent by the operator's policy: reported already by whoever did it."""
        return self._tombstones.stems() if self._tombstones else frozenset()

    def _account_for(self, stem: str, file: str, dropped: frozenset[str]) -> None:
        """Note where a segment is that the ledger has waiting, but that is not in ``ready/`` any more."""
        kept = self._spool.uploaded / file
        if kept.is_file():
            # Only verified copies get there: the last uploader ended between the move and the note of it.
            key, checksum = self._told_by_sidecar(kept)
            self._ledger.verified(stem, self._now(), key=key, size=kept.stat().st_size, checksum=checksum)
            return
        found = self._spool.failed / file
        if found.is_file():
            self._ledger.quarantined(stem, VideoUnreadable("was set aside", where=str(found)), self._now())
            return
        if stem in dropped:
            self._ledger.vanished(stem, DiskFull("dropped before it was uploaded", where=file), self._now())
            return
        gone = VideoUnreadable("left ready/ before it was uploaded", where=str(self._spool.ready / file))
        self._ledger.vanished(stem, gone, self._now())
        self._report.vanished(stem, gone)

    def _told_by_sidecar(self, kept: Path) -> tuple[str, str]:
        """Key and checksum as far as the sidecar of an uploaded file still tells."""
        try:
            segment = self._spool.sidecar(kept)
        except (NameInvalid, OSError):
            return "", ""
        return (video_key(segment), segment.crc64nvme) if segment else ("", "")

    # -- sending ---------------------------------------------------------------------------------------------------

    def _send_batch(self, stop: threading.Event) -> bool:
        """Try some of what is due; whether there was any."""
        batch = self._ledger.due_now(self._now(), BATCH)
        for row in batch:
            if stop.is_set():
                break
            self._send(row)
        return bool(batch)

    def _send(self, row: Row) -> None:
        """One attempt at one segment: what is wrong with the file is settled here, what is wrong beyond it raised."""
        video = self._spool.ready / row.file
        started = self._clock.monotonic()
        self._ledger.uploading(row.stem, self._now())
        try:
            with in_use(video):
                segment = transfer.prepare(video, self._spool, self._device, self._fields)
                info = transfer.upload(segment, video, self._store, perhaps_stored=row.perhaps_stored)
                self._spool.keep_uploaded(video)
        except EdgeCaptureError as error:
            self._settle(row, video, error)
            return
        self._ledger.verified(
            row.stem, self._now(), key=info.key, size=info.size, checksum=segment.crc64nvme, etag=info.etag
        )
        self._report.uploaded(row.stem, info, self._clock.monotonic() - started)
        self._answered()

    def _settle(self, row: Row, video: Path, error: EdgeCaptureError) -> None:
        """Note what *error* means for the segment; raise it when it concerns more than that."""
        now = self._now()
        fate = fate_of(error)
        if isinstance(error, StoreError) and error.scope is Scope.FILE:
            self._answered()
        if self._usable() and not os.path.lexists(video):
            self._account_for(row.stem, row.file, self._dropped())
            return
        if isinstance(error, SpoolUnusable) and self._usable():
            fate = Fate.RETRY_FILE  # the spool is well: it is this file that cannot be reached
        match fate:
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
            case _:
                self._ledger.released(row.stem, error, now)
                raise error

    def _answered(self) -> None:
        """The store answered: the link is well."""
        self._failures = 0
        if self._ledger.link_restored():
            self._report.resumed()

    def _usable(self) -> bool:
        places = (self._spool.ready, self._spool.uploaded, self._spool.failed)
        return all(os.access(place, os.R_OK | os.W_OK | os.X_OK) for place in places)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _stem(video: Path) -> str:
    """The ledger's name for a file: its stem, or the whole name of what is no segment."""
    return printable(video.name.removesuffix(VIDEO_SUFFIX))


def _size(video: Path) -> int:
    try:
        return video.stat().st_size
    except FileNotFoundError:  # gone since it was listed; the attempt will say so
        return 0
