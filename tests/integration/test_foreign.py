"""Videos that other programs drop: taken once nobody writes to them, never lost, doubled or overwritten."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.segment import Segment
from edge_agent.spool import Spool
from edge_agent.store.checksum import crc64nvme
from edge_agent.upload.drop import Drop
from edge_agent.upload.foreign import RETRY_SECONDS, Foreign
from edge_agent.upload.lease import has_writer
from tests.support.clips import look, make_clip
from tests.support.clock import FakeClock
from tests.support.disk import Disk, PowerCut, small_disk
from tests.support.upload import DEVICE, FIELDS, fresh_spool, names_in, videos_in
from tests.support.wait import until

SETTLE = 10.0
MTIME_NS = 1_700_000_000_123_000_000
STEM = f"yellow_box_dock7-cam9-{datetime.fromtimestamp(1_700_000_000, UTC):%Y%m%dT%H%M%S}123Z"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


@pytest.fixture
def drops(tmp_path: Path) -> Path:
    directory = tmp_path / "drops"
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=10)


def _foreign(spool: Spool, drops: Path, clock: FakeClock) -> Foreign:
    return Foreign([Drop(str(drops), ("yellow", "box"), "cam9", SETTLE)], spool, clock, DEVICE, FIELDS)


def _drop(clip: Path, target: Path) -> Path:
    shutil.copyfile(clip, target)
    os.utime(target, ns=(MTIME_NS, MTIME_NS))
    return target


def _collect(foreign: Foreign, clock: FakeClock) -> None:
    """Look, let it settle, look until nothing more is to be done at once."""
    foreign.collect()
    clock.advance(SETTLE)
    while foreign.collect() == 0.0:
        pass


def _published(spool: Spool) -> list[tuple[str, Segment]]:
    found = []
    for video in spool.ready_videos():
        segment = spool.sidecar(video)
        assert segment is not None
        assert (segment.size, segment.crc64nvme) == (video.stat().st_size, crc64nvme(video).value)
        found.append((video.name, segment))
    return found


def test_a_dropped_video_becomes_a_segment(spool: Spool, drops: Path, clip: Path) -> None:
    """It gets the setting's class, a take of its time and a sidecar; its bytes stay, and the directory is empty."""
    clock = FakeClock()
    _drop(clip, drops / "holiday film.mp4")
    foreign = _foreign(spool, drops, clock)
    _collect(foreign, clock)
    ((name, segment),) = _published(spool)
    assert name == f"{STEM}.mp4"
    assert (segment.device, segment.camera, segment.frames) == (DEVICE, "cam9", 10)
    assert (spool.ready / name).read_bytes() == clip.read_bytes()
    assert not names_in(drops)
    assert not names_in(spool.recording)


def test_a_segments_own_name_is_kept(spool: Spool, drops: Path, clip: Path) -> None:
    """What is named as a segment keeps that name; what has that name already is not overwritten."""
    clock = FakeClock()
    foreign = _foreign(spool, drops, clock)
    _drop(clip, drops / "blue_crate_7.mp4")
    _collect(foreign, clock)
    other = make_clip(drops / "other.mp4", frames=5).rename(drops / "blue_crate_7.mp4")
    os.utime(other, ns=(MTIME_NS, MTIME_NS))
    content = other.read_bytes()
    _collect(foreign, clock)
    first, second = _published(spool)
    assert first[0] == "blue_crate_7.mp4"
    assert (spool.ready / first[0]).read_bytes() == clip.read_bytes()
    assert second[0].startswith("blue_crate_dock7-unknown-")
    assert (spool.ready / second[0]).read_bytes() == content


def test_two_of_the_same_time_are_two_segments(spool: Spool, drops: Path, clip: Path) -> None:
    """Two files of one millisecond get two names; the same file dropped twice is one segment."""
    clock = FakeClock()
    foreign = _foreign(spool, drops, clock)
    _drop(clip, drops / "a.mp4")
    _drop(clip, drops / "b.mp4")
    _drop(make_clip(drops.parent / "other.mp4", frames=5), drops / "c.mp4")
    _collect(foreign, clock)
    assert len(_published(spool)) == 2
    assert not names_in(drops)


def test_nothing_is_taken_before_it_is_finished(spool: Spool, drops: Path, clip: Path) -> None:
    """Not while it grows, not while it is empty, not while a writer holds it open; hidden files and others never."""
    clock = FakeClock()
    foreign = _foreign(spool, drops, clock)
    (drops / ".hidden.mp4").write_bytes(clip.read_bytes())
    (drops / "notes.txt").write_text("no video")
    (drops / "film.mp4.part").write_bytes(b"half")
    (drops / "link.mp4").symlink_to(clip)
    body = clip.read_bytes()
    with (drops / "film.mp4").open("wb", buffering=0) as writer:
        _collect(foreign, clock)
        for begin in range(0, len(body), len(body) // 3 + 1):
            writer.write(body[begin : begin + len(body) // 3 + 1])
            assert foreign.collect() == SETTLE
            clock.advance(SETTLE - 1)
        clock.advance(10 * SETTLE)
        assert foreign.collect() == SETTLE
        assert has_writer(drops / "film.mp4") is True
        assert not videos_in(spool.ready)
    assert has_writer(drops / "film.mp4") is False
    foreign.collect()
    assert len(videos_in(spool.ready)) == 1
    assert names_in(drops) == [".hidden.mp4", "film.mp4.part", "link.mp4", "notes.txt"]


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "libx264"), (".ts", "libx264"), (".mov", "mjpeg"), (".avi", "mjpeg"), (".MP4", "")]
)
def test_other_containers_become_mp4(spool: Spool, drops: Path, clip: Path, suffix: str, codec: str) -> None:
    """Every packet of another container is in the MP4, none encoded anew, and the original is gone."""
    clock = FakeClock()
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    made = make_clip(drops / f"film{suffix}", codec=codec, frames=10, pixels=pixels) if codec else None
    if made is None:
        _drop(clip, drops / f"film{suffix}")
    _collect(_foreign(spool, drops, clock), clock)
    ((name, segment),) = _published(spool)
    seen = look(spool.ready / name)
    assert (segment.frames, len(seen.packets), seen.pictures) == (10, 10, 10)
    assert not names_in(drops)
    assert not names_in(spool.recording)


