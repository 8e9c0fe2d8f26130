"""Packets to a crash-safe MP4."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from edge_agent.capture import sink
from edge_agent.capture.writer import FRAGMENT_SECONDS, SegmentWriter, Written
from edge_agent.errors import DiskFull, SourceUnsupported, SpoolUnusable, WriteFailed
from edge_agent.store.checksum import crc64nvme
from tests.support.clips import Seen, look, make_clip
from tests.support.disk import small_disk
from tests.support.sound import listen

if TYPE_CHECKING:
    from edge_agent.capture.sources.base import VideoPacket

BOX = b"\x00\x00"


def copy(source: Path, target: Path, each: Callable[[int, SegmentWriter], object] = lambda *_: None) -> Written:
    """Write every packet of *source* through a SegmentWriter; *each* is called after each."""
    target.touch()
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        writer = SegmentWriter(target, stream)
        try:
            for number, packet in enumerate(packets_of(container)):
                writer.write(packet)
                each(number, writer)
            return writer.close()
        except BaseException:
            writer.abort()
            raise


def packets_of(container: Any) -> Iterator[VideoPacket]:
    return (packet for packet in container.demux(video=0) if packet.size)


def boxes(path: Path) -> list[str]:
    """The names of the file's top-level MP4 boxes."""
    found = []
    with path.open("rb") as file:
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[:4], "big")
            found.append(header[4:].decode())
            skip = int.from_bytes(file.read(8), "big") - 16 if size == 1 else size - 8
            file.seek(skip, io.SEEK_CUR)
    return found


def test_a_closed_file_is_an_ordinary_mp4_that_holds_every_packet(yellow_box: Path, tmp_path: Path) -> None:
    """One moov, no fragments left to see, the packets bit exact, and the times from 0 as they were."""
    target = tmp_path / "segment.mp4"
    written = copy(yellow_box, target)
    assert "moov" in boxes(target)
    assert "moof" not in boxes(target)
    was, seen = look(yellow_box, decode=False), look(target, decode=False)
    assert seen.packets == was.packets
    assert written.frames == 456
    assert seen.dts == pytest.approx([time - was.dts[0] for time in was.dts], abs=1e-4)
    assert written.duration == pytest.approx(456 / (456000 / 15217), abs=0.05)


def test_a_copy_taken_at_any_moment_is_at_most_one_fragment_short(black_cup: Path, tmp_path: Path) -> None:
    """What a kill -9 would leave is readable up to the last second, at every packet."""
    target, snapshot = tmp_path / "segment.mp4", tmp_path / "snapshot.mp4"
    was = look(black_cup, decode=False)

    def check(number: int, writer: SegmentWriter) -> None:
        if was.dts[number] - was.dts[0] <= FRAGMENT_SECONDS + 0.1 or number % 7:
            return
        shutil.copyfile(target, snapshot)
        seen = look(snapshot, decode=False)
        assert seen.packets == was.packets[: len(seen.packets)]
        assert was.dts[number] - was.dts[len(seen.packets) - 1] <= FRAGMENT_SECONDS + 0.1
        assert writer.frames == number + 1

    copy(black_cup, target, check)


def test_a_gop_longer_than_a_fragment_costs_no_more(yellow_box: Path, tmp_path: Path) -> None:
    """With 250 frames between keyframes, a crash still costs a second at most."""
    target, snapshot = tmp_path / "segment.mp4", tmp_path / "snapshot.mp4"

    def check(number: int, _: SegmentWriter) -> None:
        if number == 200:
            shutil.copyfile(target, snapshot)

    copy(yellow_box, target, check)
    assert 200 - 31 - 1 <= len(look(snapshot).packets) <= 201


