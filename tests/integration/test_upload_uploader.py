"""The uploader against real stores: what is ready gets there whole, once, and one bad file stops nothing."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import watchdog.observers

from edge_agent.clock import SystemClock
from edge_agent.durable import move_durably
from edge_agent.errors import (
    ContainerMissing,
    CredentialsRefused,
    DiskFull,
    EdgeCaptureError,
    IntegrityMismatch,
    SpoolUnusable,
    StoreThrottled,
    StoreUnreachable,
)
from edge_agent.segment import Segment, video_key
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectInfo, ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.report import Happened, UploadEvent
from edge_agent.upload.rows import State
from tests.support.clock import FakeClock
from tests.support.ports import free_port
from tests.support.upload import DEVICE, Rig, StoreBetween, body_of, fresh_spool, names_in, publish, videos_in


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


def reason_of(spool: Spool, name: str) -> str:
    (reason,) = spool.failed.glob(f"{name[:99]}*.reason")
    return reason.read_text(encoding="utf-8")


def test_what_is_ready_is_uploaded_whole_and_kept(spool: Spool, store: ObjectStore) -> None:
    """Every segment in ready/ becomes one object of the same bytes; file and sidecar move to uploaded/."""
    segments = [publish(spool, number) for number in range(5)]
    with Rig(spool, store) as rig:
        rig.uploader.run_once()
        status = rig.uploader.status()
        assert {row.key for row in rig.ledger.recent(9)} == {video_key(segment) for segment in segments}
    assert [info.key for info in store.list()] == [video_key(segment) for segment in segments]
    for number, segment in enumerate(segments):
        found = store.get(video_key(segment))
        assert found.body == body_of(number)
        assert found.info.content_type == "video/mp4"
    assert names_in(spool.ready) == []
    assert names_in(spool.uploaded) == sorted(f"{s.name}.{end}" for s in segments for end in ("mp4", "json"))
    assert (status.counts[State.VERIFIED], status.waiting, status.waiting_bytes) == (5, 0, 0)
    lanes = [segments[number] for number in (4, 3, 2, 0, 1)]
    told = [(event.stem, event.bytes) for event in rig.happened(Happened.UPLOADED)]
    assert told == [(segment.name.stem, segment.size) for segment in lanes]


def test_an_objects_metadata_is_its_sidecar(spool: Spool, store: ObjectStore) -> None:
    """Whoever finds the object knows everything the box knew of the segment."""
    segment = publish(spool)
    with Rig(spool, store) as rig:
        rig.uploader.run_once()
    assert Segment.from_metadata(store.head(video_key(segment)).metadata) == segment


def test_a_video_dropped_in_by_hand_is_described_and_uploaded(
    spool: Spool, store: ObjectStore, yellow_box: Path
) -> None:
    """A plain name without a sidecar takes device and start from the box and the file, and the rest from the video."""
    taken = datetime(2026, 11, 20, 8, 0, 0, tzinfo=UTC)
    shutil.copy(yellow_box, spool.recording / "x")
    os.utime(spool.recording / "x", (taken.timestamp(), taken.timestamp()))
    (spool.recording / "x").rename(spool.ready / "yellow_box_1.mp4")
    with Rig(spool, store) as rig:
        rig.uploader.run_once()
    (info,) = store.list()
    assert info.key == f"videos/{DEVICE}/2026/11/20/yellow_box_1.mp4"
    segment = Segment.from_metadata(store.head(info.key).metadata)
    assert (segment.codec, segment.start, segment.clock) == ("h264", taken, "unsynchronised")
    assert segment.frames > 1
    assert segment.duration > 0.1
    assert segment.width > segment.height > 0
    assert store.get(info.key).body == yellow_box.read_bytes()
    assert Spool(spool.root).sidecar(spool.uploaded / "yellow_box_1.mp4") == segment


def test_a_taken_name_without_a_sidecar_keeps_its_device_and_start(
    spool: Spool, directory_store: DirectoryStore, black_cup: Path
) -> None:
    """A take that spells device, camera and start is believed over the box's own name and the file's time."""
    shutil.copy(black_cup, spool.ready / "black_cup_gate3-cam2-20261122T143105123Z.mp4")
    with Rig(spool, directory_store) as rig:
        rig.uploader.run_once()
    (info,) = directory_store.list()
    assert info.key == "videos/gate3/2026/11/22/black_cup_gate3-cam2-20261122T143105123Z.mp4"
    assert Segment.from_metadata(directory_store.head(info.key).metadata).camera == "cam2"


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
POISON = {
    "yellow_box_7.mp4": (b"this is no video\n" * 99, "VideoUnreadable", "no readable MP4"),
    "yellow_box_8.mp4": (b"", "VideoUnreadable", "no readable MP4"),
    "yellow_box_9.mp4": (PLAYLIST, "VideoUnreadable", "no readable MP4"),
    "holiday.mp4": (b"whatever", "NameInvalid", "is no segment name"),
    "YELLOW_box_1.mp4": (b"whatever", "NameInvalid", "is no segment name"),
    "line\nbreak_box_1.mp4": (b"whatever", "NameInvalid", "is no segment name"),
    "yellow_box_" + "1" * 240 + ".mp4": (b"whatever", "NameInvalid", "too long"),
    "notes.txt": (b"buy batteries", "NameInvalid", "segments end in .mp4"),
    os.fsdecode(b"\xff\xfe_box_1.mp4"): (b"whatever", "NameInvalid", "is no segment name"),
}


@pytest.mark.parametrize("name", POISON, ids=ascii)
def test_a_poison_file_is_set_aside_with_its_reason_and_blocks_no_other(
    spool: Spool, directory_store: DirectoryStore, name: str
) -> None:
    """Whatever lands in ready/, it ends in failed/ with one line that says why, and the segments go on."""
    content, code, reason = POISON[name]
    (spool.ready / name).write_bytes(content)
    segments = [publish(spool, number) for number in range(3)]
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
        counts = rig.ledger.counts()
        (event,) = rig.happened(Happened.QUARANTINED)
    assert event.error is not None
    assert event.error.code == code
    assert names_in(spool.ready) == []
    assert (spool.failed / name).read_bytes() == content
    assert reason in reason_of(spool, name)
    assert reason_of(spool, name).count("\n") == 1
    assert (counts[State.QUARANTINED], counts[State.VERIFIED]) == (1, len(segments))


def test_a_file_that_is_not_what_its_sidecar_says_is_set_aside(spool: Spool, directory_store: DirectoryStore) -> None:
    """A truncated or a changed file is never uploaded as the segment it no longer is."""
    truncated, flipped = publish(spool, 1), publish(spool, 2)
    video = spool.ready / f"{truncated.name}.mp4"
    video.write_bytes(body_of(1)[:-1])
    other = spool.ready / f"{flipped.name}.mp4"
    other.write_bytes(b"X" + body_of(2)[1:])
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
    assert list(directory_store.list()) == []
    assert f"not {truncated.size} with" in reason_of(spool, video.name)
    assert flipped.crc64nvme in reason_of(spool, other.name)
    assert names_in(spool.failed) == sorted(
        f"{segment.name}.{end}" for segment in (truncated, flipped) for end in ("mp4", "json", "mp4.reason")
    )


@pytest.mark.parametrize("sidecar", ["", "[]", '{"name": "yellow_box_1"}', "\xff"])
def test_a_malformed_sidecar_is_set_aside_with_its_video(
    spool: Spool, directory_store: DirectoryStore, sidecar: str, yellow_box: Path
) -> None:
    """A sidecar nobody can read is a reason, not a crash; deleted, and the video put back, the video is uploaded."""
    shutil.copy(yellow_box, spool.ready / "yellow_box_1.mp4")
    (spool.ready / "yellow_box_1.json").write_text(sidecar, encoding="latin-1")
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
        assert "delete the sidecar" in reason_of(spool, "yellow_box_1.mp4")
        (spool.failed / "yellow_box_1.json").unlink()
        (spool.failed / "yellow_box_1.mp4").rename(spool.ready / "yellow_box_1.mp4")
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 1
    assert videos_in(spool.uploaded) == ["yellow_box_1.mp4"]


def test_a_stray_file_does_not_take_a_segments_sidecar_along(spool: Spool, directory_store: DirectoryStore) -> None:
    """A file of the same stem but another suffix is set aside alone."""
    segment = publish(spool)
    stray = spool.ready / f"{segment.name}.avi"
    stray.write_bytes(b"RIFF")
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
    assert names_in(spool.failed) == [stray.name, f"{stray.name}.reason"]
    assert Segment.from_metadata(directory_store.head(video_key(segment)).metadata) == segment


def test_a_conflict_keeps_both(spool: Spool, store: ObjectStore) -> None:
    """A key that holds other bytes is never overwritten; the file waits in failed/ for a person; others go on."""
    segment, other = publish(spool, 1), publish(spool, 2)
    store.put(video_key(segment), b"what somebody else stored")
    with Rig(spool, store) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.CONFLICT] == 1
        (event,) = rig.happened(Happened.CONFLICTED)
    assert event.stem == segment.name.stem
    assert store.get(video_key(segment)).body == b"what somebody else stored"
    assert (spool.failed / f"{segment.name}.mp4").read_bytes() == body_of(1)
    assert store.uri(video_key(segment)) in reason_of(spool, f"{segment.name}.mp4")
    assert store.get(video_key(other)).body == body_of(2)


def test_an_equal_object_without_a_checksum_is_compared_byte_by_byte(spool: Spool, store: ObjectStore) -> None:
    """An object that another tool stored, with the same bytes, is success and not sent again."""

    class Forgetful(StoreBetween):
        def head(self, key: str) -> ObjectInfo:
            return replace(super().head(key), checksum=None, etag="opaque")

    segment = publish(spool)
    between = Forgetful(store)
    store.put(video_key(segment), body_of(0))
    with Rig(spool, between) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 1
    assert between.calls["checkout"] == 1


def test_a_missing_bucket_is_said_once_and_waited_for(
    spool: Spool, moto_endpoint: str, aws_environment: None, tmp_path: Path
) -> None:
    """Until an operator creates the bucket no attempt is counted, then all is uploaded."""
    segments = [publish(spool, number) for number in range(3)]
    store = S3Store(f"late-{tmp_path.name}".replace("_", "-"), endpoint_url=moto_endpoint, region="us-east-1")
    clock = FakeClock()
    clock.after(600, lambda: store.client.create_bucket(Bucket=store.name))
    with Rig(spool, store, clock) as rig:
        rig.run_until_empty()
        status = rig.uploader.status()
        assert all(row.attempts == 0 for row in rig.ledger.recent(3))
    postponed = rig.happened(Happened.POSTPONED)
    assert all(isinstance(event.error, ContainerMissing) and event.stem == "" for event in postponed)
    assert all(1 <= event.retry_in <= 30 for event in postponed)
    assert len(rig.happened(Happened.RESUMED)) == 1
    assert status.link is None
    assert status.counts[State.VERIFIED] == len(segments)
    assert clock.monotonic() <= 600 + 30
    store.close()


def test_a_missing_directory_is_waited_for(spool: Spool, tmp_path: Path) -> None:
    """The directory store waits for its directory as the bucket's does, say for a disk that is mounted late."""
    publish(spool)
    clock = FakeClock()
    clock.after(100, (tmp_path / "late").mkdir)
    with Rig(spool, DirectoryStore(tmp_path / "late"), clock) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 1
    assert {event.error.code for event in rig.happened(Happened.POSTPONED) if event.error} == {"ContainerMissing"}


