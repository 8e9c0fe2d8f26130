"""The multipart promises of :class:`edge_agent.store.base.ObjectStore`, kept by every adapter."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.errors import (
    IntegrityMismatch,
    KeyInvalid,
    ObjectExists,
    ObjectNotFound,
    StoreThrottled,
    UploadGone,
)
from edge_agent.store import ObjectStore
from edge_agent.store.base import BLOCK, FileSlice, Part
from edge_agent.store.checksum import crc64nvme, is_object, is_part
from edge_agent.store.directory import DirectoryStore
from tests.contracts.test_store import together

MIB = 1 << 20
PART = 5 * MIB  # S3's smallest, for all parts but the last
KEY = "videos/dock7/yellow_box_1.mp4"
BIG = random.Random(4).randbytes(PART)
SMALL = b"the rest"
GONE = "0123456789abcdef0123456789abcdef"


def send(store: ObjectStore, key: str = KEY, bodies: tuple[bytes, ...] = (BIG, SMALL)) -> tuple[str, list[Part]]:
    """A new upload with all its parts."""
    upload_id = store.create_multipart(key)
    return upload_id, [store.upload_part(key, upload_id, number, body) for number, body in enumerate(bodies, 1)]


def test_parts_in_any_order_become_one_object(store: ObjectStore) -> None:
    """Parts sent out of order are listed by number and become one object with the type and metadata named at first."""
    upload_id = store.create_multipart(KEY, content_type="video/mp4", metadata={"class-tag": "yellow_box"})
    second = store.upload_part(KEY, upload_id, 2, SMALL)
    first = store.upload_part(KEY, upload_id, 1, BIG)
    listed = store.list_parts(KEY, upload_id)
    assert [(part.number, part.size, part.etag) for part in listed] == [
        (1, len(BIG), first.etag),
        (2, len(SMALL), second.etag),
    ]
    assert [is_part(part, body) for part in listed for body in (BIG, SMALL)] == [True, False, False, True]
    whole = crc64nvme(BIG + SMALL)
    completed = store.complete_multipart(KEY, upload_id, listed, whole)
    got = store.get(KEY)
    assert got.body == BIG + SMALL
    assert (got.info.content_type, dict(got.info.metadata)) == ("video/mp4", {"class-tag": "yellow_box"})
    assert (completed.key, completed.size, completed.etag) == (KEY, len(BIG + SMALL), got.info.etag)
    assert completed.checksum == got.info.checksum == store.head(KEY).checksum == whole
    assert list(store.list_multiparts()) == []


def test_nothing_is_seen_of_an_upload_before_it_is_completed(store: ObjectStore) -> None:
    """Until completion there is no object, and the upload is pending."""
    upload_id, _ = send(store)
    assert list(store.list()) == []
    with pytest.raises(ObjectNotFound):
        store.head(KEY)
    (pending,) = store.list_multiparts()
    assert (pending.key, pending.upload_id) == (KEY, upload_id)


def test_it_is_told_when_an_upload_was_begun(verifying_store: ObjectStore) -> None:
    """A pending upload carries the time of its beginning; moto, which says 2010, is not asked."""
    verifying_store.create_multipart(KEY)
    (pending,) = verifying_store.list_multiparts()
    assert abs(pending.initiated - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_upload_of_one_part_may_be_small(store: ObjectStore) -> None:
    """The last part may have any size, also when it is the only one."""
    upload_id, parts = send(store, bodies=(SMALL,))
    store.complete_multipart(KEY, upload_id, parts, crc64nvme(SMALL))
    assert store.get(KEY).body == SMALL


def test_a_part_sent_again_replaces_the_first(store: ObjectStore) -> None:
    """Of two parts with one number the later counts, and what was told of the earlier cannot complete anything."""
    upload_id = store.create_multipart(KEY)
    stale = store.upload_part(KEY, upload_id, 1, b"first")
    fresh = store.upload_part(KEY, upload_id, 1, b"second try")
    assert [part.etag for part in store.list_parts(KEY, upload_id)] == [fresh.etag]
    with pytest.raises(IntegrityMismatch):
        store.complete_multipart(KEY, upload_id, [stale], crc64nvme(b"first"))
    store.complete_multipart(KEY, upload_id, [fresh], crc64nvme(b"second try"))
    assert store.get(KEY).body == b"second try"


def test_parts_come_from_slices_of_a_file(store: ObjectStore, tmp_path: Path) -> None:
    """Parts cut from a file by offset and size become that file's bytes."""
    path = tmp_path / "video"
    path.write_bytes(BIG + SMALL)
    upload_id = store.create_multipart(KEY)
    slices = [FileSlice(path, 0, PART), FileSlice(path, PART, len(SMALL))]
    parts = [store.upload_part(KEY, upload_id, number, part) for number, part in enumerate(slices, 1)]
    assert all(is_part(part, body) for part, body in zip(parts, slices, strict=True))
    info = store.complete_multipart(KEY, upload_id, parts, crc64nvme(path))
    assert is_object(info, path, crc64nvme(path), PART) is True
    assert store.get(KEY).body == BIG + SMALL