class Journal:
    """What a file went through: writes, and whether they were before the end; syncs; a copy before every write."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path, copies: Path) -> None:
        self.steps: list[str] = []
        self.copies: list[Path] = []
        write, fdatasync = sink.DurableFile.write, os.fdatasync
        synced = [b""]

        def recording_write(file: sink.DurableFile, data: bytes) -> int:
            backward = file.tell() < path.stat().st_size
            position = file.tell()
            count = write(file, data)
            self.steps.append("back" if backward else "write")
            if backward:  # a power cut leaves what was synced, and of what was not, nothing or only this write
                for written in (b"", data):
                    torn = bytearray(synced[0])
                    torn[position : position + len(written)] = written
                    found = copies / f"{len(self.copies)}.mp4"
                    found.write_bytes(torn)
                    self.copies.append(found)
            return count

        def recording_sync(descriptor: int) -> None:
            fdatasync(descriptor)
            self.steps.append("sync")
            synced[0] = path.read_bytes()

        patch.setattr(sink.DurableFile, "write", recording_write)
        patch.setattr(os, "fdatasync", recording_sync)


def test_closing_survives_a_power_cut_at_every_write(
    black_cup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write before the end comes after a sync of all before it; a torn close leaves a readable file."""
    target = tmp_path / "segment.mp4"
    (tmp_path / "copies").mkdir()
    journal = Journal(monkeypatch, target, tmp_path / "copies")
    copy(black_cup, target)
    backward = [number for number, step in enumerate(journal.steps) if step == "back"]
    assert backward
    assert journal.steps[-1] == "sync"
    for number in backward:
        before = journal.steps[:number]
        last_sync = len(before) - before[::-1].index("sync")
        assert "write" not in before[last_sync:]
    for found in journal.copies:
        assert look(found).pictures == 217


