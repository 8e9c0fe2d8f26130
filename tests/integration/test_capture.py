"""From cameras of every kind to segments in ready/."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.camera import Encoding
from edge_agent.capture.report import STATUS, Event
from edge_agent.control.commands import SetClass
from edge_agent.control.desired import DesiredState
from edge_agent.segment import ClassTag
from edge_agent.spool import Spool
from tests.support.capture import BLUE, FIELDS, YELLOW, Recorded, Tags, capturing, job_for, record, recorded_in
from tests.support.clips import look, make_clip
from tests.support.clock import FakeClock
from tests.support.ports import free_port
from tests.support.rtsp import H264, rtsp_camera
from tests.support.upload import names_in
from tests.support.wait import until

SECRET = "hunter2xyz"


def in_spool(root: Path) -> Recorded:
    assert names_in(root / "spool" / "recording") == [".lock-cam1"]
    return recorded_in(Spool(root / "spool"))


def test_a_file_is_recorded_whole_and_bit_exact(black_cup: Path, tmp_path: Path) -> None:
    """Every packet of the clip is in exactly one segment, in order, as it was."""
    recorded = record(job_for(tmp_path, f"file:{black_cup}", segment_seconds=2))
    assert recorded.packets == look(black_cup).packets
    assert sum(recorded.frames) == 217
    assert [event.fields["reason"] for event in recorded.named("segment_closed")] == ["full"] * 3 + ["source_ended"]


def test_segments_are_cut_before_keyframes_only(black_cup: Path, tmp_path: Path) -> None:
    """A cut waits for the next keyframe, so each segment plays by itself."""
    recorded = record(job_for(tmp_path, f"file:{black_cup}", segment_seconds=1.5))
    starts = [sum(recorded.frames[:number]) for number in range(len(recorded.frames))]
    assert set(starts) <= set(look(black_cup).keyframes)
    assert len(starts) > 2


def test_segments_follow_each_other_in_time_without_a_gap(black_cup: Path, tmp_path: Path) -> None:
    """Each segment's start is the one before plus its duration, though packets came in between."""
    clock = FakeClock()
    recorded = record(job_for(tmp_path, f"file:{black_cup}", segment_seconds=1), clock=clock)
    for before, after in zip(recorded.segments, recorded.segments[1:], strict=False):
        gap = after.start - before.start - timedelta(seconds=before.duration)
        assert abs(gap) < timedelta(milliseconds=3)


def test_a_looped_file_goes_on_without_a_seam(tmp_path: Path) -> None:
    """Three rounds are three times the frames, times running on."""
    clip = make_clip(tmp_path / "clip.mp4", frames=25)
    recorded = record(job_for(tmp_path, f"file:{clip}?loop=3"))
    assert recorded.frames == [75]
    assert recorded.packets == look(clip).packets * 3
    assert recorded.seen[0].dts == pytest.approx([n / 25 for n in range(75)], abs=1e-3)


def test_the_clip_is_played_at_its_own_pace(tmp_path: Path) -> None:
    """A file takes as long as it lasts."""
    clock = FakeClock()
    record(job_for(tmp_path, f"file:{make_clip(tmp_path / 'clip.mp4', frames=50)}"), clock=clock)
    assert 1.9 <= clock.monotonic() <= 2.5


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov", "h264", "avi"])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_no_frame_is_lost_whatever_the_container(tmp_path: Path, suffix: str, b_frames: int) -> None:
    """Also where a container gives no decoding times, or none at first."""
    clip = make_clip(tmp_path / f"clip.{suffix}", b_frames=b_frames)
    recorded = record(job_for(tmp_path, f"file:{clip}"))
    assert sum(recorded.frames) == 50


def test_a_camera_that_sends_jpeg_is_stored_bit_exact(tmp_path: Path) -> None:
    """MJPEG passes through: every picture can begin a segment."""
    clip = make_clip(tmp_path / "clip.avi", codec="mjpeg", pixels="yuvj420p")
    recorded = record(job_for(tmp_path, f"file:{clip}", segment_seconds=0.4))
    assert recorded.packets == look(clip).packets
    assert recorded.frames == [10] * 5
    assert {segment.codec for segment in recorded.segments} == {"mjpeg"}