def test_a_wrong_whole_is_refused(verifying_store: ObjectStore) -> None:
    """A completion with a checksum that is not that of the parts raises IntegrityMismatch and makes no object."""
    upload_id, parts = send(verifying_store)
    with pytest.raises(IntegrityMismatch):
        verifying_store.complete_multipart(KEY, upload_id, parts, crc64nvme(BIG))
    assert list(verifying_store.list()) == []
    verifying_store.complete_multipart(KEY, upload_id, parts, crc64nvme(BIG + SMALL))


def test_a_body_that_is_not_what_the_caller_knows_is_refused(verifying_store: ObjectStore, tmp_path: Path) -> None:
    """A put or part handed over with a checksum stores bytes that have it, and no others."""
    path = tmp_path / "video"
    path.write_bytes(SMALL * 200_000)
    right, wrong = crc64nvme(path), crc64nvme(SMALL)
    for body in (path, FileSlice(path, 0, path.stat().st_size), path.read_bytes()):
        upload_id = verifying_store.create_multipart(KEY)
        with pytest.raises(IntegrityMismatch):
            verifying_store.upload_part(KEY, upload_id, 1, body, checksum=wrong)
        assert verifying_store.list_parts(KEY, upload_id) == []
        assert verifying_store.upload_part(KEY, upload_id, 1, body, checksum=right).checksum == right
        verifying_store.abort_multipart(KEY, upload_id)
        with pytest.raises(IntegrityMismatch):
            verifying_store.put_if_absent(KEY, body, checksum=wrong)
        assert list(verifying_store.list()) == []
        assert verifying_store.put_if_absent(KEY, body, checksum=right).checksum == right
        verifying_store.delete(KEY)


def test_completion_never_overwrites(store: ObjectStore) -> None:
    """When the key was taken meanwhile, completion raises ObjectExists and the object stays as it is."""
    upload_id, parts = send(store, bodies=(SMALL,))
    store.put(KEY, b"somebody was quicker")
    with pytest.raises(ObjectExists):
        store.complete_multipart(KEY, upload_id, parts, crc64nvme(SMALL))
    assert store.get(KEY).body == b"somebody was quicker"
    store.abort_multipart(KEY, upload_id)
    assert list(store.list_multiparts()) == []


def test_of_racing_completions_exactly_one_succeeds(store: ObjectStore) -> None:
    """Of eight uploads to one key that are completed at once one becomes the object, and seven hear of it."""
    bodies = [b"%d" % number for number in range(8)]
    uploads = [send(store, bodies=(body,)) for body in bodies]

    def complete(number: int) -> object:
        upload_id, parts = uploads[number]
        try:
            return store.complete_multipart(KEY, upload_id, parts, crc64nvme(bodies[number]))
        except (UploadGone, StoreThrottled) as error:  # overtaken in the middle, which S3 calls a conflict
            return error

    results = together([lambda number=number: complete(number) for number in range(8)])  # type: ignore[misc]
    winners = [number for number, result in enumerate(results) if not isinstance(result, Exception)]
    assert len(winners) == 1
    assert store.get(KEY).body == bodies[winners[0]]


@pytest.mark.parametrize("upload_id", [GONE, "never-was", "../../x", "a" * 200])
def test_an_upload_the_store_does_not_know_is_gone(store: ObjectStore, upload_id: str) -> None:
    """Every call with an id of no pending upload raises UploadGone, but for abort, which has nothing to do."""
    calls: list[Callable[[], object]] = [
        lambda: store.upload_part(KEY, upload_id, 1, SMALL),
        lambda: store.list_parts(KEY, upload_id),
        lambda: store.complete_multipart(KEY, upload_id, [Part(1, len(SMALL), "0" * 32)], crc64nvme(SMALL)),
    ]
    for call in calls:
        with pytest.raises(UploadGone):
            call()
    store.abort_multipart(KEY, upload_id)
    assert list(store.list()) == []


def test_what_ended_is_gone(store: ObjectStore) -> None:
    """After abort or completion the upload is unknown; an abort may be repeated."""
    aborted, _ = send(store, bodies=(SMALL,))
    store.abort_multipart(KEY, aborted)
    store.abort_multipart(KEY, aborted)
    completed, parts = send(store, bodies=(SMALL,))
    store.complete_multipart(KEY, completed, parts, crc64nvme(SMALL))
    for upload_id in (aborted, completed):
        with pytest.raises(UploadGone):
            store.list_parts(KEY, upload_id)
        with pytest.raises(UploadGone):
            store.upload_part(KEY, upload_id, 2, SMALL)
    if isinstance(store, DirectoryStore):
        left = list((store.root / ".store/uploads").rglob("*"))
        assert left == []


