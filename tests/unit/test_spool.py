"""Contract 2: the spool."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.durable import move_durably, os_error, write_durably
from edge_agent.errors import DiskFull, NameInvalid, SpoolUnusable, WriteFailed
from edge_agent.segment import ClassTag, Segment, SegmentName
from edge_agent.spool import Spool, stem_of
from tests.support.disk import Disk, PowerCut, small_disk
from tests.support.upload import fresh_spool, names_in, publish, segment_of

TAG = ClassTag(("color", "object"), ("yellow", "box"))
START = datetime(2026, 11, 22, 14, 31, 5, 123000, UTC)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


def test_a_taken_millisecond_bumps_the_name(spool: Spool) -> None:
    """When the clock stepped back, the next free millisecond is taken, and nothing is overwritten."""
    names = [spool.reserve(TAG, "dock7", "cam1", START)[0] for _ in range(3)]
    takes = [name.made_by for name in names]
    assert [take and take.start for take in takes] == [START + timedelta(milliseconds=n) for n in range(3)]
    assert len(spool.parts()) == 3


@pytest.mark.parametrize("directory", ["ready", "uploaded", "failed"])
def test_a_name_that_got_further_is_not_given_out_again(spool: Spool, directory: str) -> None:
    """A name is taken wherever its video lies."""
    name, part = spool.reserve(TAG, "dock7", "cam1", START)
    part.rename(spool.root / directory / f"{name.stem}.mp4")
    again, _ = spool.reserve(TAG, "dock7", "cam1", START)
    assert again != name
    with pytest.raises(FileExistsError):
        spool.reserve_name(name)
    assert len(spool.parts()) == 1


def test_a_hundred_reservations_at_once_are_a_hundred_names(spool: Spool) -> None:
    """Racing for one millisecond, each gets its own."""
    names: list[SegmentName] = []
    threads = [
        threading.Thread(target=lambda: names.append(spool.reserve(TAG, "dock7", "cam1", START)[0])) for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 100


def test_finish_makes_everything_durable_before_the_rename(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Video, then sidecar, then the name in ready/, each synced before the next, and the note goes last."""
    segment = segment_of(b"video")
    part = spool.reserve_name(segment.name)
    part.write_bytes(b"video")
    spool.note(segment)
    disk = Disk(monkeypatch)
    video = spool.finish(part, segment)
    stem = segment.name.stem
    assert disk.steps == [
        f"fsync {stem}.mp4.part",
        f"fsync .{stem}.json.tmp",
        f"replace .{stem}.json.tmp",
        "fsync ready",
        f"link {stem}.mp4.part",
        "fsync ready",
        f"unlink {stem}.mp4.part",
        "fsync recording",
        f"unlink {stem}.json",
    ]
    assert video.read_bytes() == b"video"
    assert spool.sidecar(video) == segment
    assert names_in(spool.recording) == []


def test_finish_never_overwrites(spool: Spool) -> None:
    """A video that is there stays as it is, and so does the part."""
    first = publish(spool, body=b"first")
    part = spool.recording / f"{first.name.stem}.mp4.part"
    part.write_bytes(b"second")
    with pytest.raises(SpoolUnusable):
        spool.finish(part, first)
    assert (spool.ready / f"{first.name.stem}.mp4").read_bytes() == b"first"
    assert part.read_bytes() == b"second"


def finish(spool: Spool, segment: Segment) -> None:
    spool.finish(spool.recording / f"{segment.name.stem}.mp4.part", segment)


@pytest.mark.parametrize("last", range(9))
def test_a_power_cut_at_any_step_of_finish_loses_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """The whole video is always there, as a part to be salvaged or finished beside its sidecar."""
    segment = segment_of(b"video")
    part = spool.reserve_name(segment.name)
    part.write_bytes(b"video")
    spool.note(segment)
    with monkeypatch.context() as patch:
        Disk(patch, last)
        with pytest.raises(PowerCut):
            finish(spool, segment)
    video = spool.ready / f"{segment.name.stem}.mp4"
    if video.exists():
        assert video.read_bytes() == b"video"
        assert spool.sidecar(video) == segment
        assert not part.exists() or part.stat().st_nlink == 2
    else:
        assert part.read_bytes() == b"video"
        assert spool.noted(part) == segment
    assert [found.read_bytes() for found in spool.ready_videos()] in ([], [b"video"])


