"""One video through the pipeline, on both stores."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from cloud.dataset import holding
from cloud.dataset.index import VideoIndex
from cloud.dataset.manifest import Appended, append, make_line
from cloud.dataset.parked import read as read_parked
from cloud.events import ObjectRef
from cloud.judge.rules import JudgeRules
from cloud.local import LocalVideos
from cloud.pipeline import Outcome, Progress, Result, process, remove
from cloud.settings import Sampling, Settings
from edge_agent.clock import SystemClock
from edge_agent.errors import NameInvalid, ObjectConflict, ObjectNotFound, PreconditionFailed, VideoUnreadable
from edge_agent.segment import ClassTag, Segment, SegmentName, Take, video_key
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from tests.support.clock import FakeClock

OFF = {name: {"action": "off"} for name in JudgeRules.model_fields}
SETTINGS = Settings.model_validate(
    {"dataset": "unused", "sampling": {"every": 10}, "sheet": {"tile_width": 64}, "judges": OFF}
)
START = datetime(2026, 11, 22, 14, 31, 5, 123000, UTC)


@pytest.fixture(scope="module")
def clip(black_cup: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 25 frames of the black cup."""
    return cut(black_cup, tmp_path_factory.mktemp("clips") / "clip.mp4", 25)


def cut(source: Path, target: Path, packets: int) -> Path:
    with av.open(source) as given, av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in itertools.islice((p for p in given.demux(stream) if p.size), packets):
            packet.stream = copy
            made.mux(packet)
    return target


def run(store: ObjectStore, key: str, settings: Settings = SETTINGS, etag: str | None = None) -> Result:
    return process(ObjectRef(store.name, key, etag=etag), store, store, settings, FakeClock())


def lines(store: ObjectStore, key: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in store.get(key).body.decode().splitlines()]


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_a_video_becomes_frames_sheet_index_and_lines(store: ObjectStore, clip: Path) -> None:
    """A hand-made take: everything stands where the layout says, and the index agrees with the manifest."""
    store.put("videos/black_cup_1.mp4", clip)
    result = run(store, "videos/black_cup_1.mp4")
    frames = [f"frames/black_cup_1/black_cup_1_{index:06d}.jpg" for index in (0, 10, 20)]
    assert keys(store, "frames/") == frames
    assert keys(store, "previews/") == ["previews/black_cup_1.jpg"]
    assert lines(store, "manifests/black_cup/undated.manifest") == [
        {"source-ref": store.uri(key), "color": "black", "object": "cup"} for key in frames
    ]
    index = VideoIndex.from_json(store.get("index/black_cup_1.json").body)
    assert index is not None
    assert result.index == index
    assert [frame.key for frame in index.frames] == frames
    assert [frame.at for frame in index.frames] == [None] * 3
    assert (index.decode.frames, index.decode.lost, index.decode.truncated) == (25, 0, False)
    assert store.get(frames[0]).body[:2] == b"\xff\xd8"
    assert store.head(frames[0]).content_type == "image/jpeg"


def test_the_daemons_metadata_tells_where_and_when(store: ObjectStore, clip: Path) -> None:
    """A segment with metadata: partition of its day and device, wall-clock time of every frame."""
    take = Take("dock7", "cam1", START)
    name = SegmentName(ClassTag.parse("black_cup"), str(take))
    segment = Segment(name, "dock7", "cam1", START, 0.9, 25, "h264", 640, 480, clock="unsynchronised")
    store.put(video_key(segment), clip, metadata=segment.to_metadata())
    index = run(store, video_key(segment)).index
    assert index is not None
    assert index.manifest == "manifests/black_cup/2026-11-22-dock7.manifest"
    assert (index.segment.device, index.segment.camera, index.segment.clock) == ("dock7", "cam1", "unsynchronised")
    assert index.segment.start == "2026-11-22T14:31:05.123Z"
    assert index.frames[1].at == "2026-11-22T14:31:05.496Z"


def test_metadata_that_disagrees_with_the_name_is_an_error(store: ObjectStore, clip: Path) -> None:
    """A renamed object is reported, not filed under a class it may not have."""
    name = SegmentName.parse("black_cup_1")
    segment = Segment(name, "dock7", "cam1", START, 0.9, 25, "h264", 640, 480)
    store.put("videos/yellow_box_1.mp4", clip, metadata=segment.to_metadata())
    with pytest.raises(NameInvalid, match=r"videos/yellow_box_1\.mp4: its metadata names it black_cup_1"):
        run(store, "videos/yellow_box_1.mp4")
    assert keys(store, "frames/") == []