@pytest.mark.parametrize(("codec", "pixels"), [("rawvideo", "yuv420p"), ("ffv1", "yuv420p"), ("msmpeg4", "yuv420p")])
def test_what_no_segment_can_hold_is_encoded_frame_for_frame(tmp_path: Path, codec: str, pixels: str) -> None:
    """Raw pictures and old codecs become H.264 with a keyframe a second, and no picture is lost."""
    clip = make_clip(tmp_path / "clip.avi", codec=codec, pixels=pixels)
    recorded = record(job_for(tmp_path, f"file:{clip}"))
    assert recorded.frames == [50]
    assert recorded.seen[0].keyframes == [0, 25]
    assert recorded.segments[0].codec == "h264"


def test_the_test_picture_lasts_as_long_as_asked(tmp_path: Path) -> None:
    """synthetic: gives size, rate and length as ordered."""
    recorded = record(job_for(tmp_path, "synthetic:?size=162x120&fps=10&seconds=3", segment_seconds=1))
    assert recorded.frames == [10, 10, 10]
    assert {(segment.width, segment.height) for segment in recorded.segments} == {(162, 120)}


def test_without_a_class_nothing_is_recorded_until_there_is_one(tmp_path: Path) -> None:
    """Recording begins with the first keyframe after the class, and ends with the class."""
    tags = Tags([(None, 30), (YELLOW, 40), (None, 10**9)])
    clip = make_clip(tmp_path / "clip.mp4", frames=100)
    recorded = record(job_for(tmp_path, f"file:{clip}"), tags)
    assert recorded.frames == [25]
    assert recorded.segments[0].name.tag == YELLOW


def test_no_segment_holds_two_classes_and_no_frame_is_lost(tmp_path: Path) -> None:
    """A class change cuts before a keyframe; all frames are in one segment or the next."""
    tags = Tags([(YELLOW, 30), (BLUE, 30), (YELLOW, 10**9)])
    clip = make_clip(tmp_path / "clip.mp4", frames=100)
    recorded = record(job_for(tmp_path, f"file:{clip}"), tags)
    assert [segment.name.tag for segment in recorded.segments] == [YELLOW, BLUE, YELLOW]
    assert recorded.frames == [50, 25, 25]
    assert recorded.packets == look(clip).packets


def test_a_class_change_while_encoding_asks_for_a_keyframe(tmp_path: Path) -> None:
    """Where pictures are encoded here, the change does not wait for the next regular keyframe."""
    state = DesiredState(tmp_path / "state", FIELDS)
    job = job_for(tmp_path, "synthetic:?size=160x120&fps=25", encode=Encoding(gop=10_000))  # none within minutes
    with capturing(job) as capture:
        for number in range(4):
            capture.wait_for("segment_opened", number + 1)
            tag = ClassTag(FIELDS, ("blue", f"box{number}"))
            state.apply(SetClass("cam1", tag), "shell:me", datetime.now(UTC))
        capture.wait_for("segment_opened", 5)
        assert capture.stop() == 0
        recorded = in_spool(tmp_path)
    assert [segment.name.tag.values[1] for segment in recorded.segments] == ["box", "box0", "box1", "box2", "box3"]
    assert [segment.class_set_by for segment in recorded.segments] == ["config"] + ["shell:me"] * 4
    assert [seen.keyframes for seen in recorded.seen] == [[0]] * 5
    lasted = recorded.segments[-1].start - recorded.segments[0].start
    assert sum(recorded.frames[:4]) == round(lasted.total_seconds() * 25)


def test_a_clip_that_is_gone_is_named_and_waited_for(tmp_path: Path) -> None:
    """A source that is not there yet is tried again until it is."""
    clip = tmp_path / "clip.mp4"
    with capturing(job_for(tmp_path, f"file:{clip}")) as capture:
        lost = capture.wait_for("camera_lost")
        assert lost.fields["code"] == "SourceUnreachable"
        assert str(clip) in str(lost.fields["error"])
        make_clip(tmp_path / "new.mp4", frames=25).rename(clip)
        assert capture.process.wait(60) == 0
    assert in_spool(tmp_path).frames == [25]


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00" * 5000])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    """One line says which file and what is wrong with it."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(content)
    with capturing(job_for(tmp_path, f"file:{clip}")) as capture:
        error = str(capture.wait_for("camera_lost").fields["error"])
        assert str(clip) in error
        assert error.isprintable()
        assert capture.stop() == 0
        assert "Traceback" not in capture.said()


def test_a_video_device_that_is_missing_is_named(tmp_path: Path) -> None:
    """A USB camera that is not plugged in is one clear line, again and again, never the end."""
    with capturing(job_for(tmp_path, "v4l2:///dev/video-none")) as capture:
        lost = capture.wait_for("camera_lost", 2)
        assert lost.fields["code"] == "SourceUnreachable"
        assert "v4l2:///dev/video-none" in str(lost.fields["error"])
        assert capture.stop() == 0
        assert "Traceback" not in capture.said()