@pytest.mark.parametrize("move", ["keep_uploaded", "fail"])
@pytest.mark.parametrize("last", range(6))
def test_a_power_cut_at_any_step_of_a_move_can_be_made_good(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, move: str, last: int
) -> None:
    """The move made again ends with one video and one sidecar, and none left behind."""
    segment = publish(spool)
    video = spool.ready / f"{segment.name.stem}.mp4"
    content = video.read_bytes()

    def moved() -> Path:
        return spool.keep_uploaded(video) if move == "keep_uploaded" else spool.fail(video, "because")

    with monkeypatch.context() as patch:
        Disk(patch, last)
        with contextlib.suppress(PowerCut):
            moved()
    if video.exists():
        moved()
    list(spool.sweep(step=1))
    target = (spool.uploaded if move == "keep_uploaded" else spool.failed) / video.name
    assert target.read_bytes() == content
    assert spool.sidecar(target) == segment
    assert [name for name in names_in(spool.ready) if not name.startswith(".")] == []


def test_a_part_fails_into_a_video_with_its_note_and_reason(spool: Spool) -> None:
    """What cannot be salvaged is kept, under the video's name, with all that is known of it."""
    segment = segment_of(b"torn")
    part = spool.reserve_name(segment.name)
    part.write_bytes(b"torn")
    spool.note(segment)
    target = spool.fail(part, "torn apart")
    assert target == spool.failed / f"{segment.name.stem}.mp4"
    assert target.read_bytes() == b"torn"
    assert spool.sidecar(target) == segment
    assert target.with_name(f"{target.name}.reason").read_text() == "torn apart\n"
    assert names_in(spool.recording) == []


def test_one_name_twice_in_failed_keeps_both(spool: Spool) -> None:
    """A second video of one name does not replace the first."""
    for body in (b"one", b"two"):
        (spool.ready / "odd.mp4").write_bytes(body)
        spool.fail(spool.ready / "odd.mp4", "odd")
    assert (spool.failed / "odd.mp4").read_bytes() == b"one"
    assert (spool.failed / "odd.1.mp4").read_bytes() == b"two"


def test_an_empty_part_gives_its_name_back(spool: Spool) -> None:
    """A segment that never got a frame leaves nothing."""
    segment = segment_of(b"")
    part = spool.reserve_name(segment.name)
    spool.note(segment)
    spool.discard_empty(part)
    assert names_in(spool.recording) == []
    assert spool.reserve_name(segment.name) == part


def test_a_torn_note_is_no_note(spool: Spool) -> None:
    """What cannot be read was never noted."""
    part = spool.reserve_name(segment_of(b"").name)
    assert spool.noted(part) is None
    part.with_name(f"{stem_of(part)}.json").write_bytes(b"\xff{")
    assert spool.noted(part) is None


def test_a_sidecar_that_cannot_be_read_is_refused(spool: Spool) -> None:
    """Absent is None; malformed and unreadable are errors of ours."""
    video = spool.ready / "blue_box_1.mp4"
    assert spool.sidecar(video) is None
    video.with_suffix(".json").write_bytes(b"\xff{")
    with pytest.raises(NameInvalid):
        spool.sidecar(video)
    video.with_suffix(".json").unlink()
    video.with_suffix(".json").mkdir()
    with pytest.raises(SpoolUnusable):
        spool.sidecar(video)


def test_preparing_is_repeatable_and_leaves_nothing_else(spool: Spool) -> None:
    """Four directories, no probe left."""
    spool.prepare()
    assert names_in(spool.root) == ["failed", "ready", "recording", "uploaded"]
    assert names_in(spool.recording) == []