LINK_ERRORS = [
    CredentialsRefused("signature does not match", where="s3://raw", fix="renew the key"),
    StoreUnreachable("timed out", where="s3://raw"),
    StoreThrottled("slow down", where="s3://raw"),
    DiskFull("no space left on device", where="/store"),
]


@pytest.mark.parametrize("error", LINK_ERRORS, ids=lambda error: error.code)
def test_what_is_wrong_with_the_link_is_said_once_and_charged_to_no_file(
    spool: Spool, directory_store: DirectoryStore, error: EdgeCaptureError
) -> None:
    """Ten failures in a row are one line in the log, no attempt of any file, and shown by the status until over."""
    segments = [publish(spool, number) for number in range(3)]
    links: list[object] = []

    class Refusing(StoreBetween):
        def before_put(self, key: str) -> None:
            if self.count("tried") <= 10:
                raise error
            links.append(rig.uploader.status().link)

    with structlog.testing.capture_logs() as logs, Rig(spool, Refusing(directory_store)) as rig:
        rig.run_until_empty()
        assert rig.uploader.status().counts[State.VERIFIED] == len(segments)
        assert rig.uploader.status().last_error is None
    assert len(rig.happened(Happened.POSTPONED)) == 10
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert [(log["event"], log["code"], log["error"]) for log in warnings] == [
        ("upload_postponed", error.code, str(error))
    ]
    assert links[0] is not None
    assert links[1:] == [None, None]


