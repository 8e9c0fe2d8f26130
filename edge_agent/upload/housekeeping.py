"""What keeps store and ledger tidy, on a thread of its own: it may take long, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectStore
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.transfer import Transfer
from edge_agent.upload.workers import Workers

DAILY_SECONDS = 86400.0
REMEMBER_SECONDS = 30 * 86400.0  # how long the ledger knows of a segment whose file is gone: what a person asks about
CLOSE_SECONDS = 0.5


class Housekeeping:
    """Once a day: stale uploads are aborted, the ledger forgets what is long over."""

    def __init__(self, spool: Spool, store: ObjectStore, ledger: Ledger, clock: Clock, device: str) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._device = device
        self._transfer = Transfer(store, ledger.unfinished, clock)
        self._next = float("-inf")
        self._workers: Workers[float, int] | None = None
        self._log = structlog.get_logger()

    @contextmanager
    def open(self) -> Iterator[None]:
        """:meth:`tick` may be called while the block lasts."""
        workers = self._workers = Workers("housekeeping", self._clean, lambda: None, self._clock)
        try:
            yield
        finally:
            workers.close(CLOSE_SECONDS)

    def tick(self) -> None:
        """Begin when a day has passed; at the first time, too."""
        if self._workers is None:
            return
        for finished in self._workers.finished():
            if isinstance(finished.error, EdgeCaptureError):
                self._log.info("housekeeping_postponed", code=finished.error.code, error=str(finished.error))
            elif finished.error is not None:
                raise finished.error
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + DAILY_SECONDS
            self._workers.allow(1)
            self._workers.give([self._clock.now().timestamp()])

    def _clean(self, now: float) -> int:
        uploaded = self._spool.uploaded
        forgotten = self._ledger.history.prune(now - REMEMBER_SECONDS, lambda file: (uploaded / file).exists())
        return forgotten + self._transfer.abort_stale(self._device)