def test_a_second_time_costs_no_decode_and_no_write(store: ObjectStore, clip: Path) -> None:
    """A duplicate event finds everything done; nothing is written."""
    store.put("videos/black_cup_1.mp4", clip)
    run(store, "videos/black_cup_1.mp4")
    before = {info.key: (info.etag, info.modified) for info in store.list()}
    again = run(store, "videos/black_cup_1.mp4", etag=store.head("videos/black_cup_1.mp4").etag)
    assert (again.outcome, again.appended) == (Outcome.UNCHANGED, False)
    assert {info.key: (info.etag, info.modified) for info in store.list()} == before


def test_an_event_of_another_version_is_stale(store: ObjectStore, clip: Path) -> None:
    """An event about what is no longer there does nothing."""
    store.put("videos/black_cup_1.mp4", clip)
    assert run(store, "videos/black_cup_1.mp4", etag="0" * 32).outcome is Outcome.STALE
    assert keys(store, "frames/") == []


def test_other_settings_replace_the_videos_block_and_frames(store: ObjectStore, clip: Path) -> None:
    """Processed with another rate, the old lines and frames go, and other videos' lines stay."""
    for stem in ("black_cup_1", "black_cup_2"):
        store.put(f"videos/{stem}.mp4", clip)
        run(store, f"videos/{stem}.mp4")
    run(store, "videos/black_cup_1.mp4", SETTINGS.model_copy(update={"sampling": Sampling(every=15)}))
    found = [line["source-ref"].rpartition("/")[2] for line in lines(store, "manifests/black_cup/undated.manifest")]
    assert found == [
        "black_cup_1_000000.jpg",
        "black_cup_1_000015.jpg",
        "black_cup_2_000000.jpg",
        "black_cup_2_000010.jpg",
        "black_cup_2_000020.jpg",
    ]
    assert keys(store, "frames/black_cup_1/") == [f"frames/black_cup_1/{name}" for name in found[:2]]


def test_frames_that_were_deleted_come_back(store: ObjectStore, clip: Path) -> None:
    """The index is believed only as long as its frames are there."""
    store.put("videos/black_cup_1.mp4", clip)
    run(store, "videos/black_cup_1.mp4")
    store.delete("frames/black_cup_1/black_cup_1_000010.jpg")
    assert run(store, "videos/black_cup_1.mp4").outcome is Outcome.PROCESSED
    assert len(keys(store, "frames/")) == 3


def test_a_video_that_is_gone_is_said_to_be_gone(store: ObjectStore) -> None:
    """An event for an object that was deleted is one clear line with its address."""
    with pytest.raises(ObjectNotFound) as caught:
        run(store, "videos/black_cup_1.mp4")
    assert str(caught.value).startswith(f"{store.uri('videos/black_cup_1.mp4')}: the video is gone")


@pytest.mark.parametrize("touched", ["nothing", "sheet", "line"])
def test_what_was_made_of_a_video_outlives_it(store: ObjectStore, clip: Path, touched: str) -> None:
    """Raw footage expires; an event that comes late, or once more, then takes nothing away, also of what was edited."""
    store.put("videos/black_cup_1.mp4", clip)
    index = run(store, "videos/black_cup_1.mp4").index
    assert index is not None
    if touched == "sheet":
        store.delete(index.preview)
    elif touched == "line":
        kept = store.get(index.manifest).body.splitlines(keepends=True)[1:]
        store.put(index.manifest, b"".join(kept))
    store.delete("videos/black_cup_1.mp4")
    before = keys(store, ""), lines(store, index.manifest)
    with pytest.raises(ObjectNotFound, match="the video is gone"):
        run(store, "videos/black_cup_1.mp4")
    assert (keys(store, ""), lines(store, index.manifest)) == before


