"""One segment in parts: resumed, proved, never mixed, never doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog.testing

from edge_agent.errors import (
    CredentialsRefused,
    IntegrityMismatch,
    ObjectConflict,
    StoreUnreachable,
    TransferStopped,
    UploadGone,
    VideoUnreadable,
)
from edge_agent.store.base import Checksum, ObjectInfo, ObjectStore, Part, PendingUpload
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.parts import FIRST_PART, MIB
from edge_agent.upload.rows import State
from edge_agent.upload.stale import NOT_OURS_FOR, TOO_OLD, is_stale
from edge_agent.upload.transfer import Transfer
from tests.support import transfer as one_transfer
from tests.support.clock import FakeClock
from tests.support.transfer import OneSegment, cut_after, footage_of
from tests.support.upload import DEVICE, StoreBetween, fresh_spool, publish

ROOT = Path(__file__).parents[2]
CUT = TransferStopped("the agent stops")
BLOCK = 64 << 10  # the most that is handed to the network at once


@pytest.fixture
def one(tmp_path: Path, store: ObjectStore) -> OneSegment:
    return OneSegment(tmp_path, store)


def cut_at(one: OneSegment, count: int) -> None:
    with pytest.raises(TransferStopped):
        one.attempt(pace=cut_after(count, CUT))


def test_a_large_segment_arrives_in_parts(one: OneSegment) -> None:
    """A segment of three parts becomes one object with its bytes and metadata; nothing is sent twice or left over."""
    between = StoreBetween(one.store)
    info = one.attempt(store=between, perhaps_stored=False)
    assert (info.key, info.size, one.sent) == (one.key, one.size, one.size)
    assert (between.calls["upload_part"], between.calls.get("put_if_absent")) == (3, None)
    assert "head" not in between.calls
    one.assert_stored()


def test_a_small_segment_is_one_request(tmp_path: Path, store: ObjectStore) -> None:
    """A first attempt at a small segment is one conditional put, and nothing besides."""
    one = OneSegment(tmp_path, store, size=100_000)
    between = StoreBetween(store)
    one.attempt(store=between, perhaps_stored=False)
    assert between.calls == {"put_if_absent": 1}
    assert one.sent == one.size
    one.assert_stored()


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_a_small_segment_is_paced_and_can_be_stopped(tmp_path: Path, store: ObjectStore, size: int) -> None:
    """Every byte passes the pace, at most 64 KiB at once; what the pace raises ends the upload with nothing stored."""
    one = OneSegment(tmp_path, store, size=size)
    with pytest.raises(TransferStopped):
        one.attempt(pace=cut_after(BLOCK, CUT))
    one.assert_nothing_stored()
    passed: list[int] = []
    one.attempt(pace=passed.append)
    assert (sum(passed), max(passed) <= BLOCK) == (size, True)
    one.assert_stored()


@pytest.mark.parametrize("memory", ["ledger kept", "ledger lost"])
@pytest.mark.parametrize("cut", [9 * MIB, 16 * MIB, 19 * MIB])
def test_a_cut_costs_no_more_than_the_part_it_fell_in(one: OneSegment, cut: int, memory: str) -> None:
    """Wherever the link is cut, the next attempt sends what is missing, also when only the store remembers."""
    cut_at(one, cut)
    if memory == "ledger lost":
        one.forget()
    one.attempt()
    assert one.sent == one.size - cut // FIRST_PART * FIRST_PART
    one.assert_stored()


def test_a_cut_again_and_again_still_ends(one: OneSegment) -> None:
    """Every attempt that outlives a part brings the segment further."""
    for _ in range(2):
        cut_at(one, 9 * MIB)
    one.attempt()
    assert one.sent == 4 * MIB
    one.assert_stored()


class LosesReply(StoreBetween):
    """Completes, then loses the reply of the first completion."""

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
        info = super().complete_multipart(key, upload_id, parts, checksum)
        if self.calls["complete_multipart"] == 1:
            raise StoreUnreachable("connection reset", where=self.uri(key))
        return info


@pytest.mark.parametrize("memory", ["ledger kept", "ledger lost"])
def test_a_completion_whose_reply_is_lost_is_found_done(one: OneSegment, memory: str) -> None:
    """The next attempt sees that the object is there, byte for byte, and sends nothing."""
    with pytest.raises(StoreUnreachable):
        one.attempt(store=LosesReply(one.store))
    if memory == "ledger lost":
        one.forget()
    one.attempt()
    assert one.sent == 0
    one.assert_stored()


def test_it_is_noted_that_the_store_may_have_it(one: OneSegment) -> None:
    """Before the completion is asked for, the ledger says COMPLETING."""
    states: list[State] = []

    class Looking(StoreBetween):
        def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
            row = ledger.get(one.stem)
            assert row is not None
            states.append(row.state)
            return super().complete_multipart(key, upload_id, parts, checksum)

    with Ledger(one.spool.root / LEDGER_FILE) as ledger:
        ledger.discovered([(one.stem, one.video.name, one.size)], 0)
        Transfer(Looking(one.store), ledger.unfinished, one.clock).upload(one.stem, one.prepared())
    assert states == [State.COMPLETING]


def test_an_upload_that_vanished_is_begun_anew(one: OneSegment) -> None:
    """A store that gave the parts up, as life-cycle rules do after some days, gets them again."""
    cut_at(one, 17 * MIB)
    for pending in list(one.store.list_multiparts()):
        one.store.abort_multipart(pending.key, pending.upload_id)
    one.attempt()
    assert one.sent == one.size
    one.assert_stored()


def test_an_upload_that_vanishes_again_and_again_is_an_error_of_its_own(one: OneSegment) -> None:
    """A store that forgets each upload at once does not keep the attempt busy for ever."""

    class Forgetful(StoreBetween):
        def upload_part(self, key: str, upload_id: str, number: int, body: object, **_: object) -> Part:
            self.inner.abort_multipart(key, upload_id)
            raise UploadGone("no such upload", where=key)

    with pytest.raises(UploadGone):
        one.attempt(store=Forgetful(one.store))
    one.attempt()
    one.assert_stored()


@pytest.mark.parametrize("how", ["truncated", "replaced", "appended", "deleted"])
@pytest.mark.parametrize("when", [9 * MIB, 20 * MIB - BLOCK])
def test_a_file_that_changes_meanwhile_never_becomes_an_object(one: OneSegment, how: str, when: int) -> None:
    """Whatever happens to the file under way, the upload is given up: no object is a mixture, nothing stays behind."""
    passed = 0

    def pace(size: int) -> None:
        nonlocal passed
        if passed < when <= passed + size:
            spoil(one.video, how)
        passed += size

    with pytest.raises(IntegrityMismatch, match="changed while it was uploaded"):
        one.attempt(pace=pace)
    one.assert_nothing_stored()


def spoil(video: Path, how: str) -> None:
    match how:
        case "truncated":
            os.truncate(video, 6 * MIB)
        case "replaced":
            other = video.with_name("other")
            other.write_bytes(footage_of(20 * MIB, seed=1))
            other.replace(video)
        case "appended":
            with video.open("ab") as file:
                file.write(b"more")
        case _:
            video.unlink()


def replace_file(one: OneSegment) -> None:
    """Let another segment stand under its name."""
    one.body = footage_of(one.size, seed=1)
    one.video.write_bytes(one.body)
    one.video.with_suffix(".json").unlink()
    one.segment = publish(fresh_spool(one.root / "other"), 0, one.body)
    one.spool.write_sidecar(one.video, one.segment)


def test_a_file_replaced_between_two_attempts_is_not_mixed_with_the_first(one: OneSegment) -> None:
    """Parts of the old file are given up with their upload when another file has taken its place."""
    cut_at(one, 17 * MIB)
    replace_file(one)
    one.attempt()
    assert one.sent == one.size
    one.assert_stored()


def test_a_large_file_that_is_not_what_its_sidecar_says_needs_a_person(one: OneSegment) -> None:
    """The checksums of the parts make the whole's: damage before the upload is found before there is an object."""
    with one.video.open("r+b") as file:
        file.seek(12 * MIB)
        file.write(b"damage")
    with pytest.raises(VideoUnreadable, match="not the file its sidecar tells of"):
        one.attempt()
    one.assert_nothing_stored()


