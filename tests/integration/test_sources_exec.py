"""Commands as cameras: whatever writes H.264, H.265, MJPEG or MPEG-TS to its standard output."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from edge_agent.capture.report import Event
from edge_agent.capture.sources.child import last_line
from edge_agent.spool import Spool
from tests.support.capture import Recorded, capturing, job_for, recorded_in
from tests.support.clips import look, make_clip
from tests.support.rtsp import missing
from tests.support.sound import listen
from tests.support.wait import until

FFMPEG = "ffmpeg -hide_banner -loglevel error -re -f lavfi -i testsrc2=size=320x240:rate=20"
TRIES = 4  # of what is timed by its arrival: in one of them the machine stands still for no part of it
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")

# How cameras' JPEGs go on behind their first two bytes, and libav's do not: it takes the two for different formats.
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"

# Writes the pieces of a file, whose lengths are given, 20 a second: a camera that tells no times.
CAMERA = """
import sys, time
data, began = open(sys.argv[1], "rb").read(), time.monotonic()
for number, size in enumerate(map(int, sys.argv[2].split(","))):
    time.sleep(max(0, began + number / 20 - time.monotonic()))
    sys.stdout.buffer.write(data[:size])
    sys.stdout.buffer.flush()
    data = data[size:]
"""


def camera(tmp_path: Path, clip: Path, at_once: int = 1) -> str:
    """The source that writes *clip*, an elementary stream: a packet, then 20 times a second *at_once* of them."""
    script = tmp_path / "camera.py"
    script.write_text(CAMERA)
    lengths = [len(packet) for packet in look(clip, decode=False).packets]
    rest = [sum(lengths[number : number + at_once]) for number in range(1, len(lengths), at_once)]
    sizes = ",".join(map(str, [lengths[0], *rest]))
    return f"exec:{shlex.join([sys.executable, str(script), str(clip), sizes])}"


def record_until_it_ends(tmp_path: Path, source: str, **changes: float) -> Recorded:
    """Record one run of *source*'s command; it must end by itself with status 0."""
    with capturing(job_for(tmp_path, source, **changes)) as capture:
        lost = capture.wait_for("camera_lost")
        assert "command ended with status 0" in str(lost.fields["error"])
        assert lost.fields["code"] == "SourceLost"
        assert capture.stop() == 0
    return recorded_in(Spool(tmp_path / "spool"))


@pytest.mark.parametrize(("suffix", "codec", "name"), [("h264", "libx264", "h264"), ("mjpeg", "mjpeg", "mjpeg")])
def test_an_elementary_stream_lasts_as_long_as_it_took(tmp_path: Path, suffix: str, codec: str, name: str) -> None:
    """Pictures without times, declared 25 a second and sent 20 a second, are timed by their arrival; none is lost."""
    clip = make_clip(
        tmp_path / f"clip.{suffix}", codec=codec, frames=60, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"
    )
    # Those libav held while it looked what they are came out at once, and still stand where they came.
    expected = [pytest.approx(3.0, abs=0.2), pytest.approx(2.0, abs=0.15), pytest.approx(0.25, abs=0.15)]
    for number in range(TRIES):
        root = tmp_path / str(number)
        root.mkdir()
        recorded = record_until_it_ends(root, camera(root, clip))
        assert recorded.segments[0].codec == name
        assert recorded.frames[0] == 60
        if name == "mjpeg":
            assert recorded.seen[0].packets == look(clip).packets
        times = [recorded.segments[0].duration, recorded.seen[0].pts[40], recorded.seen[0].pts[5]]
        if times == expected:
            break
    assert times == expected