def test_a_dead_endpoint_is_one_error_of_one_line(spool: Spool, aws_environment: None) -> None:
    """run_once says what is wrong with the link and leaves the queue as it was."""
    publish(spool)
    store = S3Store("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}", region="us-east-1")
    with Rig(spool, store) as rig:
        with pytest.raises(EdgeCaptureError) as caught:
            rig.uploader.run_once()
        assert rig.uploader.status().waiting == 1
    store.close()
    assert caught.value.code == "StoreUnreachable"
    assert "\n" not in str(caught.value)
    assert len(videos_in(spool.ready)) == 1


def test_a_file_that_fails_lets_the_others_pass_and_is_tried_again(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """A file whose puts arrive damaged backs off alone, 2 s, 4 s, 8 s, while others are uploaded."""
    segment, other = publish(spool, 1), publish(spool, 2)

    class Damaging(StoreBetween):
        def before_put(self, key: str) -> None:
            if key == video_key(segment) and self.count("damaged") <= 3:
                raise IntegrityMismatch("arrived damaged", where=key)

    with Rig(spool, Damaging(directory_store)) as rig:
        rig.run_until_empty()
    assert [event.retry_in for event in rig.happened(Happened.POSTPONED)] == [2, 4, 8]
    assert [event.stem for event in rig.happened(Happened.UPLOADED)] == [other.name.stem, segment.name.stem]


def test_a_file_that_changes_while_it_is_uploaded_is_not_taken_for_verified(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """What was stored is not what is there any more: nothing moves to uploaded/, and a person is asked."""
    segment = publish(spool)
    video = spool.ready / f"{segment.name}.mp4"

    class Slow(StoreBetween):
        def after_put(self, key: str) -> None:
            with video.open("ab") as file:
                file.write(b"more")

    with Rig(spool, Slow(directory_store)) as rig:
        rig.run_until_empty()
        (first,) = rig.happened(Happened.POSTPONED)
        assert first.error is not None
        assert first.error.code == "IntegrityMismatch"
        assert rig.ledger.counts()[State.QUARANTINED] == 1
    assert names_in(spool.uploaded) == []


def test_a_file_an_operator_removed_is_a_tombstone(spool: Spool, directory_store: DirectoryStore) -> None:
    """Footage that left ready/ before it was uploaded is accounted for, and stops nothing."""
    gone, stays = publish(spool, 1), publish(spool, 2)

    class Removing(StoreBetween):
        def before_put(self, key: str) -> None:
            if key == video_key(gone):
                (spool.ready / f"{gone.name}.mp4").unlink()

    with Rig(spool, Removing(directory_store)) as rig:
        rig.run_until_empty()
        counts = rig.ledger.counts()
    assert (counts[State.EVICTED], counts[State.VERIFIED]) == (1, 1)
    assert [event.stem for event in rig.happened(Happened.VANISHED)] == [gone.name.stem]
    assert videos_in(spool.uploaded) == [f"{stays.name}.mp4"]


def test_a_file_renamed_into_ready_is_uploaded_promptly(spool: Spool, directory_store: DirectoryStore) -> None:
    """With a rescan an hour away, the arrival itself starts the upload."""
    uploaded, stop = threading.Event(), threading.Event()

    def told(event: UploadEvent) -> None:
        if event.what is Happened.UPLOADED:
            uploaded.set()

    with Rig(spool, directory_store, SystemClock(), rescan_seconds=3600, on_event=told) as rig:
        thread = threading.Thread(target=rig.uploader.run, args=(stop,))
        thread.start()
        try:
            publish(spool, 1)
            assert uploaded.wait(60)
            uploaded.clear()
            part = spool.recording / "by-hand"
            publish(fresh_spool(spool.root / "elsewhere"), 2)
            for name in names_in(spool.root / "elsewhere" / "ready"):  # the sidecar sorts first, as it must come
                move_durably(spool.root / "elsewhere" / "ready" / name, part)
                part.rename(spool.ready / name)
            assert uploaded.wait(60)
        finally:
            stop.set()
            thread.join()


def test_without_a_watcher_the_rescan_finds_everything(
    spool: Spool, directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box out of inotify watches uploads later, not never."""

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(watchdog.observers, "Observer", refuse)
    clock, stop = FakeClock(), threading.Event()
    clock.after(45, lambda: publish(spool))
    clock.after(100, stop.set)
    seen: list[float] = []
    with Rig(spool, directory_store, clock, on_event=lambda _: seen.append(clock.monotonic())) as rig:
        rig.uploader.run(stop)
    assert seen == [60]


def test_an_observer_that_died_is_made_good_by_the_rescan(spool: Spool, directory_store: DirectoryStore) -> None:
    """Losing the observer mid-way loses no segment, and the next rescan starts another."""
    clock, stop = FakeClock(), threading.Event()
    observers: list[threading.Thread] = []

    def kill() -> None:
        (observer,) = (t for t in threading.enumerate() if isinstance(t, watchdog.observers.api.BaseObserver))
        observer.stop()
        observer.join()
        publish(spool)

    def look() -> None:
        observers.extend(t for t in threading.enumerate() if isinstance(t, watchdog.observers.api.BaseObserver))

    clock.after(10, kill)
    clock.after(40, look)
    clock.after(50, stop.set)
    with Rig(spool, directory_store, clock) as rig:
        rig.uploader.run(stop)
    assert len(rig.happened(Happened.UPLOADED)) == 1
    assert len(observers) == 1


def test_a_clock_that_steps_back_a_year_stops_no_upload(spool: Spool, directory_store: DirectoryStore) -> None:
    """Segments noted under a wrong clock are uploaded under the right one."""
    with Rig(spool, DirectoryStore(spool.root / "absent")) as rig:
        publish(spool, 1)
        with pytest.raises(ContainerMissing):
            rig.uploader.run_once()
    clock = FakeClock(datetime(2025, 11, 22, tzinfo=UTC))
    with Rig(spool, directory_store, clock) as rig:
        publish(spool, 2)
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 2
    assert clock.monotonic() < 1


@pytest.mark.parametrize("lost", ["ready", "uploaded"])
def test_a_spool_that_is_not_there_ends_the_uploader_with_one_line(
    spool: Spool, directory_store: DirectoryStore, lost: str
) -> None:
    """A spool that cannot be used is no matter of waiting: it is raised, naming the directory, and loses nothing."""
    publish(spool)
    shutil.move(spool.root / lost, spool.root / "away")
    with Rig(spool, directory_store) as rig, pytest.raises(SpoolUnusable, match=f"spool/{lost}"):
        rig.run_until_empty()
    (spool.root / "away").rename(spool.root / lost)
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
    assert len(list(directory_store.list())) == len(videos_in(spool.uploaded)) == 1


def test_a_stop_ends_the_loop_between_two_files(spool: Spool, directory_store: DirectoryStore) -> None:
    """A stop is obeyed after the files at hand, with the rest left as it was."""
    for number in range(50):
        publish(spool, number)
    stop = threading.Event()
    with Rig(spool, directory_store, on_event=lambda _: stop.set()) as rig:
        rig.uploader.run(stop)
        counts = rig.ledger.counts()
    assert 0 < len(videos_in(spool.uploaded)) < 20
    assert counts[State.VERIFIED] == len(videos_in(spool.uploaded))
    assert counts[State.READY] == len(videos_in(spool.ready)) == 50 - counts[State.VERIFIED]
    assert (spool.root / LEDGER_FILE).exists()