@pytest.mark.parametrize("memory", ["ledger kept", "ledger lost"])
def test_a_part_that_is_not_the_files_never_counts(one: OneSegment, memory: str) -> None:
    """A part in the store with other bytes is never completed: it is sent again, at the latest by the next attempt."""
    cut_at(one, 17 * MIB)
    (pending,) = one.store.list_multiparts()
    one.store.upload_part(pending.key, pending.upload_id, 1, footage_of(FIRST_PART, seed=2))
    if memory == "ledger lost":
        one.forget()
    elif isinstance(one.store, DirectoryStore):  # it tells the parts' checksums, so they need no reading of the file
        with pytest.raises(IntegrityMismatch, match="parts in the store"):
            one.attempt()
    one.attempt()
    assert one.store.get(one.key).body == one.body


def test_only_the_wrong_part_is_sent_again_when_the_file_was_touched(one: OneSegment) -> None:
    """A file with another time stamp is compared part by part with what the store has."""
    cut_at(one, 17 * MIB)
    (pending,) = one.store.list_multiparts()
    one.store.upload_part(pending.key, pending.upload_id, 1, footage_of(FIRST_PART, seed=2))
    os.utime(one.video, (1, 1))
    one.attempt()
    assert one.sent == FIRST_PART + 4 * MIB
    one.assert_stored()


