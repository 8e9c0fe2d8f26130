"""What links, middle boxes and stores do to an upload: it ends in exactly one object, or waits, and blocks nothing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.support.upload_waits import OUTAGES, link_returns
from edge_agent.segment import Segment, video_key
from edge_agent.store.s3 import S3Store
from edge_agent.upload.rows import State
from edge_agent.upload.sending import STALL_SECONDS
from tests.support.link_faults import Blackhole, LoseReply, Portal, Reset
from tests.support.proxy import Proxy
from tests.support.relay import Exchange
from tests.support.s3_http import Operation
from tests.support.upload import names_in
from tests.support.uploading import LARGE, MIB, Shelf, job_for, status_of, uploading
from tests.support.wait import promised, tries


def _largest_part(link: Proxy) -> int:
    return max(seen.received for seen in link.exchanges if seen.operation is Operation.PART)


def test_cut_midpart(shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]) -> None:
    """A link that breaks in the middle of a part, again and again, costs at most that part each time."""
    cuts = 60 if storm else 4
    shelf.add(LARGE)
    met = link.inject(Reset(2 * MIB), Operation.PART, after=1, times=cuts)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader, 600 if storm else 60)
    shelf.assert_stored_once(s3_store)
    again = link.received() - shelf.bytes
    assert met.done == cuts
    assert again <= cuts * 3 * MIB  # what had been sent of the part, and what stood in the buffers
    account(f"{cuts} cuts in a part", "nothing", f"{again / cuts / MIB:.1f} MiB sent again a cut")


def test_lost_reply_put(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """Puts whose replies are lost are found done: one object each, no conflict, no attempt charged."""
    losses = 100 if storm else 5
    for number in range(losses):
        shelf.add(20_000 + number)
    met = link.inject(LoseReply(), Operation.PUT, times=losses)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader, 600 if storm else 60)
        uploader.until(lambda: status_of(shelf.spool).counts[State.VERIFIED] == losses, "the ledger to say so")
        assert not uploader.said("segment_conflicted")
    shelf.assert_stored_once(s3_store)
    assert met.done == losses
    assert names_in(shelf.spool.failed) == []
    account(f"{losses} replies lost", "nothing", f"{link.count(Operation.PUT)} puts for {losses} objects")


def test_lost_reply_create(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None]) -> None:
    """An upload in parts of whose beginning nobody heard is gone on with: none is left behind in the store."""
    shelf.add(LARGE)
    met = link.inject(LoseReply(), Operation.CREATE, times=1)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader)
    shelf.assert_stored_once(s3_store)
    assert (met.done, link.count(Operation.CREATE)) == (1, 1)
    assert link.received() == shelf.bytes
    account(f"reply lost {met.done} times", "nothing", "one upload begun, and completed")


@pytest.mark.parametrize("times", [1, 3])
def test_lost_reply_complete(
    shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None], times: int
) -> None:
    """A completion whose reply is lost is found done, however often: no part is sent twice."""
    shelf.add(LARGE)
    met = link.inject(LoseReply(), Operation.COMPLETE, times=times)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader)
        assert not uploader.said("segment_conflicted")
    shelf.assert_stored_once(s3_store)
    assert link.received() == shelf.bytes
    assert met.done == times
    account(f"reply lost {met.done} times", "nothing", f"{link.count(Operation.COMPLETE)} completions, no part again")


@pytest.mark.parametrize("when", ["while it runs", "while it is down"])
def test_upload_id_vanishes(
    shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None], when: str
) -> None:
    """An upload that somebody aborted, or a lifecycle rule, is begun anew, and charged to nobody."""
    shelf.add(LARGE)
    job = job_for(shelf.spool, s3_store.bucket, link.url)
    begun: list[Exchange] = []

    def slow_down(seen: Exchange) -> None:
        """What is sent once the second part has begun is sent so slowly that nothing is complete before the abort."""
        if seen.operation is Operation.PART and seen.number == 2:
            begun.append(seen)
            link.shape(0.5e6)

    link.on_request = slow_down

    def abort() -> None:
        (pending,) = s3_store.list_multiparts()
        s3_store.abort_multipart(pending.key, pending.upload_id)

    with uploading(job) as uploader:
        uploader.until(lambda: link.count(Operation.PART) > 1, "the second part to begin")
        assert begun
        if when == "while it is down":
            uploader.kill()
        abort()
        link.on_request = None
        link.shape(None)
        if when == "while it runs":
            shelf.wait_until_sent(uploader)
    if when == "while it is down":
        with uploading(job) as uploader:
            shelf.wait_until_sent(uploader)
    shelf.assert_stored_once(s3_store)
    assert link.count(Operation.CREATE) == 2
    assert names_in(shelf.spool.failed) == []
    account(f"aborted {when}", "nothing", f"{link.count(Operation.CREATE)} uploads begun, one completed")


def test_blackhole(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None]) -> None:
    """A store that swallows everything and never answers hangs neither status nor stop; then all goes through."""
    for number in range(4):
        shelf.add(30_000 + number)
    link.inject(Blackhole())
    job = job_for(shelf.spool, s3_store.bucket, link.url)
    late: list[Segment] = []
    for _ in tries(3):  # on a machine that stands still for seconds, only one that does not tells
        with uploading(job) as uploader:
            asked = link.count()
            uploader.until(lambda asked=asked: link.count() > asked, "the first request to be swallowed")  # type: ignore[misc]
            if not late:
                late.append(shelf.add(5000))
            uploader.until(lambda: status_of(shelf.spool).waiting == 5, "the newcomer to be known")
            began = time.monotonic()
            assert uploader.stop(60) in (0, 1)
            took = time.monotonic() - began
        if took <= 4:
            break
    assert took <= 4
    assert shelf.video(late[0]).exists()
    with uploading(job) as uploader:
        asked = link.count()
        uploader.until(lambda: link.count() > asked, "the first request to be swallowed")
        link.heal()
        shelf.wait_until_sent(uploader)
    shelf.assert_stored_once(s3_store)
    account("all requests swallowed", "nothing", "status and stop within 4 s, all sent once it answered")


@pytest.mark.timeout(600)
def test_blackhole_of_one_file(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """One object the store never answers for keeps no other from its turn for longer than the 15 s of a stall."""
    if not storm:
        pytest.skip("waits until a transfer counts as stalled: make faults")
    stuck = shelf.add(30_000)
    others = [shelf.add(30_001 + number) for number in range(6)]
    link.inject(Blackhole(), Operation.PUT, key=stuck.name.stem)
    began = time.monotonic()
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        uploader.until(
            lambda: all((shelf.spool.uploaded / f"{segment.name}.mp4").exists() for segment in others),
            "all the others",
            STALL_SECONDS + 15,
        )
        waited = time.monotonic() - began
        assert shelf.video(stuck).exists()
        link.heal()
        shelf.wait_until_sent(uploader, 100)
    shelf.assert_stored_once(s3_store)
    account("one file never answered", "nothing", f"6 others sent within {waited:.0f} s")


def test_captive_portal(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """A login page that answers 200 to everything is taken for no success: nothing leaves ready/ until it is gone."""
    tries = 12 if storm else 3
    for number in range(3):
        shelf.add(10_000 + number)
    shelf.add(LARGE)
    met = link.inject(Portal())
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        uploader.until(lambda: met.done >= tries, "some tries", 400)
        said = uploader.wait_for("upload_postponed")
        assert {line["code"] for line in said} == {"StoreUnreachable"}
        assert len(said) == 1  # one cause, however many objects it was tried with
        assert names_in(shelf.spool.uploaded) == names_in(shelf.spool.failed) == []
        link_error = status_of(shelf.spool).link
        assert link_error is not None
        link.heal()
        shelf.wait_until_sent(uploader)
        uploader.wait_for("upload_resumed")
    shelf.assert_stored_once(s3_store)
    account(
        f"{met.done} requests answered by a login page", "nothing", f"none taken for success, {len(said)} lines logged"
    )


def test_poison_file(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None]) -> None:
    """Files that can never be uploaded end in failed/ with a reason each; every segment between them arrives."""
    poison = {
        "yellow_box_7.mp4": b"this is no video\n" * 999,
        "yellow_box_8.mp4": b"",
        "holiday.mp4": b"whatever",
        "notes.txt": b"buy batteries",
        "yellow_box_" + "1" * 230 + ".mp4": b"whatever",
    }
    for number, (name, content) in enumerate(poison.items()):
        shelf.add(9000 + number)
        scratch = shelf.spool.recording / "scratch"
        scratch.write_bytes(content)
        scratch.rename(shelf.spool.ready / name)
    changed = shelf.add(50_000)
    damaged = bytearray(shelf.video(changed).read_bytes())
    damaged[25_000] ^= 1
    shelf.video(changed).write_bytes(damaged)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        uploader.until(lambda: not list(shelf.spool.ready.glob("*")), "ready/ to be empty", 60)
        said = uploader.wait_for("segment_quarantined", len(poison) + 1)
    shelf.assert_stored_once(s3_store, but=[changed])
    reasons = [name for name in names_in(shelf.spool.failed) if name.endswith(".reason")]
    assert len(reasons) == len(said) == len(poison) + 1
    assert video_key(changed) not in {info.key for info in s3_store.list()}
    account(f"{len(said)} poison files among {len(poison)} segments", "nothing", "each set aside with its reason")


@pytest.mark.parametrize("kind", OUTAGES)
@pytest.mark.timeout(600)
def test_link_returns(tmp_path: Path, storm: bool, account: Callable[..., None], kind: str) -> None:
    """The first byte goes at most 2 s after the link returns, whether the kernel tells of it or nobody does."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    chance = random.Random(kind)
    drawn = [(chance.choice((0, 0.5, 2)), chance.uniform(0.5, 12)) for _ in range(20)]
    found = link_returns(tmp_path, OUTAGES[kind], drawn if storm else [(0, 2)])
    assert max(found) <= promised(2), found
    account(f"{kind}, {len(found)} times", "nothing", f"first byte after {max(found):.1f} s at most")