def test_a_video_that_goes_while_it_is_processed_leaves_nothing(
    store: ObjectStore, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted by hand or expired, with no word of it, when its index is there and its lines are not."""

    def seal(*arguments: Any) -> str | None:
        sealed = holding.seal(*arguments)
        store.delete("videos/black_cup_1.mp4")
        return sealed

    store.put("videos/black_cup_1.mp4", clip)
    monkeypatch.setattr("cloud.pipeline.holding", SimpleNamespace(**{**vars(holding), "seal": seal}))
    with pytest.raises(ObjectNotFound, match="the video is gone"):
        run(store, "videos/black_cup_1.mp4")
    assert keys(store, "") in ([], ["manifests/black_cup/undated.manifest"])


def test_a_data_set_that_was_moved_outlives_its_videos(tmp_path: Path, clip: Path) -> None:
    """Its lines name the place it was made at; a late event for footage that expired does not mind."""
    for name in ("raw", "made"):
        (tmp_path / name).mkdir()
    raw, made = DirectoryStore(tmp_path / "raw"), DirectoryStore(tmp_path / "made")
    raw.put("videos/black_cup_1.mp4", clip)
    ref = ObjectRef(raw.name, "videos/black_cup_1.mp4")
    process(ref, raw, made, SETTINGS, SystemClock())
    raw.delete(ref.key)
    moved = DirectoryStore(shutil.copytree(tmp_path / "made", tmp_path / "moved"))
    before = keys(moved, "")
    with pytest.raises(ObjectNotFound, match="the video is gone"):
        process(ref, raw, moved, SETTINGS, SystemClock())
    assert keys(moved, "") == before


def test_a_truncated_video_says_so_in_its_index(store: ObjectStore, clip: Path) -> None:
    """The frames before the cut are listed; the index counts those that were lost."""
    store.put("videos/black_cup_1.mp4", clip.read_bytes()[: clip.stat().st_size // 2])
    index = run(store, "videos/black_cup_1.mp4").index
    assert index is not None
    assert index.decode.truncated
    assert 0 < index.decode.lost < 25
    assert "the file ends before the video does" in index.decode.why
    assert len(lines(store, index.manifest)) == len(index.frames) > 0


def test_no_video_leaves_nothing_behind(store: ObjectStore) -> None:
    """What cannot be decoded is an error with the object's address, and no line or index appears."""
    store.put("videos/black_cup_1.mp4", b"this is no video" * 100)
    with pytest.raises(VideoUnreadable) as caught:
        run(store, "videos/black_cup_1.mp4")
    assert str(caught.value).startswith(store.uri("videos/black_cup_1.mp4"))
    assert keys(store, "") == ["failed/black_cup_1.json", "videos/black_cup_1.mp4"]
    record = read_parked(store, "failed/black_cup_1.json")
    assert record is not None
    assert (record.error, record.since) == ("VideoUnreadable", "2026-11-22T14:31:05.000Z")
    assert record.what == caught.value.what


@pytest.mark.parametrize("stem", ["box", "Yellow_box_1", "yellow_box_big_1", "yellow__1"])
def test_a_name_without_a_class_is_refused(directory_store: DirectoryStore, clip: Path, stem: str) -> None:
    """A video not named by class is one clear line that shows how to name it."""
    directory_store.put(f"videos/{stem}.mp4", clip)
    with pytest.raises(NameInvalid, match=r"is no segment name; name it <color>_<object>_<take>"):
        run(directory_store, f"videos/{stem}.mp4")


def test_two_videos_of_one_name_are_refused(store: ObjectStore, clip: Path, tmp_path: Path, black_cup: Path) -> None:
    """The second does not overwrite the first one's frames; once the first is gone it may."""
    store.put("videos/a/black_cup_1.mp4", clip)
    store.put("videos/b/black_cup_1.mp4", cut(black_cup, tmp_path / "longer.mp4", 35))
    run(store, "videos/a/black_cup_1.mp4")
    with pytest.raises(NameInvalid, match="another video of this name"):
        run(store, "videos/b/black_cup_1.mp4")
    store.delete("videos/a/black_cup_1.mp4")
    assert run(store, "videos/b/black_cup_1.mp4").outcome is Outcome.PROCESSED
    assert len(lines(store, "manifests/black_cup/undated.manifest")) == 4


def test_a_damaged_partition_is_left_alone(store: ObjectStore, clip: Path) -> None:
    """Lines that cannot be read stop the append; not one byte of them is lost."""
    store.put("videos/black_cup_1.mp4", clip)
    damaged = b'{"source-ref": "s3://b/black_cup_0_000000.jpg", "color": "bl'
    store.put("manifests/black_cup/undated.manifest", damaged)
    with pytest.raises(ObjectConflict, match="line 1 is damaged"):
        run(store, "videos/black_cup_1.mp4")
    assert store.get("manifests/black_cup/undated.manifest").body == damaged


class Replaced(LocalVideos):
    """Videos of which one is replaced while it is read, *times* times."""

    def __init__(self, versions: list[bytes]) -> None:
        self.versions = versions

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        if self.versions:
            Path(key).write_bytes(self.versions.pop())
        yield Path(key)


def test_a_video_replaced_while_it_is_read_is_done_anew(
    directory_store: DirectoryStore, clip: Path, black_cup: Path, tmp_path: Path
) -> None:
    """What is committed is made of one version: the one that is there at the end."""
    video = tmp_path / "black_cup_1.mp4"
    video.write_bytes(clip.read_bytes())
    longer = cut(black_cup, tmp_path / "longer.mp4", 35).read_bytes()
    result = process(ObjectRef("", str(video)), Replaced([longer]), directory_store, SETTINGS, FakeClock())
    assert result.index is not None
    assert result.index.video.etag == LocalVideos().head(str(video)).etag
    assert len(lines(directory_store, result.index.manifest)) == 4


def test_a_video_that_keeps_being_replaced_is_given_up(
    directory_store: DirectoryStore, clip: Path, black_cup: Path, tmp_path: Path
) -> None:
    """A file still being written to is an error, not a loop for ever."""
    video = tmp_path / "black_cup_1.mp4"
    video.write_bytes(clip.read_bytes())
    versions = [cut(black_cup, tmp_path / "other.mp4", count).read_bytes() for count in range(12, 20)]
    with pytest.raises(PreconditionFailed, match="was replaced 5 times"):
        process(ObjectRef("", str(video)), Replaced(versions), directory_store, SETTINGS, FakeClock())
    assert keys(directory_store, "manifests/") == []


def test_progress_is_told_and_may_stop_the_work(directory_store: DirectoryStore, clip: Path) -> None:
    """The listener hears of every sampled frame; what it raises ends the work before anything is committed."""
    directory_store.put("videos/black_cup_1.mp4", clip)
    heard: list[Progress] = []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        if len(heard) == 2:
            raise InterruptedError

    ref = ObjectRef("", "videos/black_cup_1.mp4")
    with pytest.raises(InterruptedError):
        process(ref, directory_store, directory_store, SETTINGS, FakeClock(), listen)
    assert [(progress.sampled, progress.expected) for progress in heard] == [(1, 25), (2, 25)]
    assert keys(directory_store, "manifests/") == []


def test_thirty_two_appenders_to_one_partition_all_succeed(store: ObjectStore) -> None:
    """No block is lost, none is there twice, and the bytes are those of one after the other."""
    names = [SegmentName.parse(f"blue_box_{number}") for number in range(32)]
    blocks = {
        name.stem: [make_line(f"s3://b/{name.frame(i)}.jpg", name.tag.as_dict()) for i in range(3)] for name in names
    }
    together = threading.Barrier(32)

    def one(stem: str) -> bool:
        together.wait()
        return append(store, "manifests/p.manifest", stem, blocks[stem], SystemClock()) is Appended.WRITTEN

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(one, blocks))
    for stem in reversed(blocks):
        append(store, "manifests/q.manifest", stem, blocks[stem], SystemClock())
    assert store.get("manifests/p.manifest").body == store.get("manifests/q.manifest").body
    assert len(lines(store, "manifests/p.manifest")) == 96