def test_a_webcam_through_opencv_is_recorded(tmp_path: Path) -> None:
    """Pictures OpenCV grabs are encoded, timed by arrival; when it stops, the camera is lost and tried again."""
    clip = make_clip(tmp_path / "webcam.avi", codec="mjpeg", pixels="yuvj420p", frames=40)
    prelude = (
        "import cv2\n"
        "real = cv2.VideoCapture\n"
        f"cv2.VideoCapture = lambda index: real({str(clip)!r} if index == 0 else index)\n"
    )
    with capturing(job_for(tmp_path, "opencv://0"), prelude) as capture:
        lost = capture.wait_for("camera_lost")
        assert lost.fields["code"] == "SourceLost"
        assert capture.stop() == 0
        recorded = in_spool(tmp_path)
    assert recorded.frames[0] == 40
    assert recorded.segments[0].width == 160


def test_a_webcam_that_is_missing_is_named(tmp_path: Path) -> None:
    """OpenCV's own noise is kept out: one line says which camera."""
    with capturing(job_for(tmp_path, "opencv://97")) as capture:
        lost = capture.wait_for("camera_lost")
        assert "opencv://97: OpenCV finds no such camera" in str(lost.fields["error"])
        assert capture.stop() == 0
        assert capture.err.read_text() == ""


def test_copying_a_stream_imports_no_opencv_and_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    """A capture process of a camera that compresses stays small."""
    job = job_for(tmp_path, f"file:{make_clip(tmp_path / 'clip.mp4', frames=5)}")
    program = (
        "import sys, threading\n"
        "from edge_agent.capture.room import Room\n"
        "from edge_agent.processes import capture\n"
        "capture(sys.stdin.readline(), threading.Event(), Room())\n"
        "print(sorted({'cv2', 'boto3', 'botocore', 'pydantic', 'structlog', 'typer', 'rich'} & set(sys.modules)),"
        " file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=job.to_line(), capture_output=True, text=True, timeout=150, check=True
    )
    assert done.stderr == "[]\n"
    assert in_spool(tmp_path).frames == [5]


def test_two_processes_on_one_camera_are_refused(tmp_path: Path) -> None:
    """The second ends with one line and leaves the first alone."""
    job = job_for(tmp_path, "synthetic:?size=160x120")
    with capturing(job) as first:
        first.wait_for("segment_opened")
        with capturing(job) as second:
            assert second.process.wait(60) == 1
            (failed,) = second.events("process_failed")
            assert failed.fields["code"] == "SpoolUnusable"
            assert "another process is recording this camera" in str(failed.fields["error"])
        assert first.stop() == 0
    assert len(in_spool(tmp_path).segments) == 1


def test_an_rtsp_camera_is_recorded_as_it_sends(tmp_path: Path) -> None:
    """Segments of a real RTSP stream are cut in time, decode whole and carry the time of day."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(), segment_seconds=1)) as capture:
        began = datetime.now(UTC)
        capture.wait_for("segment_closed", 3)
        assert capture.stop() == 0
        recorded = in_spool(tmp_path)
    assert len(recorded.segments) >= 3
    for segment in recorded.segments[:3]:
        assert (segment.codec, segment.width, segment.height) == ("h264", 320, 240)
        assert 0.9 < segment.duration < 2.2
        assert segment.frames == pytest.approx(segment.duration * 25, abs=2)
        assert began - timedelta(seconds=2) < segment.start < began + timedelta(seconds=100)


def test_an_rtsp_camera_that_goes_and_comes_back_is_recorded_on(tmp_path: Path) -> None:
    """The open segment is finished when the camera goes, and a new one begins when it is back."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url())) as capture:
        capture.wait_for("segment_opened")
        capture.wait_for_status(state="recording", packets=capture.wait_for_status(state="recording").fields["packets"])
        camera.kill()
        assert capture.wait_for("segment_closed").fields["reason"] in ("source_lost", "source_ended")
        capture.wait_for("camera_lost")
        camera.start()
        capture.wait_for("segment_opened", 2)
        assert capture.stop() == 0
        recorded = recorded_in(Spool(tmp_path / "spool"), decode=False)  # it may be killed amid a picture
    assert len(recorded.segments) == 2