def test_other_bytes_under_the_key_are_kept_and_told(one: OneSegment) -> None:
    """An object of somebody else is never overwritten; ours is given up, and the conflict raised."""
    one.store.put(one.key, b"somebody else's")
    with pytest.raises(ObjectConflict):
        one.attempt()
    assert one.store.get(one.key).body == b"somebody else's"
    assert list(one.store.list_multiparts()) == []
    assert not one.noted()


def test_the_same_bytes_put_meanwhile_by_another_are_success(one: OneSegment) -> None:
    """Of two agents with one key and one file, the second finds its work done and leaves nothing pending."""

    class Overtaken(StoreBetween):
        def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
            self.inner.put(key, one.video, content_type="video/mp4", metadata=one.segment.to_metadata())
            return super().complete_multipart(key, upload_id, parts, checksum)

    one.attempt(store=Overtaken(one.store))
    one.assert_stored()


class BeginsUnheard(StoreBetween):
    """Begins uploads, but nobody hears of it."""

    def create_multipart(self, key: str, **known: object) -> str:
        super().create_multipart(key, **known)  # type: ignore[arg-type]
        raise StoreUnreachable("connection reset", where=self.uri(key))


class Refuses(StoreBetween):
    """Begins none."""

    def create_multipart(self, key: str, **known: object) -> str:
        raise StoreUnreachable("connection refused", where=self.uri(key))


def test_an_upload_of_whose_beginning_nobody_heard_is_gone_on_with(one: OneSegment) -> None:
    """A lost reply, or a kill between the store's reply and the note of it, leaves nothing pending behind."""
    between = StoreBetween(one.store)
    with pytest.raises(StoreUnreachable):
        one.attempt(store=BeginsUnheard(one.store))
    one.attempt(store=between)
    assert "create_multipart" not in between.calls
    assert one.sent == one.size
    one.assert_stored()


def test_an_upload_that_was_never_begun_is_not_waited_for(one: OneSegment) -> None:
    """What the ledger asked for and the store never heard of is begun, beside another agent's that has parts."""
    rival = one.store.create_multipart(one.key)
    one.store.upload_part(one.key, rival, 1, footage_of(FIRST_PART, seed=2))
    with pytest.raises(StoreUnreachable):
        one.attempt(store=Refuses(one.store))
    one.attempt()
    assert one.store.get(one.key).body == one.body
    assert [pending.upload_id for pending in one.store.list_multiparts()] == [rival]


