"""What a crash left becomes a segment again, also when the salvage itself is ended at any moment."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from edge_agent.capture.salvage import Outcome, Salvaged, salvage
from edge_agent.capture.writer import SegmentWriter
from edge_agent.errors import DiskFull
from edge_agent.segment import ClassTag, Segment, SegmentName
from edge_agent.spool import Spool
from tests.support.capture import FIELDS, capturing, job_for, recorded_in
from tests.support.clips import look
from tests.support.disk import Disk, PowerCut, small_disk
from tests.support.upload import fresh_spool, names_in

START = datetime(2026, 11, 22, 14, 31, 5, 123000, UTC)
TAG = ClassTag(FIELDS, ("black", "cup"))
WRITTEN = 100  # packets until the crash: three whole seconds and a bit, at 26.8 a second with a keyframe every 30


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


def crashed(spool: Spool, clip: Path, packets: int = WRITTEN) -> Segment:
    """Leave what a recorder leaves that was killed after so many packets."""
    name, part = spool.reserve(TAG, "dock7", "cam1", START)
    segment = Segment(name, "dock7", "cam1", START, 0.0, 0, "h264", 640, 480, class_set_by="shell:me")
    spool.note(segment)
    with av.open(str(clip)) as container:
        writer = SegmentWriter(part, container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if number == packets:
                break
            writer.write(packet)
        writer.abort()
    return segment


def mend(spool: Spool) -> list[Salvaged]:
    return salvage(spool, FIELDS, "dock7", lambda _: True)


def assert_recovered(spool: Spool, known: Segment, clip: Path) -> None:
    """Exactly one segment, at most a fragment short, marked, with what was noted; and nothing left over."""
    recorded = recorded_in(spool)
    (segment,) = recorded.segments
    assert segment.recovered
    assert (segment.name, segment.start, segment.class_set_by) == (known.name, known.start, "shell:me")
    assert WRITTEN - 30 - 1 <= segment.frames <= WRITTEN
    assert recorded.packets == look(clip).packets[: segment.frames]
    assert segment.duration == pytest.approx(segment.frames / 26.777, abs=0.1)
    assert [name for name in names_in(spool.recording) if not name.startswith(".lock")] == []
    assert names_in(spool.failed) == []


def test_a_broken_segment_is_recovered_as_an_ordinary_one(spool: Spool, black_cup: Path) -> None:
    """Whole frames are kept bit exact, and the sidecar says it was recovered, and who had set the class."""
    known = crashed(spool, black_cup)
    (item,) = mend(spool)
    assert item.outcome is Outcome.RECOVERED
    assert_recovered(spool, known, black_cup)
    assert mend(spool) == []


@pytest.mark.parametrize("last", range(11))
def test_a_power_cut_at_any_step_of_the_salvage_loses_and_doubles_nothing(
    spool: Spool, black_cup: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """The next start ends with the same one segment."""
    known = crashed(spool, black_cup)
    with monkeypatch.context() as patch:
        disk = Disk(patch, last)
        try:
            mend(spool)
        except PowerCut:
            assert len(disk.steps) == last
    mend(spool)
    assert_recovered(spool, known, black_cup)


def test_the_steps_above_are_all_there_are(spool: Spool, black_cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The salvage takes no more steps than were cut."""
    crashed(spool, black_cup)
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        mend(spool)
    assert len(disk.steps) <= 11


@pytest.mark.parametrize("call", ["fdatasync", "link", "unlink"])
def test_kill_9_inside_the_salvage_is_made_good_by_the_next_process(tmp_path: Path, black_cup: Path, call: str) -> None:
    """A real process killed where it salvages, then another: one recovered segment, and recording goes on."""
    known = crashed(fresh_spool(tmp_path / "spool"), black_cup)
    job = job_for(tmp_path, "synthetic:?size=160x120&seconds=1")
    # Killed when it first comes to the part file or what is made of it.
    prelude = (
        "import os, pathlib, signal\n"
        f"owner = pathlib.Path if {call!r} == 'unlink' else os\n"
        f"real = getattr(owner, {call!r})\n"
        "def killed(first, *rest, **options):\n"
        "    where = os.readlink(f'/proc/self/fd/{first}') if isinstance(first, int) else str(first)\n"
        "    if 'black_cup' in where:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(first, *rest, **options)\n"
        f"setattr(owner, {call!r}, killed)\n"
    )
    with capturing(job, prelude) as first:
        assert first.process.wait(60) == -signal.SIGKILL
        assert first.events("segment_salvaged") == []
    with capturing(job) as second:
        assert second.process.wait(60) == 0
        assert second.events("segment_closed")
    recorded = recorded_in(Spool(tmp_path / "spool"))
    recovered = [segment for segment in recorded.segments if segment.recovered]
    assert [segment.name for segment in recovered] == [known.name]
    assert len(recorded.segments) == 2
    assert names_in(tmp_path / "spool" / "recording") == [".lock-cam1"]