def test_an_upload_belongs_to_its_key(verifying_store: ObjectStore) -> None:
    """The id of an upload to another key is of no use; moto does not look."""
    upload_id, _ = send(verifying_store, bodies=(SMALL,))
    with pytest.raises(UploadGone):
        verifying_store.list_parts("videos/other.mp4", upload_id)
    with pytest.raises(UploadGone):
        verifying_store.upload_part("videos/other.mp4", upload_id, 1, SMALL)


def test_pending_uploads_are_found_by_prefix(store: ObjectStore) -> None:
    """list_multiparts tells every pending upload under a prefix, several to one key too."""
    wanted = {(key, store.create_multipart(key)) for key in ("videos/a", "videos/a", "videos/b", "other/a")}
    assert len(wanted) == 4
    assert {(each.key, each.upload_id) for each in store.list_multiparts()} == wanted
    under = {(each.key, each.upload_id) for each in store.list_multiparts("videos/")}
    assert under == {pair for pair in wanted if pair[0].startswith("videos/")}


def test_unsafe_keys_and_metadata_begin_nothing(store: ObjectStore) -> None:
    """An upload to a key or with metadata that some store could not take raises KeyInvalid."""
    with pytest.raises(KeyInvalid):
        store.create_multipart("a b")
    with pytest.raises(KeyInvalid):
        store.create_multipart("a", metadata={"a": "ä"})
    assert list(store.list_multiparts()) == []


# -- bodies from files -------------------------------------------------------------------------------------------------


def test_a_put_of_a_slice_stores_that_slice(store: ObjectStore, tmp_path: Path) -> None:
    """Every put takes a part of a file as its body."""
    path = tmp_path / "video"
    path.write_bytes(b"0123456789")
    store.put("a", FileSlice(path, 2, 3))
    assert store.get("a").body == b"234"
    store.put_if_match("a", FileSlice(path, 0, 10), store.head("a").etag)
    store.put_if_absent("b", FileSlice(path, 9, 1))
    store.put("c", FileSlice(path, 10, 0))
    assert [store.get(key).body for key in ("a", "b", "c")] == [b"0123456789", b"9", b""]


@pytest.mark.parametrize("size", [10, 300_000, 3 * MIB + 1])
def test_what_is_sent_is_paced_once_and_in_small_steps(store: ObjectStore, tmp_path: Path, size: int) -> None:
    """pace hears every byte that is sent, once, in steps of at most 64 KiB; a limit can stand on that."""
    path = tmp_path / "video"
    path.write_bytes(bytes(size))
    upload_id = store.create_multipart(KEY)
    sends: list[Callable[[FileSlice], object]] = [
        lambda body: store.put_if_absent("a", body),
        lambda body: store.upload_part(KEY, upload_id, 1, body),
    ]
    for call in sends:
        steps: list[int] = []
        call(FileSlice(path, 0, size, steps.append))
        assert sum(steps) == size
        assert max(steps) <= BLOCK


def test_what_pacing_raises_ends_the_call(store: ObjectStore, tmp_path: Path) -> None:
    """An error of pace comes out as it is, after no further try, and nothing was stored."""
    path = tmp_path / "video"
    path.write_bytes(bytes(MIB))
    told: list[int] = []

    def pace(count: int) -> None:
        told.append(count)
        if len(told) == 3:
            raise StoreThrottled("enough")

    upload_id = store.create_multipart(KEY)
    for call in (
        lambda body: store.put_if_absent("a", body),
        lambda body: store.upload_part(KEY, upload_id, 1, body),
    ):
        told.clear()
        with pytest.raises(StoreThrottled, match="enough"):
            call(FileSlice(path, 0, MIB, pace))
        assert len(told) == 3
    assert list(store.list()) == []
    assert store.list_parts(KEY, upload_id) == []


@pytest.mark.parametrize("size", [1000, 4 * MIB])
def test_a_file_that_became_shorter_is_not_stored(store: ObjectStore, tmp_path: Path, size: int) -> None:
    """A slice that reaches beyond the end of its file raises IntegrityMismatch at once, and stores nothing."""
    path = tmp_path / "video"
    path.write_bytes(bytes(size))
    known = crc64nvme(bytes(size + 1))
    upload_id = store.create_multipart(KEY)
    for pace in (None, lambda _: None):
        with pytest.raises(IntegrityMismatch, match="shorter"):
            store.put_if_absent("a", FileSlice(path, 0, size + 1, pace), checksum=known)
        with pytest.raises(IntegrityMismatch, match="shorter"):
            store.upload_part(KEY, upload_id, 1, FileSlice(path, 0, size + 1, pace), checksum=known)
    assert list(store.list()) == []
    assert store.list_parts(KEY, upload_id) == []