def test_pictures_that_come_at_once_are_all_kept(tmp_path: Path) -> None:
    """JPEGs so small that one read brings several are recorded in one segment; none is lost."""
    clip = make_clip(tmp_path / "clip.mjpeg", codec="mjpeg", frames=41, pixels="yuvj420p", size=(320, 240))
    pictures = [packet[:2] + JFIF + packet[2:] for packet in look(clip, decode=False).packets]
    clip.write_bytes(b"".join(pictures))
    recorded = record_until_it_ends(tmp_path, camera(tmp_path, clip, at_once=2))
    assert recorded.frames[0] == 41
    assert recorded.seen[0].packets == pictures


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None or bool(missing()), reason="no GStreamer here")
@pytest.mark.parametrize(
    ("encoder", "codec"),
    [
        ("jpegenc", "mjpeg"),
        ("videoconvert ! x264enc tune=zerolatency key-int-max=25 ! video/x-h264,stream-format=byte-stream", "h264"),
        ("videoconvert ! x264enc tune=zerolatency key-int-max=25 ! mpegtsmux", "h264"),
    ],
)
def test_a_gstreamer_pipeline_is_recorded(tmp_path: Path, encoder: str, codec: str) -> None:
    """Every picture a pipeline makes is in one segment, whatever it writes."""
    source = "videotestsrc is-live=true num-buffers=50 ! video/x-raw,width=320,height=240,framerate=50/1"
    recorded = record_until_it_ends(tmp_path, f"exec:gst-launch-1.0 -q {source} ! {encoder} ! fdsink")
    assert (recorded.segments[0].codec, recorded.frames[0]) == (codec, 50)


def test_h265_is_taken_too(tmp_path: Path) -> None:
    """Annex B of either codec."""
    clip = make_clip(tmp_path / "clip.hevc", codec="libx265", frames=40)
    recorded = record_until_it_ends(tmp_path, camera(tmp_path, clip))
    assert recorded.segments[0].codec == "hevc"
    assert recorded.frames[0] == 40


@needs_ffmpeg
def test_mpeg_ts_keeps_its_own_times_and_its_sound(tmp_path: Path) -> None:
    """A real command's transport stream: frames, times and sound as it says."""
    command = (
        f"{FFMPEG} -f lavfi -i sine=frequency=440 -t 3 "
        "-c:v libx264 -preset ultrafast -g 20 -pix_fmt yuv420p -c:a aac -f mpegts -"
    )
    recorded = record_until_it_ends(tmp_path, f"exec:{command}", audio=True)
    assert recorded.frames[0] == 60
    assert recorded.seen[0].pts == pytest.approx([number / 20 for number in range(60)], abs=0.01)
    heard = listen(tmp_path / "spool" / "ready" / f"{recorded.segments[0].name.stem}.mp4")
    assert heard.codec == "aac"
    assert heard.seconds == pytest.approx(3.0, abs=0.5)  # ffmpeg's last handful comes behind the last picture


@needs_ffmpeg
@pytest.mark.parametrize("output", ["-c:v mjpeg -f mjpeg -", "-c:v libx264 -preset ultrafast -g 20 -f h264 -"])
def test_a_real_command_is_recorded(tmp_path: Path, output: str) -> None:
    """ffmpeg as the vendor's tool: segments are cut in time, and stopping ends the command."""
    with capturing(job_for(tmp_path, f"exec:{FFMPEG} {output}", segment_seconds=1)) as capture:
        until(lambda: [cut_in_time(event) for event in capture.events("segment_closed")].count(True) >= 2, "segments")
        (child,) = psutil.Process(capture.process.pid).children()
        assert capture.stop() == 0
        until(lambda: has_ended(child), "the command's end")
    cut = [cut_in_time(event) for event in capture.events("segment_closed")]
    assert cut.count(True) > len(cut) / 2
    assert len(recorded_in(Spool(tmp_path / "spool")).segments) == len(cut)


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def cut_in_time(closed: Event) -> bool:
    """Whether that segment is as long as its pictures, of 20 a second, take; not so where the machine stood still."""
    frames, seconds = (float(str(closed.fields[name])) for name in ("frames", "seconds"))
    return 0.9 < seconds < 2.2 and frames == pytest.approx(seconds * 20, abs=3)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("no-such-camera-tool -o -", "SourceUnreachable", "exec:no-such-camera-tool: no such command; install it"),
        ("sh -c 'exit 0'", "SourceUnreachable", "exec:sh: command ended with status 0"),
        (
            "sh -c 'echo starting >&2; echo no camera at rtsp://me:hunter2@cam/ >&2; exit 3' --password=hunter2",
            "SourceUnreachable",
            "exec:sh: command ended with status 3: no camera at rtsp://me:***@cam/; try it in a shell",
        ),
        ("sh -c 'kill -SEGV $$'", "SourceUnreachable", "exec:sh: command was killed by SIGSEGV"),
        ("sh -c 'yes; true'", "SourceUnsupported", "exec:sh: what it writes is no video; let it write H.264"),
    ],
)
def test_a_command_that_is_no_camera_is_one_line(tmp_path: Path, command: str, code: str, says: str) -> None:
    """What went wrong, in the command's own last words, without a password; and it is tried again."""
    with capturing(job_for(tmp_path, f"exec:{command}")) as capture:
        lost = capture.wait_for("camera_lost")
        assert lost.fields["code"] == code
        assert str(lost.fields["error"]).startswith(says)
        assert capture.stop() == 0
        assert "hunter2" not in capture.said()
        assert "Traceback" not in capture.said()