@pytest.mark.parametrize("directory", ["ready", "uploaded", "failed"])
def test_what_was_published_already_is_not_published_again(spool: Spool, black_cup: Path, directory: str) -> None:
    """A part whose video is there, wherever it has got to, is only removed."""
    segment = crashed(spool, black_cup)
    video = spool.root / directory / f"{segment.name.stem}.mp4"
    video.write_bytes(b"what was published")
    (item,) = mend(spool)
    assert item.outcome is Outcome.PUBLISHED
    assert video.read_bytes() == b"what was published"
    assert names_in(spool.recording) == []


@pytest.mark.parametrize("content", [b"\x00" * 4096, b"no video", b"\x00\x00\x00\x18ftypisom"])
def test_what_cannot_be_read_is_kept_for_a_person(spool: Spool, content: bytes) -> None:
    """It goes to failed/ as it is, with the reason and what was noted."""
    name, part = spool.reserve(TAG, "dock7", "cam1", START)
    spool.note(Segment(name, "dock7", "cam1", START, 0.0, 0, "h264", 640, 480))
    part.write_bytes(content)
    (item,) = mend(spool)
    assert item.outcome is Outcome.FAILED
    assert item.reason.isprintable()
    assert (spool.failed / f"{name.stem}.mp4").read_bytes() == content
    assert names_in(spool.failed) == [f"{name.stem}.json", f"{name.stem}.mp4", f"{name.stem}.mp4.reason"]
    assert names_in(spool.recording) == []


def test_an_empty_part_gives_its_name_back(spool: Spool) -> None:
    """A crash before the first frame leaves nothing to keep."""
    name, _ = spool.reserve(TAG, "dock7", "cam1", START)
    (item,) = mend(spool)
    assert item == Salvaged(name.stem, Outcome.EMPTY)
    assert names_in(spool.recording) == []


def test_a_part_without_a_note_is_described_by_its_name(spool: Spool, black_cup: Path) -> None:
    """Device, camera and start are in the take."""
    segment = crashed(spool, black_cup)
    (spool.recording / f"{segment.name.stem}.json").unlink()
    mend(spool)
    (found,) = recorded_in(spool).segments
    assert (found.device, found.camera, found.start) == ("dock7", "cam1", START)
    assert (found.codec, found.width, found.height) == ("h264", 640, 480)


def test_parts_of_other_cameras_and_foreign_files_are_left_alone(spool: Spool, black_cup: Path) -> None:
    """Who salvages touches only what is its own."""
    crashed(spool, black_cup)
    (spool.recording / "holiday.mp4.part").write_bytes(b"mine")
    before = names_in(spool.recording)

    def mine(name: SegmentName) -> bool:
        return name.made_by is not None and name.made_by.camera == "cam2"

    assert salvage(spool, FIELDS, "dock7", mine) == []
    assert names_in(spool.recording) == before


def test_a_long_salvage_says_that_it_is_alive(spool: Spool, black_cup: Path) -> None:
    """Its parent must not take it for hanging."""
    crashed(spool, black_cup)
    calls: list[None] = []
    salvage(spool, FIELDS, "dock7", lambda _: True, lambda: calls.append(None))
    assert len(calls) >= WRITTEN - 31


@pytest.fixture
def tight(tmp_path: Path, black_cup: Path) -> Iterator[Spool]:
    """A spool with a broken segment, on a disk with no room for another of its size."""
    made = fresh_spool(tmp_path / "made")
    crashed(made, black_cup)
    size = sum(path.stat().st_size for path in made.recording.iterdir())
    with small_disk(tmp_path / "disk", str(size + 200_000)) as disk:
        spool = fresh_spool(disk / "spool")
        for path in made.recording.iterdir():
            shutil.copyfile(path, spool.recording / path.name)
        yield spool


def test_a_full_disk_keeps_the_part_for_later_and_is_not_filled_further(tight: Spool, tmp_path: Path) -> None:
    """DiskFull is raised, the part and its note stay, the half-made copy goes."""
    before = names_in(tight.recording)
    with pytest.raises(DiskFull):
        mend(tight)
    assert names_in(tight.recording) == before
    assert names_in(tight.ready) == []