@pytest.mark.parametrize("spoil", [lambda root: root.touch(), lambda root: root.parent.rmdir() or root.parent.touch()])
def test_a_spool_that_cannot_be_used_says_so_before_anything_is_recorded(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """A path that is, or lies under, a regular file is refused with its name."""
    root = tmp_path / "data" / "spool"
    root.parent.mkdir()
    spoil(root)
    with pytest.raises(SpoolUnusable, match="data"):
        Spool(root).prepare()


def test_a_spool_without_rights_says_so(tmp_path: Path) -> None:
    """A directory the agent's user may not write to is refused with its name."""
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    spool = fresh_spool(tmp_path / "spool")
    spool.ready.chmod(0o500)
    with pytest.raises(SpoolUnusable, match="ready"):
        spool.prepare()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with no byte left."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        for directory in ("recording", "ready", "uploaded", "failed"):
            (disk / directory).mkdir()
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/ballast"], stderr=subprocess.DEVNULL, check=False)
        yield disk


def test_a_full_disk_is_told_from_a_broken_one_and_keeps_what_was_there(full_disk: Path) -> None:
    """DiskFull names the place; no half-written file is left to fill it further."""
    with pytest.raises(DiskFull, match="free space"):
        Spool(full_disk).prepare()
    assert names_in(full_disk / "recording") == []
    old = full_disk / "ready" / "old.json"
    with pytest.raises(OSError, match="No space"):
        write_durably(old, b"x" * 4096)
    assert names_in(full_disk / "ready") == []


def test_errors_of_the_system_are_sorted() -> None:
    """Full, unusable and broken are different troubles."""
    assert isinstance(os_error(OSError(28, "No space left"), "x"), DiskFull)
    assert isinstance(os_error(OSError(122, "Quota exceeded"), "x"), DiskFull)
    assert isinstance(os_error(OSError(13, "Permission denied"), "x"), SpoolUnusable)
    assert isinstance(os_error(OSError(30, "Read-only file system"), "x"), SpoolUnusable)
    assert isinstance(os_error(OSError(5, "Input/output error"), "x"), WriteFailed)


def test_moving_never_overwrites(tmp_path: Path) -> None:
    """Two files of one name stay two files."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        move_durably(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")


def test_one_camera_is_recorded_once(spool: Spool) -> None:
    """Who comes second is refused until the first is gone; another camera is no matter."""
    with spool.only_one("cam1"):
        with pytest.raises(SpoolUnusable, match="another process"), spool.only_one("cam1"):
            pass
        with spool.only_one("cam2"):
            pass
    with spool.only_one("cam1"):
        pass


def test_ready_is_in_name_order_without_sidecars_and_hidden_files(spool: Spool) -> None:
    """What waits for upload is what a person would say waits."""
    for number in (2, 0, 1):
        publish(spool, number)
    (spool.ready / ".hidden").touch()
    (spool.ready / "note.txt").touch()
    (spool.ready / "directory").mkdir()
    names = [path.name for path in spool.ready_videos()]
    assert names == sorted(names)
    assert len(names) == 4


def test_a_flat_spool_leaves_no_trace_but_its_takes(tmp_path: Path) -> None:
    """Single takes lie in the directory itself."""
    spool = Spool.flat(tmp_path)
    spool.prepare()
    segment = publish(spool)
    with spool.only_one("x"):
        pass
    spool.remove_if_idle()
    assert names_in(tmp_path) == [f"{segment.name.stem}.json", f"{segment.name.stem}.mp4"]


@given(st.sampled_from([".mp4", ".mp4.part", ".json"]), st.from_regex(r"[a-z.]{1,9}_x", fullmatch=True))
def test_the_stem_is_the_same_for_all_files_of_a_segment(suffix: str, stem: str) -> None:
    """Video, part and sidecar belong together by name."""
    assert stem_of(Path("/spool") / (stem + suffix)) == stem
