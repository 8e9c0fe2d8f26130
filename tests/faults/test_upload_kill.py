"""Kill -9 of real upload processes, at any moment and at any step, and what was sent again for it."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.rows import State
from tests.support.proxy import Proxy
from tests.support.relay import Exchange
from tests.support.s3_http import Operation
from tests.support.upload import names_in
from tests.support.uploading import LARGE, MIB, Shelf, job_for, status_of, uploading
from tests.support.wait import until

# Runs in the upload process: kill -9 before or after the N-th thing it does to the disk or to its ledger.
_KILL_AT_STEP = """
import os, pathlib, signal, sqlite3
left = [{step}]
def killing(real):
    def step(*arguments, **options):
        left[0] -= 1
        if left[0] == 0 and {before}:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return step
for owner, name in ((os, "fsync"), (os, "link"), (os, "unlink"), (pathlib.Path, "unlink"), (pathlib.Path, "replace")):
    setattr(owner, name, killing(getattr(owner, name)))
class Connection(sqlite3.Connection):
    execute = killing(sqlite3.Connection.execute)
    executemany = killing(sqlite3.Connection.executemany)
    __exit__ = killing(sqlite3.Connection.__exit__)
connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, **{{**options, "factory": Connection}})
"""


def _kill_at_request(link: Proxy, process: subprocess.Popen[str], number: int) -> None:
    """Let *process* be killed when its *number*-th request from now on arrives."""
    left = [number]

    def arrived(_: Exchange) -> None:
        left[0] -= 1
        if left[0] == 0:
            process.kill()

    link.on_request = arrived


def _one_kill(shelf: Shelf, link: Proxy, bucket: str, chance: random.Random) -> bool:
    """One upload process, killed by itself, at a request, or after some bytes; whether that was amid its work."""
    how = chance.choice(("step", "request", "bytes"))
    prelude = _KILL_AT_STEP.format(step=chance.randint(1, 120), before=chance.random() < 0.5) if how == "step" else ""
    waiting = sum(video.stat().st_size for video in shelf.spool.ready_videos())
    goal = link.received() + chance.randint(0, waiting)
    with uploading(job_for(shelf.spool, bucket, link.url), prelude) as uploader:
        process = uploader.process
        if how == "request":
            _kill_at_request(link, process, chance.randint(1, 12))
        until(
            lambda: process.poll() is not None or shelf.all_sent() or (how == "bytes" and link.received() >= goal),
            "a kill, or the end of the work",
        )
        link.on_request = None
        if process.poll() is not None:
            assert process.returncode == -signal.SIGKILL, uploader.log.read_text()
        uploader.kill()
    return not shelf.all_sent()


@pytest.mark.timeout(3600)
def test_upload_kill9_storm(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """However often and wherever the uploader is killed, every segment becomes exactly one object, bytes equal."""
    kills = 300 if storm else 8
    chance = random.Random(4)
    link.shape(60e6)
    amid = 0
    number = 0
    while number < kills or amid <= number / 2:  # on a busy machine, more may have got through before the kill came
        for _ in range(chance.randint(1, 4)):
            shelf.add(chance.randint(1, 200_000))
        if number % (10 if storm else 4) == 0:
            shelf.add(LARGE + chance.randint(0, MIB))
        amid += _one_kill(shelf, link, s3_store.bucket, chance)
        number += 1
        assert number <= 3 * kills, "hardly any kill came amid the work"
    kills = number
    link.shape(None)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader)
        uploader.until(lambda: not status_of(shelf.spool).waiting, "the ledger to say so")
    shelf.assert_stored_once(s3_store)
    assert names_in(shelf.spool.failed) == []
    counts = status_of(shelf.spool).counts
    assert counts[State.VERIFIED] == len(shelf.segments)
    assert counts[State.EVICTED] == counts[State.CONFLICT] == counts[State.QUARANTINED] == 0
    part = max(seen.received for seen in link.exchanges if seen.operation is Operation.PART)
    again = link.received() - shelf.bytes
    account(
        f"{kills} kills, {amid} amid the work, {len(shelf.segments)} segments",
        "nothing",
        f"{again / kills / MIB:.1f} MiB sent again a kill, parts of {part / MIB:.0f} MiB",
    )
    assert amid > kills / 2
    assert again <= kills * (part + 200_000 * 4)  # a part, and small puts that may have been under way beside it


@pytest.mark.timeout(1800)
def test_kill9_amid_parts_in_a_directory(
    shelf: Shelf, tmp_path: Path, storm: bool, account: Callable[..., None]
) -> None:
    """A kill at any step of storing parts in a directory leaves a part whole or not at all: every object is right."""
    kills = 80 if storm else 4
    store = DirectoryStore(tmp_path / "store")
    tmp_path.joinpath("store").mkdir()
    job = replace(job_for(shelf.spool, "", ""), store=str(tmp_path / "store"), endpoint_url=None)
    chance = random.Random(5)
    amid = 0
    for _ in range(kills):
        if shelf.all_sent():
            shelf.add(LARGE + chance.randint(0, MIB))
        prelude = _KILL_AT_STEP.format(step=chance.randint(20, 150), before=chance.random() < 0.5)
        with uploading(job, prelude) as uploader:
            process = uploader.process
            until(lambda: process.poll() is not None or shelf.all_sent(), "a kill, or the end of the work")  # noqa: B023
        amid += not shelf.all_sent()
    with uploading(job) as uploader:
        shelf.wait_until_sent(uploader)
        uploader.until(lambda: not status_of(shelf.spool).waiting, "the ledger to say so")
    shelf.assert_stored_once(store)
    assert names_in(shelf.spool.failed) == []
    assert amid > kills / 3
    account(f"{kills} kills, {amid} amid the work", "nothing", f"{len(shelf.segments)} objects whole")


@pytest.mark.parametrize("damage", ["torn", "cut short", "gone"])
def test_torn_ledger(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None], damage: str) -> None:
    """A ledger lost or torn in the middle of a large upload costs a part at most: the store is asked what it has."""
    small = [shelf.add(1000 + number) for number in range(5)]
    large = shelf.add(LARGE)
    job = job_for(shelf.spool, s3_store.bucket, link.url)
    link.shape(40e6)
    with uploading(job) as uploader:
        uploader.until(lambda: link.count(Operation.PART) > 2, "the third part to begin")
        uploader.kill()
    ledger = shelf.spool.root / LEDGER_FILE
    content = ledger.read_bytes()
    for name in names_in(shelf.spool.root):
        if name.startswith(LEDGER_FILE) and not name.endswith(".lock"):
            (shelf.spool.root / name).unlink()
    if damage != "gone":
        ledger.write_bytes(b"\0torn" * 4000 if damage == "torn" else content[: len(content) // 2])
    link.shape(None)
    with uploading(job) as uploader:
        shelf.wait_until_sent(uploader)
        if damage == "torn":
            uploader.wait_for("ledger_begun_anew")
    shelf.assert_stored_once(s3_store)
    part = max(seen.received for seen in link.exchanges if seen.operation is Operation.PART)
    again = link.received() - shelf.bytes
    account(f"ledger {damage}, 2 parts sent", "nothing", f"{again / MIB:.1f} MiB sent again, parts of {part / MIB:.0f}")
    assert again <= part + sum(segment.size for segment in small)
    assert large.size > 2 * part