def test_what_is_no_video_stays_where_it_is(
    spool: Spool, drops: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once, blocks no other, and is looked at again when it changes."""
    clock = FakeClock()
    foreign = _foreign(spool, drops, clock)
    (drops / "a.mp4").write_bytes(b"no video at all")
    (drops / "b.mkv").write_bytes(b"no video either")
    _drop(clip, drops / "c.mp4")
    _collect(foreign, clock)
    _collect(foreign, clock)
    assert capsys.readouterr().out.count("foreign_left") == 2
    assert names_in(drops) == ["a.mp4", "b.mkv"]
    assert len(videos_in(spool.ready)) == 1
    assert not names_in(spool.recording)
    _drop(clip, drops / "a.mp4").rename(drops / "blue_box_1.mp4")
    _collect(foreign, clock)
    assert "blue_box_1.mp4" in videos_in(spool.ready)


def test_a_directory_that_is_not_there_is_waited_for(spool: Spool, drops: Path, clip: Path) -> None:
    """It may be mounted later; until then it is said once and nothing else is held up."""
    clock = FakeClock()
    drops.rmdir()
    foreign = _foreign(spool, drops, clock)
    _collect(foreign, clock)
    drops.mkdir()
    _drop(clip, drops / "a.mp4")
    _collect(foreign, clock)
    assert len(videos_in(spool.ready)) == 1


def test_an_arrival_is_noticed_at_once(spool: Spool, drops: Path, clip: Path) -> None:
    """The wake event is set when a file is dropped, long before any rescan."""
    wake = threading.Event()
    with closing(_foreign(spool, drops, FakeClock())) as foreign:
        foreign.watch(wake)
        _drop(clip, drops / "a.mp4")
        until(wake.is_set, "the hint")


@pytest.fixture(params=["same disk", "another disk", "another container"])
def place(request: pytest.FixtureRequest, drops: Path, clip: Path) -> Iterator[tuple[Path, Path]]:
    """Where the file is dropped, and the file: to be renamed, copied, or remuxed."""
    if request.param == "another disk":
        with small_disk(drops / "other", "4m") as disk:
            yield disk, clip
    elif request.param == "same disk":
        yield drops, clip
    else:
        yield drops, make_clip(drops.parent / "clip.mkv", frames=10)


def test_a_stop_at_any_step_loses_and_doubles_nothing(
    spool: Spool, place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step the machine stops at, the next start ends with exactly one segment and an empty directory."""
    drops, source = place
    step, total = 0, None
    while total is None or step < total:
        for path in [*spool.ready.iterdir(), *spool.recording.iterdir()]:
            path.unlink()
        dropped = _drop(source, drops / f"film{source.suffix}")
        clock = FakeClock()
        with monkeypatch.context() as patch:
            disk = Disk(patch, step)
            try:
                _collect(_foreign(spool, drops, clock), clock)
                total = len(disk.steps)
            except PowerCut:
                pass
        assert dropped.exists() or len(videos_in(spool.ready)) + len(list(spool.recording.glob("*.taken"))) >= 1
        _collect(_foreign(spool, drops, clock), clock)
        ((name, segment),) = _published(spool)
        assert (name, segment.frames) == (f"{STEM}.mp4", 10), f"stopped before step {step}"
        assert not videos_in(drops)
        assert not dropped.exists()
        assert not names_in(spool.recording)
        step += 1
    assert step > 5


def test_a_copy_whose_original_cannot_go_is_given_up(
    spool: Spool, drops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may be read but not deleted stays, is said, and is not uploaded twice or at all."""
    clock = FakeClock()
    film = make_clip(drops / "film.mkv", frames=10)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == film:
            raise PermissionError(1, "Operation not permitted", str(path))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    _collect(_foreign(spool, drops, clock), clock)
    assert names_in(drops) == ["film.mkv"]
    assert not names_in(spool.ready)
    assert not names_in(spool.recording)


def test_a_full_disk_leaves_it_where_it_is(spool: Spool, drops: Path, tmp_path: Path) -> None:
    """With no room for the copy the file waits in its directory; with room again it is taken."""
    clock = FakeClock()
    film = make_clip(drops / "film.mkv", frames=60, size=(1280, 720))
    assert film.stat().st_size > 250_000
    with small_disk(tmp_path / "small", "1m") as disk:
        small = fresh_spool(disk / "spool")
        filler = disk / "filler"
        filler.write_bytes(bytes((1 << 20) - 200_000))
        foreign = _foreign(small, drops, clock)
        _collect(foreign, clock)
        assert film.exists()
        assert not videos_in(small.ready)
        filler.unlink()
        clock.advance(RETRY_SECONDS)
        _collect(foreign, clock)
        assert len(videos_in(small.ready)) == 1