def test_what_another_agent_began_meanwhile_is_left_to_it(one: OneSegment) -> None:
    """Nobody heard whether an upload was begun, and its file is another one now: none in the store is taken for it."""
    with pytest.raises(StoreUnreachable):
        one.attempt(store=Refuses(one.store))
    rival = one.store.create_multipart(one.key)
    replace_file(one)
    one.attempt()
    assert one.store.get(one.key).body == one.body
    assert [pending.upload_id for pending in one.store.list_multiparts()] == [rival]


def test_two_agents_in_one_upload_never_make_a_mixture(one: OneSegment) -> None:
    """Should the upload that is gone on with be another's, who replaces a part: it is refused, and begun anew."""
    with pytest.raises(StoreUnreachable):
        one.attempt(store=BeginsUnheard(one.store))

    class Shared(StoreBetween):
        def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
            if self.count("rival") == 1:
                self.inner.upload_part(key, upload_id, 2, footage_of(FIRST_PART, seed=2))
            return super().complete_multipart(key, upload_id, parts, checksum)

    shared = Shared(one.store)
    with pytest.raises(IntegrityMismatch):
        one.attempt(store=shared)
    one.attempt(store=shared)
    one.assert_stored()


class ListsNothing(StoreBetween):
    """As a device's role is: it may not list uploads."""

    def list_multiparts(self, prefix: str = "") -> Iterator[PendingUpload]:
        raise CredentialsRefused("not allowed", where=prefix)


def test_a_role_that_may_not_list_uploads_still_resumes(one: OneSegment) -> None:
    """What the ledger knows is enough; without both, the segment is sent anew."""
    cut_at(one, 17 * MIB)
    one.attempt(store=ListsNothing(one.store))
    assert one.sent == 4 * MIB
    one.store.delete(one.key)
    cut_at(one, 17 * MIB)
    one.forget()
    one.attempt(store=ListsNothing(one.store))
    assert one.sent == one.size


def test_only_uploads_without_a_future_are_aborted(one: OneSegment) -> None:
    """At a start, what belongs to segments that wait stays, and what belongs to other devices too."""
    cut_at(one, 17 * MIB)
    other = one.store.create_multipart("videos/dock70/2026/11/22/a_b_1.mp4")
    orphan = one.store.create_multipart(f"videos/{DEVICE}/2026/11/22/a_b_1.mp4")
    clock = FakeClock(datetime.now(UTC))
    with Ledger(one.spool.root / LEDGER_FILE) as ledger:
        transfer = Transfer(one.store, ledger.unfinished, clock)
        clock.advance(NOT_OURS_FOR.total_seconds() + 60)
        with structlog.testing.capture_logs() as logs:
            assert transfer.abort_stale(DEVICE) == 1
        assert [line["upload_id"] for line in logs] == [orphan]
        ledger.vanished(one.stem, VideoUnreadable("left ready/"), 0)
        assert Transfer(ListsNothing(one.store), ledger.unfinished, clock).abort_stale(DEVICE) == 1
    assert [pending.upload_id for pending in one.store.list_multiparts()] == [other]
    assert not one.noted()


def test_an_unknown_upload_is_stale_after_a_day_or_a_week() -> None:
    """One whose segment waits may be found again for a week; any other has a day, should it be another agent's."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    pending = PendingUpload("videos/dock7/a.mp4", "u", now)
    for waiting, age in ((False, NOT_OURS_FOR), (True, TOO_OLD)):
        assert not is_stale(replace(pending, initiated=now - age), now, waiting=waiting)
        assert is_stale(replace(pending, initiated=now - age - timedelta(seconds=1)), now, waiting=waiting)


def test_a_kill_in_the_middle_costs_one_part(tmp_path: Path, s3_store: S3Store) -> None:
    """An uploader killed with SIGKILL at 60 % of 40 MiB, and one begun anew, send at most one part twice."""
    one = OneSegment(tmp_path, s3_store, size=40 * MIB)
    endpoint = s3_store.client.meta.endpoint_url
    command = [sys.executable, one_transfer.__file__, str(one.spool.root), one.video.name, s3_store.name, endpoint]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = 0
        for line in process.stdout:
            before = int(line)
            if before >= one.size * 6 // 10:
                process.kill()
                break
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == -9
    one.attempt()
    assert one.size <= before + one.sent <= one.size + FIRST_PART
    one.assert_stored()
