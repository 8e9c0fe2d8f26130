"""One segment, a store and a ledger, for tests of single transfers; and a process of its own to be killed in one."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.clock import Clock, SystemClock
from edge_agent.segment import Segment, video_key
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectInfo, ObjectStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.prepared import Prepared, prepare
from edge_agent.upload.transfer import Transfer
from tests.support.clock import FakeClock
from tests.support.upload import DEVICE, FIELDS, fresh_spool, publish

MIB = 1 << 20


@functools.cache
def footage_of(size: int, seed: int = 0) -> bytes:
    """*size* bytes, no part of which is like another."""
    return random.Random(seed).randbytes(size)


@dataclass
class OneSegment:
    """A segment of *size* bytes in ``ready/`` of a spool under *root*, noted in its ledger as being uploaded."""

    root: Path
    store: ObjectStore
    size: int = 20 * MIB
    clock: Clock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.body = footage_of(self.size)
        self.spool = fresh_spool(self.root / "spool")
        self.segment: Segment = publish(self.spool, 0, self.body)
        self.video = self.spool.ready / f"{self.segment.name}.mp4"
        self.key = video_key(self.segment)
        self.stem = self.segment.name.stem
        self.sent = 0

    def forget(self) -> None:
        """Lose the ledger."""
        for path in self.spool.root.glob(f"{LEDGER_FILE}*"):
            path.unlink()

    def prepared(self) -> Prepared:
        return prepare(self.video, self.spool, DEVICE, FIELDS)

    def attempt(
        self,
        *,
        store: ObjectStore | None = None,
        pace: Callable[[int], object] | None = None,
        perhaps_stored: bool = True,
    ) -> ObjectInfo:
        """One attempt by an uploader that has just begun; ``sent`` is what it sent."""
        with Ledger(self.spool.root / LEDGER_FILE) as ledger:
            now = self.clock.now().timestamp()
            ledger.discovered([(self.stem, self.video.name, self.size)], now)
            ledger.uploading(self.stem, now)
            transfer = Transfer(store or self.store, ledger.unfinished, self.clock, pace)
            try:
                return transfer.upload(self.stem, self.prepared(), perhaps_stored=perhaps_stored)
            finally:
                self.sent = transfer.sent

    def noted(self) -> bool:
        """Whether the ledger knows of an upload in parts."""
        with Ledger(self.spool.root / LEDGER_FILE) as ledger:
            return ledger.unfinished.of(self.stem) is not None

    def assert_stored(self) -> None:
        """The store has exactly this segment, and nothing pending; the ledger neither."""
        assert [info.key for info in self.store.list()] == [self.key]
        stored = self.store.get(self.key)
        assert stored.body == self.body
        assert stored.info.metadata == self.segment.to_metadata()
        assert list(self.store.list_multiparts()) == []
        assert not self.noted()

    def assert_nothing_stored(self) -> None:
        assert list(self.store.list()) == []
        assert list(self.store.list_multiparts()) == []
        assert not self.noted()


def cut_after(count: int, error: Exception) -> Callable[[int], object]:
    """A pace that raises *error* once *count* bytes have passed."""
    left = count

    def pace(size: int) -> None:
        nonlocal left
        if left <= 0:
            raise error
        left -= size

    return pace


def main(spool: Spool, name: str, bucket: str, endpoint: str) -> None:
    """Upload one segment, with a line for each MiB that goes; it waits for a line that says to go on."""
    passed = 0

    def tell(size: int) -> None:
        nonlocal passed
        passed += size
        if passed % MIB < size:
            sys.stdout.write(f"{passed}\n")
            sys.stdout.flush()
            sys.stdin.readline()

    video = spool.ready / name
    with Ledger(spool.root / LEDGER_FILE) as ledger:
        ledger.discovered([(video.stem, name, video.stat().st_size)], 0)
        ledger.uploading(video.stem, 0)
        store = S3Store(bucket, endpoint_url=endpoint, region="us-east-1")
        transfer = Transfer(store, ledger.unfinished, SystemClock(), tell)
        transfer.upload(video.stem, prepare(video, spool, DEVICE, FIELDS), perhaps_stored=True)


if __name__ == "__main__":
    main(Spool(Path(sys.argv[1])), *sys.argv[2:5])
