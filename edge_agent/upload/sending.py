"""One segment from ``ready/`` to the store and on to ``uploaded/``: what a thread of the uploader does."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from edge_agent.clock import Clock
from edge_agent.durable import in_use
from edge_agent.errors import StoreUnreachable, TransferStopped
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectInfo, ObjectStore
from edge_agent.upload.catalogue import Catalogue
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.limits import Limits
from edge_agent.upload.pacing import Pacer
from edge_agent.upload.parts import SMALLEST_PART
from edge_agent.upload.prepared import Prepared, prepare
from edge_agent.upload.rows import Row, Sent
from edge_agent.upload.transfer import Transfer

# Whoever has sent nothing for so long hangs, as far as the others are concerned. What is handed over in one piece, a
# tiny file of 128 KiB, takes less even at 100 kbit/s.
STALL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The store has it, and the file stands in ``uploaded/``."""

    info: ObjectInfo
    checksum: str


class Sender:
    """Sends what is in *spool*, of *device* where a file does not say which, as *limits* allow. For several threads."""

    def __init__(
        self,
        spool: Spool,
        store: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        device: str,
        fields: tuple[str, ...],
        limits: Limits,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._device = device
        self._fields = fields
        self._paused = limits.paused
        self._abandoned = False
        self._moved: dict[int, float] = {}  # by thread: when it last sent something
        self._catalogue = Catalogue(store)
        self._transfer = Transfer(store, ledger.unfinished, clock, self._pass)
        self.pacer = Pacer(clock, limits.rate, limits.paused)

    def send(self, row: Row) -> Delivered:
        """Store the segment and move its file. Raises as ``Transfer.upload`` does, and TransferStopped."""
        thread, video = threading.get_ident(), self._spool.ready / row.file
        self._moved[thread] = self._clock.monotonic()
        try:
            with in_use(video):
                prepared = prepare(video, self._spool, self._device, self._fields)
                info = self._transfer.upload(row.stem, prepared, perhaps_stored=self._is_perhaps_stored(row, prepared))
                if self._abandoned:
                    raise TransferStopped("nobody waits for it any more")
                self._spool.keep_uploaded(video)
            return Delivered(info, prepared.segment.crc64nvme)
        except StoreUnreachable as error:
            if (why := self._paused()) is not None:  # a pause breaks connections off
                raise TransferStopped(why) from error
            raise
        finally:
            del self._moved[thread]

    def stalled(self) -> int:
        """How many threads have sent nothing for STALL_SECONDS, though they might."""
        now = self._clock.monotonic()
        return sum(now - moved >= STALL_SECONDS for moved in list(self._moved.values()))

    def abandon(self) -> None:
        """Nobody waits for results any more: a thread that hung until now must not change anything."""
        self._abandoned = True

    def _pass(self, size: int) -> None:
        thread = threading.get_ident()
        self._moved[thread] = math.inf  # who waits for his turn does not hang
        self.pacer.take(size)
        self._moved[thread] = self._clock.monotonic()

    def _is_perhaps_stored(self, row: Row, prepared: Prepared) -> bool:
        """For a small file that only a lost ledger can have known of, one listing tells for all."""
        if row.perhaps_stored is Sent.UNKNOWN and prepared.size <= SMALLEST_PART:
            return not self._catalogue.lacks(prepared.key)
        return bool(row.perhaps_stored)