def test_a_camera_that_stops_sending_is_noticed_and_left(tmp_path: Path) -> None:
    """A frozen camera whose connection stands is a stall: said, closed, connected anew."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(), stall_seconds=1)) as capture:
        capture.wait_for("segment_opened")
        camera.freeze()
        lost = capture.wait_for("camera_lost", len(capture.events("camera_lost")) + 1)
        assert lost.fields["code"] == "SourceStalled"
        opened = len(capture.events("segment_opened"))
        assert len(capture.events("segment_closed")) == opened
        camera.thaw()
        capture.wait_for("segment_opened", opened + 1)
        assert capture.stop() == 0
    assert len(in_spool(tmp_path).segments) == len(capture.events("segment_opened"))


def test_a_machine_that_stood_still_takes_no_camera_for_stalled(tmp_path: Path) -> None:
    """Longer than a stall may be, nothing was read, as nothing ran: the connection stands and recording goes on."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(), stall_seconds=1)) as capture:
        seen = int(str(capture.wait_for_status(state="recording").fields["packets"]))
        capture.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        until(lambda: time.monotonic() - begun > 3.5, "more than a stall to pass")
        capture.process.send_signal(signal.SIGCONT)
        until(lambda: int(str(capture.events(STATUS)[-1].fields["packets"])) > seen + 120, "recording to go on")
        assert not capture.events("camera_lost")
        assert capture.stop() == 0


def test_a_login_is_used_and_never_shown(tmp_path: Path) -> None:
    """The right password records; a wrong one is one clear line without it."""
    with rtsp_camera(H264, user="admin", password=SECRET) as camera:
        with capturing(job_for(tmp_path / "right", camera.url())) as capture:
            capture.wait_for("segment_opened")
            assert capture.stop() == 0
            assert SECRET not in capture.said()
        with capturing(job_for(tmp_path / "wrong", camera.url(password=f"{SECRET}-wrong"))) as capture:
            lost = capture.wait_for("camera_lost")
            assert lost.fields["code"] == "SourceUnreachable"
            error = str(lost.fields["error"])
            assert error.startswith(f"rtsp://admin:***@127.0.0.1:{camera.port}/0: user or password refused")
            assert capture.stop() == 0
            assert SECRET not in capture.said()
    for file in (tmp_path / "right" / "spool").rglob("*.json"):
        assert SECRET not in file.read_text()


def test_a_camera_that_nobody_answers_for_is_one_line(tmp_path: Path) -> None:
    """Refused connections are told with the URL, tried again with back-off, and reported as alive meanwhile."""
    url = f"rtsp://127.0.0.1:{free_port()}/0"
    with capturing(job_for(tmp_path, url)) as capture:
        first, second = capture.wait_for("camera_lost"), capture.wait_for("camera_lost", 2)
        assert [event.fields["attempt"] for event in (first, second)] == [1, 2]
        assert url in str(first.fields["error"])
        capture.wait_for_status(state="waiting")
        assert capture.stop() == 0
        assert "Traceback" not in capture.said()


def test_a_path_the_camera_does_not_have_is_told(tmp_path: Path) -> None:
    """A wrong path is told from a wrong host."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(7))) as capture:
        assert "no such stream" in str(capture.wait_for("camera_lost").fields["error"])
        assert capture.stop() == 0


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    """Nothing of ours is lost while the disk is full, and recording goes on when there is room."""
    from tests.support.disk import small_disk

    with small_disk(tmp_path / "disk", "1m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        job = job_for(disk, "synthetic:?size=320x240", segment_seconds=1)
        logs = job_for(tmp_path, "").spool
        assert logs  # events go beside the spool: keep them off the small disk
        with capturing(job) as capture:
            lost = capture.wait_for("camera_lost")
            assert lost.fields["code"] == "DiskFull"
            whole = names_in(disk / "spool" / "ready")
            ballast.unlink()
            count = len(capture.events("segment_closed"))
            capture.wait_for("segment_closed", count + 1)
            capture.process.kill()
            capture.process.wait()
        assert set(whole) <= set(names_in(disk / "spool" / "ready"))
        recorded_in(Spool(disk / "spool"))


def test_a_status_tells_what_is_recorded(tmp_path: Path) -> None:
    """The parent knows class, segment and state of the camera, about once a second."""
    with capturing(job_for(tmp_path, "synthetic:?size=160x120")) as capture:
        status: Event = until(
            lambda: [e for e in capture.events("camera_status") if e.fields["state"] == "recording"], "a status"
        )[0]
        assert status.fields["tag"] == "yellow_box"
        assert str(status.fields["segment"]).startswith("yellow_box_dock7-cam1-")
        assert status.fields["format"] == "h264 160x120"
        assert capture.stop() == 0
    assert os.listdir(tmp_path / "spool" / "recording") == [".lock-cam1"]  # noqa: PTH208