def test_a_command_that_fails_while_it_sends_is_told_and_started_again(tmp_path: Path) -> None:
    """What it had sent is a segment."""
    clip = make_clip(tmp_path / "clip.h264", frames=30)
    script = f"cat {shlex.quote(str(clip))}; echo sensor timeout >&2; exit 7"
    with capturing(job_for(tmp_path, f"exec:{shlex.join(['sh', '-c', script])}")) as capture:
        lost = capture.wait_for("camera_lost")
        assert str(lost.fields["error"]) == "exec:sh: command ended with status 7: sensor timeout"
        capture.wait_for("segment_closed", 2)
        assert capture.stop() == 0
    assert recorded_in(Spool(tmp_path / "spool")).frames[:2] == [30, 30]


def test_a_command_that_falls_silent_is_a_stall(tmp_path: Path) -> None:
    """Its process is ended, whatever it thinks of being asked, and started anew."""
    clip = make_clip(tmp_path / "clip.h264", frames=30)
    script = f"trap '' TERM; cat {shlex.quote(str(clip))}; while true; do sleep 1; done"
    source = f"exec:{shlex.join(['sh', '-c', script])}"
    with capturing(job_for(tmp_path, source, stall_seconds=1)) as capture:
        capture.wait_for("segment_opened")
        assert capture.wait_for("camera_lost").fields["code"] == "SourceStalled"
        capture.wait_for("segment_opened", 2)
        until(lambda: len(psutil.Process(capture.process.pid).children()) <= 1, "the silent command's end")
        assert capture.stop() == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_command_never_outlives_the_recorder(tmp_path: Path, end: signal.Signals) -> None:
    """Also when the recorder is killed, and the command ignores every polite request."""
    clip = make_clip(tmp_path / "clip.h264", frames=30)
    script = "import signal,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CAMERA + "time.sleep(600)"
    arguments = [sys.executable, "-c", script, str(clip), ",".join(map(str, map(len, look(clip).packets)))]
    with capturing(job_for(tmp_path, f"exec:{shlex.join(arguments)}")) as capture:
        capture.wait_for("segment_opened")
        (child,) = psutil.Process(capture.process.pid).children()
        capture.process.send_signal(end)
        capture.process.wait(60)
        until(lambda: has_ended(child), "the command's end")


def test_last_words_are_one_printable_line() -> None:
    """Progress bars, colours and half a letter do no harm."""
    assert last_line(b"") == ""
    assert last_line(b"one\ntwo\r\n\n \n") == "two"
    assert last_line(b"10 %\r20 %\r") == "20 %"
    assert last_line(b"\x1b[31mfailed\xff") == "[31mfailed\ufffd"
    assert len(last_line(b"x" * 9999)) == 200
