"""What the box itself does to its uploader: a full disk, lost events, a watcher that dies."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import watchdog.observers

from edge_agent.clock import SystemClock
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.rows import State
from tests.support.disk import small_disk
from tests.support.proxy import Proxy
from tests.support.upload import Rig, fresh_spool, publish
from tests.support.uploading import PATIENT, Shelf, Uploading, job_for, status_of, uploading
from tests.support.wait import until

_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


def _fill(hog: Path) -> None:
    """Let *hog* take all that is left of its disk."""
    with hog.open("wb", buffering=0) as file:
        for block in (65536, 4096, 512):
            while True:
                try:
                    file.write(b"x" * block)
                except OSError:
                    break


def _is_told(uploader: Uploading) -> bool:
    return any(line.get("code") == "DiskFull" for line in uploader.said())


def test_disk_full_with_ledger(
    tmp_path: Path, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """A disk that becomes full stops no upload, and one that was full at the start none once there is room."""
    rounds = 20 if storm else 2
    with small_disk(tmp_path / "disk", "24m") as mount:
        shelf = Shelf(fresh_spool(mount / "spool"))
        job = job_for(shelf.spool, s3_store.bucket, link.url)
        link.go_down()
        for number in range(rounds):
            for _ in range(5):
                shelf.add(20_000)
            if number % 2:  # full before it starts: it may end, and is started again
                Ledger(shelf.spool.root / LEDGER_FILE).close()  # its log goes, so whoever is next has to ask for room
                _fill(mount / "hog")
                with uploading(job) as uploader:
                    until(lambda: _is_told(uploader) or uploader.process.poll(), "the full disk to be told")
                (mount / "hog").unlink()
            with uploading(job) as uploader:
                if not number % 2:  # full while it runs: it stays, and goes on, with what room the ledger has
                    uploader.wait_for("upload_postponed")
                    _fill(mount / "hog")
                link.come_up()
                shelf.wait_until_sent(uploader)
                (mount / "hog").unlink(missing_ok=True)
            link.go_down()
        shelf.assert_stored_once(s3_store)
        assert status_of(shelf.spool).counts[State.EVICTED] == 0
        account(f"{rounds} times full", "nothing", f"{len(shelf.segments)} segments stored once each")


def test_inotify_overflow(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None]) -> None:
    """Arrivals whose events the kernel threw away, its queue being full, are found and uploaded all the same."""
    limit = int(_QUEUE.read_text())
    if limit > 200_000:
        pytest.skip(f"{_QUEUE} is {limit}: too long a queue to fill")
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url), PATIENT) as uploader:
        shelf.add(1000)
        shelf.wait_until_sent(uploader)
        uploader.process.send_signal(signal.SIGSTOP)
        noise = shelf.spool.ready / ".noise"
        for _ in range(limit):  # two events each: the queue is full long before the end
            noise.touch()
            noise.unlink()
        for _ in range(5):
            shelf.add(1000)
        uploader.process.send_signal(signal.SIGCONT)
        shelf.wait_until_sent(uploader)
        assert uploader.stop(60) == 0
    shelf.assert_stored_once(s3_store)
    account(f"{2 * limit} events on a queue of {limit}", "nothing", "5 arrivals behind them found")


def test_observer_dies(
    tmp_path: Path, directory_store: DirectoryStore, storm: bool, account: Callable[..., None]
) -> None:
    """A watcher whose threads die is started anew; what arrived meanwhile is found by the next rescan."""
    deaths = 30 if storm else 3
    spool = fresh_spool(tmp_path / "spool")
    stop = threading.Event()
    with Rig(spool, directory_store, SystemClock(), rescan_seconds=0.2) as rig:
        thread = threading.Thread(target=rig.uploader.run, args=(stop,))
        thread.start()
        try:
            for number in range(deaths):
                observer = until(_observers, "a watcher")[0]
                observer.stop()
                observer.join()
                segment = publish(spool, number)
                kept = spool.uploaded / f"{segment.name}.mp4"
                until(kept.exists, f"upload {number + 1}")
            until(_observers, "the watcher to be started anew")
        finally:
            stop.set()
            rig.uploader.wake()
            thread.join()
    assert len(list(directory_store.list())) == deaths
    account(f"watcher died {deaths} times", "nothing", "each arrival found, each time watched again")


def _observers() -> list[watchdog.observers.api.BaseObserver]:
    """The observers that are at work in this process."""
    found = [thread for thread in threading.enumerate() if isinstance(thread, watchdog.observers.api.BaseObserver)]
    return [thread for thread in found if thread.is_alive() and thread.emitters]
