"""Days without a link, a store that throttles a fleet, and a queue of a hundred thousand."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import structlog

from edge_agent.errors import StoreThrottled, StoreUnreachable
from edge_agent.segment import video_key
from edge_agent.store.base import ObjectInfo, ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.rows import State
from tests.support.clock import FakeClock
from tests.support.proxy import Proxy
from tests.support.upload import Rig, StoreBetween, fresh_spool, publish, segment_of, videos_in
from tests.support.uploading import PATIENT, Shelf, job_for, status_of, uploading

HOUR = 3600.0
MEMORY_MB = 90  # the bound for the upload process, whatever is queued


class Outage(StoreBetween):
    """Refuses every put until *until_* (virtual seconds), with *error*; ``tried`` holds when it was asked."""

    def __init__(self, inner: ObjectStore, clock: FakeClock, until_: float, error: Exception) -> None:
        super().__init__(inner)
        self._clock = clock
        self._until = until_
        self._error = error
        self.tried: list[float] = []

    def _ask(self) -> None:
        now = self._clock.monotonic()
        if now < self._until:
            self.tried.append(now)
            raise self._error

    def before_put(self, key: str) -> None:
        self._ask()

    def check(self) -> None:
        self._ask()
        super().check()

    def head(self, key: str) -> ObjectInfo:
        self._ask()
        return super().head(key)


@pytest.mark.timeout(3600)
def test_offline_72h(
    tmp_path: Path, directory_store: DirectoryStore, storm: bool, account: Callable[..., None]
) -> None:
    """Days without a link, segments coming all the time: one line in the log, no attempt charged, all sent."""
    count, outage = (10_000, 72 * HOUR) if storm else (200, 4 * HOUR)
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock()
    segments = [publish(spool, number) for number in range(count // 10)]
    for number in range(count // 10, count):
        clock.after(outage * number / count, lambda number=number: segments.append(publish(spool, number)))  # type: ignore[misc]
    store = Outage(directory_store, clock, outage, StoreUnreachable("no route to host", where="s3://raw"))
    with structlog.testing.capture_logs() as logs, Rig(spool, store, clock) as rig:
        rig.run_until_empty()
        while len(segments) < count:  # those that were planned for after the last look
            clock.wait(threading.Event(), 60)
            rig.run_until_empty()
        counts = rig.ledger.counts()
        assert all(row.attempts == 0 for row in rig.ledger.recent(count))
    assert counts[State.VERIFIED] == count
    assert {info.key for info in directory_store.list()} == {video_key(segment) for segment in segments}
    assert videos_in(spool.ready) == []
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert len(warnings) == 1
    gaps = [after - before for before, after in zip(store.tried, store.tried[1:], strict=False)]
    assert len(store.tried) >= outage / 31
    assert max(gaps) <= 31
    account(
        f"{outage / HOUR:.0f} h offline, {count} segments",
        "nothing",
        f"{len(store.tried)} probes, at most {max(gaps):.0f} s apart",
    )


def test_throttle_storm(
    tmp_path: Path, directory_store: DirectoryStore, storm: bool, account: Callable[..., None]
) -> None:
    """Fifty boxes throttled in one moment do not come back in one moment: their probes spread over the half minute."""
    agents, outage = 50, 10 * 60.0
    probes: list[list[float]] = []
    first: list[float] = []
    for number in range(agents):
        spool, clock = fresh_spool(tmp_path / f"spool-{number}"), FakeClock()
        publish(spool, number)
        store = Outage(directory_store, clock, outage, StoreThrottled("slow down", where="s3://raw"))
        with Rig(spool, store, clock) as rig:
            rig.run_until_empty()
            assert rig.ledger.counts()[State.VERIFIED] == 1
            assert clock.monotonic() <= outage + 35
        probes.append(store.tried)
        first.append(clock.monotonic())
    assert len(list(directory_store.list())) == agents
    late = Counter(int(at) for tried in probes for at in tried if at > 120)  # well after the first doublings
    asked = sum(late.values())
    busiest = max(late.values())
    each = asked / agents / (outage - 120) * 60
    back = sorted(at - outage for at in first)
    account(
        f"{agents} boxes throttled for 10 min",
        "nothing",
        f"{each:.1f} probes a box and minute, at most {busiest} in one second; back over {back[-1] - back[0]:.0f} s",
    )
    assert busiest <= agents / 4
    assert 1 <= each <= 10
    assert back[-1] - back[0] > 10


def _queue(shelf: Shelf, count: int) -> None:
    """*count* tiny segments, as fast as files can be made."""
    body = b"sparse" * 10
    for number in range(count):
        segment = segment_of(body, number)
        video = shelf.video(segment)
        video.with_suffix(".json").write_text(segment.to_json(), encoding="utf-8")
        video.write_bytes(body)


@pytest.mark.timeout(1800)
def test_hundred_thousand_queued(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """A queue of any length costs little memory, and fresh footage is seen soon, before the backlog is through."""
    count = 100_000 if storm else 4000
    _queue(shelf, count)
    link.go_down()
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url), PATIENT) as uploader:
        uploader.wait_for("upload_postponed", seconds=300)
        uploader.until(lambda: status_of(shelf.spool).waiting == count, "the whole queue to be known", 300)
        process = psutil.Process(uploader.process.pid)
        dead = process.memory_info().rss / 1e6
        link.come_up()
        uploader.until(lambda: any(shelf.spool.uploaded.glob("*.mp4")), "the first upload", 60)
        fresh = segment_of(b"fresh" * 1000, count + random.Random(1).randint(1, 99))
        part = shelf.spool.recording / "fresh"
        part.write_bytes(b"fresh" * 1000)
        shelf.spool.write_sidecar(shelf.video(fresh), fresh)
        part.rename(shelf.video(fresh))
        before = link.count()
        uploader.until(lambda: any(seen.key == video_key(fresh) for seen in list(link.exchanges)), "the fresh one", 200)
        ahead = next(place for place, seen in enumerate(link.exchanges) if seen.key == video_key(fresh))
        assert ahead - before < min(count, 4000) / 4  # long before the backlog is through
        busy = process.memory_info().rss / 1e6
        assert status_of(shelf.spool).waiting > count // 4 or not storm
        assert uploader.stop(60) == 0
    account(f"{count} queued", "nothing", f"{dead:.0f} MB while offline, {busy:.0f} MB busy; fresh one among {ahead}")
    assert max(dead, busy) <= MEMORY_MB