def test_every_fragment_is_on_the_disk_when_write_returns(
    black_cup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing written stays unsynced between packets."""
    sizes = []
    fdatasync = os.fdatasync
    target = tmp_path / "segment.mp4"

    def recording_sync(descriptor: int) -> None:
        fdatasync(descriptor)
        sizes.append(target.stat().st_size)

    monkeypatch.setattr(os, "fdatasync", recording_sync)

    def durable(number: int, _: SegmentWriter) -> None:
        assert sizes, number
        assert sizes[-1] == target.stat().st_size, number

    copy(black_cup, target, durable)
    assert len(sizes) >= 8


def test_b_frames_come_back_in_their_order(tmp_path: Path) -> None:
    """Decoding and presentation times of reordered pictures survive."""
    clip = make_clip(tmp_path / "clip.mkv", b_frames=3)
    was, target = look(clip), tmp_path / "segment.mp4"
    assert was.dts != was.pts
    written = copy(make_clip(tmp_path / "clip.mp4", b_frames=3), target)
    seen = look(target)
    assert seen.pictures == written.frames == 50
    assert sorted(seen.pts) == pytest.approx([seen.pts[0] + n / 25 for n in range(50)], abs=1e-3)
    assert written.duration == pytest.approx(2.0, abs=0.05)


def test_mjpeg_is_stored_bit_exact(tmp_path: Path) -> None:
    """The pictures of a camera that sends JPEG are kept as it sent them."""
    clip = make_clip(tmp_path / "clip.avi", codec="mjpeg", pixels="yuvj420p")
    target = tmp_path / "segment.mp4"
    copy(clip, target)
    assert look(target).packets == look(clip).packets
    assert all(packet.startswith(b"\xff\xd8") for packet in look(target).packets)


def test_pictures_and_sound_a_tick_apart_are_all_kept(tmp_path: Path) -> None:
    """A clock finer than the stream's, or than the sound's sample rate, never puts two packets at one time."""
    clip, target, tick = tmp_path / "clip.mkv", tmp_path / "segment.mp4", Fraction(1, 90_000)
    with av.open(str(clip), "w") as made:
        pictures, sounds = made.add_stream("mjpeg", rate=25), made.add_stream("aac", rate=16_000)
        pictures.width, pictures.height, pictures.pix_fmt = 160, 120, "yuvj420p"
        for _ in range(10):
            made.mux(pictures.encode(av.VideoFrame(160, 120, "yuvj420p")))
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            noise.rate = 16_000
            made.mux(sounds.encode(noise))
        made.mux(pictures.encode(None))
    target.touch()
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        writer = SegmentWriter(target, video, audio)
        for number, packet in enumerate(packets_of(container)):
            packet.dts = packet.pts = number
            packet.time_base, packet.duration = tick, 0
            writer.write(packet)
        container.seek(0)
        for number, sound in enumerate(packet for packet in container.demux(audio) if packet.size):
            sound.time_base = tick
            writer.write_sound(sound, -0.01)  # from before the first picture: left out
            writer.write_sound(sound, float(number * tick))
        assert writer.close().frames == 10
    seen = look(target)
    assert (seen.packets, len(set(seen.dts))) == (look(clip).packets, 10)
    assert listen(target).packets == listen(clip).packets


def test_a_single_frame_lasts_as_long_as_a_frame(tmp_path: Path) -> None:
    """No segment has no duration."""
    target = tmp_path / "segment.mp4"
    written = copy(make_clip(tmp_path / "clip.mp4", frames=1), target)
    assert written.frames == 1
    assert written.duration == pytest.approx(1 / 25)
    assert look(target).pictures == 1


def test_a_full_disk_is_reported_and_what_was_durable_stays(black_cup: Path, tmp_path: Path) -> None:
    """DiskFull comes from the packet that found no room; everything before the last fragment is readable."""
    with small_disk(tmp_path / "disk", "256k") as disk:
        target = disk / "segment.mp4"
        reached = []
        with pytest.raises(DiskFull, match=r"segment\.mp4.*free space"):
            copy(black_cup, target, lambda number, _: reached.append(number))
        seen: Seen = look(target, decode=False)
        assert seen.packets
        assert seen.packets[:-1] == look(black_cup, decode=False).packets[: len(seen.packets) - 1]  # the last is torn
        assert reached[-1] - len(seen.packets) <= 2 * 27


def test_a_stream_the_container_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Raw pictures are no MP4."""
    clip = make_clip(tmp_path / "clip.avi", codec="rawvideo", pixels="yuv420p", frames=2)
    with pytest.raises((SourceUnsupported, WriteFailed)):
        copy(clip, tmp_path / "segment.mp4")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, black_cup: Path) -> None:
    """The writer fills a reserved file and makes none."""
    with av.open(str(black_cup)) as container, pytest.raises(SpoolUnusable):
        SegmentWriter(tmp_path / "gone.mp4", container.streams.video[0])


def test_ffmpeg_finds_nothing_wrong(black_cup: Path, tmp_path: Path) -> None:
    """Another reader than ours decodes the file without a word."""
    if not (ffmpeg := shutil.which("ffmpeg")):
        pytest.skip("ffmpeg is not installed")
    target = tmp_path / "segment.mp4"
    copy(black_cup, target)
    arguments = [ffmpeg, "-v", "warning", "-xerror", "-i", str(target), "-f", "null", "-"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_closing_reads_nothing_again(tmp_path: Path) -> None:
    """The checksum of a long segment is ready when it is closed: nobody waits while the disk gives it back."""
    clip = make_clip(tmp_path / "clip.mp4", codec="mjpeg", frames=200, pixels="yuvj420p", size=(640, 480))
    read: list[int] = []
    written = copy(clip, tmp_path / "segment.mp4", lambda *_: read.append(bytes_read()))
    assert (tmp_path / "segment.mp4").stat().st_size > 4_000_000
    assert bytes_read() - read[-1] < 200_000
    assert written.crc64nvme == crc64nvme(tmp_path / "segment.mp4").value


def bytes_read() -> int:
    """What this process has read from files so far, cached or not."""
    return int(Path("/proc/self/io").read_text().split()[1])
