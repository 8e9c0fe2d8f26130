"""Makes the ledger agree with ``ready/``: what has come, what has gone and where to, what may not go yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.durable import os_errors
from edge_agent.errors import DiskFull, NameInvalid, VideoUnreadable
from edge_agent.segment import video_key
from edge_agent.spool import SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool
from edge_agent.tombstones import Tombstones
from edge_agent.upload.correction import Corrector
from edge_agent.upload.lease import has_writer
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.report import Reporter
from edge_agent.upload.rows import Sent
from edge_agent.upload.schema import printable

STEP = 500  # names looked at, and
CHUNK = 100  # new files taken in, before others have their turn: some 10 ms each
MOST_UNKNOWN = 10_000  # names of new files that are held in memory at once
QUIET_SECONDS = 5.0  # a file without a sidecar that was written to more recently may be half of a copy


class Arrivals:
    """Looks into *spool*'s ``ready/`` for the uploader, in its thread. Methods raise SpoolError.

    *in_flight* tells the stems the uploader has in hand: what becomes of those, it notes itself.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        clock: Clock,
        report: Reporter,
        in_flight: Callable[[], Collection[str]],
        tombstones: Tombstones | None = None,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._in_flight = in_flight
        self._tombstones = tombstones
        self._corrector = Corrector(
            spool, clock, lambda old, new, file: ledger.renamed(printable(old), printable(new), file, self._now())
        )
        self._begun = False
        self._perhaps_stored = False
        self._open: set[str] = set()  # files the ledger knows that may yet get another name

    def scan(self) -> Iterator[None]:
        """The rescan, in steps of some milliseconds; what happens between two of them is no matter."""
        self._ledger.recovered(self._now(), self._in_flight())
        # A ledger that has not seen all may be in place of a lost one: then the store may have any of what is there.
        self._perhaps_stored = not self._ledger.is_whole()
        if not self._begun:
            yield from self._begin()
        unknown: list[str] = []
        with os_errors(self._spool.ready), os.scandir(self._spool.ready) as entries:
            while step := list(islice(entries, STEP)):
                names = [e.name for e in step if _is_arrival(e.name) and e.is_file(follow_symlinks=False)]
                known = self._ledger.waiting_of([stem_in_ledger(name) for name in names])
                unknown += [name for name in names if stem_in_ledger(name) not in known]
                yield
                if len(unknown) >= MOST_UNKNOWN:
                    yield from self._take_in(unknown)
                    unknown = []
        yield from self._take_in(unknown)
        gone = []
        for number, stem in enumerate(self._ledger.waiting(), start=1):
            if not os.path.lexists(f"{self._spool.ready}/{stem}{VIDEO_SUFFIX}"):
                gone.append(stem)
            if not number % STEP:
                yield
        self._account(gone)
        yield
        self._settle_known()
        if self._perhaps_stored:
            self._ledger.scanned(self._now())
            self._perhaps_stored = False

    def arrived(self, name: str) -> None:
        """Take the file *name* in, of which the watcher heard."""
        if _is_arrival(name):
            self._take([name])

    def account_for(self, stem: str, file: str) -> None:
        """Note where a segment is that the ledger has waiting, but that is not in ``ready/`` any more."""
        self._account_one(stem, file, self._dropped())

    def _take_in(self, names: list[str]) -> Iterator[None]:
        """Let the ledger know of *names*, the newest first, in steps."""
        new = iter(sorted(names, key=_stamp, reverse=True))
        while chunk := list(islice(new, CHUNK)):
            self._take(chunk)
            yield

    # -- coming ----------------------------------------------------------------------------------------------------

    def _begin(self) -> Iterator[None]:
        yield from self._spool.sweep()
        if self._ledger.torn is not None:
            self._report.ledger_torn(str(self._ledger.torn))
        self._open = set(self._ledger.unsettled())
        self._begun = True

    def _take(self, names: Iterable[str]) -> None:
        """Let the ledger know of the files *names*, but for those that may not go yet."""
        videos = [self._spool.ready / name for name in names]
        settled = self._corrector.settle(videos, self._is_sent)
        if settled.corrected:
            self._report.corrected(settled.corrected)
        files = []
        for video in settled.known:
            size = self._size_of(video)
            if size is not None:
                files.append((stem_in_ledger(video.name), video.name, size))
        later = {video.name for video in settled.later}
        self._open |= later
        if files:
            unsettled = {stem_in_ledger(name) for name in later}
            self._ledger.discovered(files, self._now(), perhaps_stored=self._perhaps_stored, unsettled=unsettled)

    def _settle_known(self) -> None:
        """Look again at what the ledger knows already, but under a name that may not be its last."""
        videos = [self._spool.ready / name for name in self._open]
        there = [video for video in videos if stem_in_ledger(video.name) not in self._in_flight()]
        settled = self._corrector.settle([video for video in there if os.path.lexists(video)], self._is_sent)
        if settled.corrected:
            self._report.corrected(settled.corrected)
        still = {video.name for video in (*settled.later, *settled.held)}
        for video in there:
            if video.name not in still:
                self._ledger.settled(stem_in_ledger(video.name))
        self._open -= {video.name for video in there} - still

    def _is_sent(self, stem: str) -> bool:
        """Whether it may be in the store by this name; of what a torn ledger knew, nothing is certain."""
        row = self._ledger.get(printable(stem))
        return self._ledger.torn is not None or (row is not None and row.perhaps_stored is Sent.BEGUN)

    def _size_of(self, video: Path) -> int | None:
        """Its size, or None for what is gone again or still being written."""
        try:
            found = os.lstat(video)
        except FileNotFoundError:
            return None
        if not os.path.exists(video.with_suffix(SIDECAR_SUFFIX)):  # noqa: PTH110 (bears names that are too long)
            # Nobody of ours put it there: it may be half of a copy, of whose end the watcher will hear.
            writer = has_writer(video)
            if writer or (writer is None and 0 <= self._now() - found.st_mtime < QUIET_SECONDS):
                return None
        return found.st_size

    # -- going -----------------------------------------------------------------------------------------------------

    def _account(self, gone: Collection[str]) -> None:
        dropped = self._dropped() if gone else frozenset()
        for stem in gone:
            row = self._ledger.get(stem)
            if row is None or stem in self._in_flight() or os.path.lexists(self._spool.ready / row.file):
                continue
            self._account_one(stem, row.file, dropped)

    def _dropped(self) -> frozenset[str]:
        """What was deleted unsent by the operator's policy: reported already by whoever did it."""
        return self._tombstones.stems() if self._tombstones else frozenset()

    def _account_one(self, stem: str, file: str, dropped: frozenset[str]) -> None:
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

    def _now(self) -> float:
        return self._clock.now().timestamp()


def stem_in_ledger(name: str) -> str:
    """The ledger's name for a file: its stem, or the whole name of what is no segment."""
    return printable(name.removesuffix(VIDEO_SUFFIX))


def _is_arrival(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(SIDECAR_SUFFIX)


def _stamp(name: str) -> str:
    """The end of a name, where the moment stands at which its segment began: orders segments by their time."""
    return name[-24:]
