"""Files that change while they are sent, bytes that change on the way, and two boxes that want the same key."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.segment import Segment, video_key
from edge_agent.store.base import ObjectStore
from edge_agent.store.checksum import crc64nvme
from edge_agent.store.s3 import S3Store
from tests.support.link_faults import FlipBit
from tests.support.localstack import localstack, missing
from tests.support.proxy import Proxy, proxy
from tests.support.relay import Exchange
from tests.support.s3_http import Operation
from tests.support.upload import names_in
from tests.support.uploading import LARGE, Shelf, job_for, uploading


def _when_part_arrives(link: Proxy, number: int, act: Callable[[], object]) -> None:
    """Call *act* once, when part *number* begins to arrive."""
    done: list[Exchange] = []

    def arrived(seen: Exchange) -> None:
        if seen.operation is Operation.PART and seen.number == number and not done:
            done.append(seen)
            act()

    link.on_request = arrived


def _set_aside(shelf: Shelf) -> list[str]:
    return [name for name in names_in(shelf.spool.failed) if name.endswith(".mp4")]


@pytest.mark.parametrize("part", [1, 2, 3])
def test_truncated_during_upload(
    shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None], part: int
) -> None:
    """A file that shrinks while it is sent becomes no object, leaves no upload behind, and holds up no other."""
    victim = shelf.add(LARGE)
    _when_part_arrives(link, part, lambda: os.truncate(shelf.video(victim), LARGE // 2))
    link.shape(60e6)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        uploader.until(lambda: link.count(Operation.PART) >= part, "the part to begin")
        shelf.add(40_000)
        shelf.wait_until_sent(uploader)
        uploader.wait_for("segment_quarantined")
    shelf.assert_stored_once(s3_store, but=[victim])
    assert _set_aside(shelf) == [f"{victim.name}.mp4"]
    account(f"cut to half while part {part} was sent", "nothing", "set aside with its reason, no object of it")


@pytest.mark.parametrize("part", [1, 2, 3])
def test_replaced_during_upload(
    shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None], part: int
) -> None:
    """A file replaced by another of its size while it is sent is never stored as a mixture of the two."""
    victim = shelf.add(LARGE)
    other = shelf.spool.recording / "other"
    other.write_bytes(random.Random(99).randbytes(LARGE))
    _when_part_arrives(link, part, lambda: other.replace(shelf.video(victim)))
    link.shape(60e6)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        uploader.until(lambda: link.count(Operation.PART) >= part, "the part to begin")
        shelf.add(40_000)
        shelf.wait_until_sent(uploader)
    stored = _set_aside(shelf) == []
    if stored:  # it was sent whole before the other came
        assert crc64nvme(s3_store.get(video_key(victim)).body).value == victim.crc64nvme
    shelf.assert_stored_once(s3_store, but=() if stored else [victim])
    account(
        f"replaced while part {part} was sent", "nothing", "stored whole" if stored else "set aside, no object of it"
    )


@pytest.mark.parametrize(("size", "equal"), [(50_000, True), (50_000, False), (LARGE, True), (LARGE, False)])
def test_two_agents_one_key(
    tmp_path: Path,
    shelf: Shelf,
    link: Proxy,
    s3_store: S3Store,
    account: Callable[..., None],
    size: int,
    equal: bool,
) -> None:
    """Of two boxes that want one key at once exactly one gets it; the other's file is kept, unless it is the same."""
    from tests.support.upload import fresh_spool

    rival = Shelf(fresh_spool(tmp_path / "rival"))
    if not equal:
        rival.body = lambda number: random.Random(number + 1000).randbytes(size)  # type: ignore[method-assign]
    ours, theirs = shelf.add(size), rival.add(size)
    assert video_key(ours) == video_key(theirs)
    link.shape(60e6)
    with (
        uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as one,
        uploading(job_for(rival.spool, s3_store.bucket, link.url)) as two,
    ):
        shelf.wait_until_sent(one)
        rival.wait_until_sent(two)
    (info,) = s3_store.list()
    body = s3_store.get(info.key).body
    assert crc64nvme(body).value in (ours.crc64nvme, theirs.crc64nvme)
    lost = [place for place in (shelf, rival) if _set_aside(place)]
    assert len(lost) == (0 if equal else 1)
    for place, segment in ((shelf, ours), (rival, theirs)):
        where = place.spool.failed if place in lost else place.spool.uploaded
        kept = where / f"{segment.name}.mp4"
        assert crc64nvme(kept).value == segment.crc64nvme
        assert place in lost or kept.read_bytes() == body
    assert not list(s3_store.list_multiparts())
    account(
        f"{size / 1e6:.2g} MB, {'equal' if equal else 'different'}", "nothing", f"one object, {len(lost)} kept aside"
    )


@pytest.fixture(scope="module")
def verifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that verifies checksums."""
    if reason := missing():
        pytest.skip(reason)
    with localstack(tmp_path_factory.mktemp("localstack")) as url:
        yield url


@pytest.fixture
def verifying_store(verifying: str, aws_environment: None) -> Iterator[S3Store]:
    store = S3Store(f"flips-{uuid.uuid4().hex[:12]}", endpoint_url=verifying, region="us-east-1")
    store.client.create_bucket(Bucket=store.bucket)
    yield store
    store.close()


def test_bitflip(
    shelf: Shelf, verifying: str, verifying_store: S3Store, storm: bool, account: Callable[..., None]
) -> None:
    """A bit that flips on the way is noticed by the store, charged to nobody's file, and the bytes are sent again."""
    flips = 40 if storm else 3
    chance = random.Random(7)
    for _ in range(3):
        shelf.add(chance.randint(1000, 100_000))
    shelf.add(LARGE)
    with proxy(verifying) as link:
        puts = [link.inject(FlipBit(chance.randint(0, 900)), Operation.PUT, times=1) for _ in range(flips)]
        parts = [link.inject(FlipBit(chance.randint(0, 5 << 20)), Operation.PART, times=1) for _ in range(flips)]
        with uploading(job_for(shelf.spool, verifying_store.bucket, link.url)) as uploader:
            shelf.wait_until_sent(uploader, 3000 if storm else 100)
        met = sum(injected.done for injected in (*puts, *parts))
        _assert_whole(shelf, verifying_store, list(shelf.segments.values()))
    assert met == 2 * flips
    assert names_in(shelf.spool.failed) == []
    account(f"{met} bits flipped on the way", "nothing", "each refused by the store, none stored")


def _assert_whole(shelf: Shelf, store: ObjectStore, segments: list[Segment]) -> None:
    shelf.assert_stored_once(store)
    for segment in segments:
        assert store.head(video_key(segment)).size == segment.size