def test_a_rejected_frame_is_stored_and_indexed_but_not_listed(store: ObjectStore, clip: Path) -> None:
    """It can be restored: frame, scores and reason are there."""
    store.put("videos/black_cup_1.mp4", clip)
    rules = {**OFF, "duplicate": {"action": "reject", "threshold": 0.000001}}
    index = run(store, "videos/black_cup_1.mp4", settings(judges=rules)).index
    assert index is not None
    assert [frame.verdict for frame in index.frames] == ["kept", "rejected", "kept"]
    assert index.frames[1].reasons == ("duplicate",)
    assert index.frames[1].scores["duplicate"] > 0
    assert len(keys(store, "frames/")) == 3
    assert [line["source-ref"] for line in lines(store, index.manifest)] == [
        store.uri(index.frames[number].key) for number in (0, 2)
    ]


def settings(**changes: object) -> Settings:
    return Settings.model_validate({**SETTINGS.model_dump(), **changes})


def test_another_picture_format_replaces_the_frames(store: ObjectStore, clip: Path) -> None:
    """No picture of the former format stays, and the lines name the new ones."""
    store.put("videos/black_cup_1.mp4", clip)
    run(store, "videos/black_cup_1.mp4")
    index = run(store, "videos/black_cup_1.mp4", settings(picture={"format": "png"})).index
    assert index is not None
    assert keys(store, "frames/") == [f"frames/black_cup_1/black_cup_1_{n:06d}.png" for n in (0, 10, 20)]
    assert store.head("frames/black_cup_1/black_cup_1_000000.png").content_type == "image/png"
    assert [line["source-ref"] for line in lines(store, index.manifest)] == [store.uri(f.key) for f in index.frames]


def test_other_keys_in_lines_cost_no_decode(store: ObjectStore, clip: Path) -> None:
    """Asked again with other extra keys, the lines are written anew and the frames stay."""
    take = Take("dock7", "cam1", START)
    name = SegmentName(ClassTag.parse("black_cup"), str(take))
    key = f"videos/{name}.mp4"
    store.put(key, clip)
    run(store, key)
    frames = {info.key: info.modified for info in store.list("frames/")}
    result = run(store, key, settings(lines={"extra": ["captured", "camera", "device", "frame"]}))
    assert result.appended
    assert result.index is not None
    assert lines(store, result.index.manifest)[1] == {
        "source-ref": store.uri(result.index.frames[1].key),
        "color": "black",
        "object": "cup",
        "captured": "2026-11-22T14:31:05.496Z",
        "camera": "cam1",
        "device": "dock7",
        "frame": 10,
    }
    assert {info.key: info.modified for info in store.list("frames/")} == frames


def test_a_deleted_videos_frames_and_lines_go(store: ObjectStore, clip: Path) -> None:
    """Nothing of it is left, its neighbours in the partition stay, and a second event changes nothing."""
    for stem in ("black_cup_1", "black_cup_2"):
        store.put(f"videos/{stem}.mp4", clip)
        run(store, f"videos/{stem}.mp4")
    store.delete("videos/black_cup_1.mp4")
    for _ in range(2):
        ref = ObjectRef(store.name, "videos/black_cup_1.mp4")
        assert remove(ref, store, store, SETTINGS, FakeClock()).outcome is Outcome.REMOVED
        assert not [key for key in keys(store, "") if "black_cup_1" in key]
        assert len(lines(store, "manifests/black_cup/undated.manifest")) == 3


def test_a_removal_that_comes_late_harms_nothing(store: ObjectStore, clip: Path) -> None:
    """The video is there again: the event is a hint, and what counts is the store."""
    store.put("videos/black_cup_1.mp4", clip)
    ref = ObjectRef(store.name, "videos/black_cup_1.mp4")
    assert remove(ref, store, store, SETTINGS, FakeClock()).outcome is Outcome.PROCESSED
    assert remove(ref, store, store, SETTINGS, FakeClock()).outcome is Outcome.UNCHANGED


def test_a_video_replaced_by_rubbish_leaves_no_line(store: ObjectStore, clip: Path) -> None:
    """What was made of the former version goes, the rubbish is parked; a good version releases it."""
    store.put("videos/black_cup_1.mp4", clip)
    run(store, "videos/black_cup_1.mp4")
    store.put("videos/black_cup_1.mp4", b"rubbish" * 99)
    for _ in range(2):
        with pytest.raises(VideoUnreadable):
            run(store, "videos/black_cup_1.mp4")
        assert lines(store, "manifests/black_cup/undated.manifest") == []
        assert keys(store, "frames/") == keys(store, "index/") == keys(store, "previews/") == []
        assert keys(store, "failed/") == ["failed/black_cup_1.json"]
    store.put("videos/black_cup_1.mp4", clip)
    run(store, "videos/black_cup_1.mp4")
    assert keys(store, "failed/") == []
    assert len(lines(store, "manifests/black_cup/undated.manifest")) == 3


def test_a_frame_that_somebody_overwrote_is_made_anew(store: ObjectStore, clip: Path) -> None:
    """A late worker of another version may overwrite frames: the next event, even a stale one, mends it."""
    store.put("videos/black_cup_1.mp4", clip)
    index = run(store, "videos/black_cup_1.mp4").index
    assert index is not None
    good = store.get(index.frames[1].key).body
    store.put(index.frames[1].key, b"of another version")
    assert run(store, "videos/black_cup_1.mp4", etag="0" * 32).outcome is Outcome.PROCESSED
    assert store.get(index.frames[1].key).body == good
