"""Cameras that are unplugged, stop sending or never begin: what was delivered is kept, and recording resumes."""

from __future__ import annotations

import functools
import shlex
import socket
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from edge_agent.capture.report import STATUS
from edge_agent.spool import Spool
from tests.support.capture import capturing, job_for, recorded_in
from tests.support.clips import look, make_clip
from tests.support.rtsp import rtsp_camera
from tests.support.rtsp_relay import relay_to
from tests.support.slices import numbered, runs, slices
from tests.support.wait import until

FPS = 25


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """What the camera shows each time it is started: a minute, no two pictures alike."""
    return make_clip(tmp_path / "clip.mp4", frames=60 * FPS)


def showing(clip: Path) -> str:
    # Parameter sets in the SDP alone: repeated, GStreamer puts them before each slice, which tears a picture in two.
    return f"filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=0"


def recorded_runs(root: Path, clip: Path, *, decode: bool = True) -> list[tuple[int, int]]:
    """The stretches of *clip* that were recorded without a gap; every segment is whole and decodes.

    A picture that the camera was stopped amid ends a segment as far as it came, which RTP tells nobody; it is left out.
    """
    numbers = numbered(clip)
    found = []
    for segment in recorded_in(Spool(root / "spool"), decode=decode).seen:
        *before, last = map(slices, segment.packets)
        found += [numbers[picture] for picture in before]
        if last in numbers:
            found.append(numbers[last])
        else:
            assert any(picture.startswith(last) for picture in numbers), "no picture of the clip, nor the begin of one"
    return runs(found)


@pytest.mark.timeout(600)
def test_camera_unplugged(tmp_path: Path, clip: Path, storm: bool, account: Callable[..., None]) -> None:
    """A camera that is killed and started again, time after time, loses nothing that it had sent."""
    times = 10 if storm else 2
    with (
        rtsp_camera(showing(clip)) as camera,
        relay_to(camera.port) as relay,
        capturing(job_for(tmp_path, relay.url(), segment_seconds=2.0)) as capture,
    ):
        for number in range(times):
            capture.wait_for("segment_closed", len(capture.events("segment_closed")) + 1)
            lost = len(capture.events("camera_lost"))
            camera.kill()
            capture.wait_for("camera_lost", lost + 1)
            reasons = [event.fields["reason"] for event in capture.events("segment_closed")]
            assert len([reason for reason in reasons if reason != "full"]) == number + 1
            camera.start()
            capture.wait_for("camera_connected", number + 2)
        capture.wait_for("segment_closed", len(capture.events("segment_closed")) + 1)
        assert capture.stop() == 0
        waits = [event.fields["retry_in"] for event in capture.events("camera_lost")]
    found = recorded_runs(tmp_path, clip)
    sent = [len(connection.frames) for connection in relay.connections if connection.frames]
    assert found[:times] == [(0, count - 1) for count in sent[:times]]  # all it sent, from the first to the last
    assert len(found) == len(sent) == times + 1
    account(
        f"{times} times unplugged",
        "nothing sent",
        f"{sum(sent[:times])} of {sum(sent[:times])} pictures the camera sent, retries after {waits} s",
    )


def test_camera_stalls(tmp_path: Path, clip: Path, account: Callable[..., None]) -> None:
    """A camera that keeps its socket open and sends nothing is given up in time, and taken up again when it is back."""
    with rtsp_camera(showing(clip)) as camera, relay_to(camera.port) as relay:
        job = job_for(tmp_path, relay.url(), segment_seconds=30.0, stall_seconds=2.0)
        with capturing(job) as capture:
            events = capture.events
            until(lambda: [e for e in events("camera_status") if float(e.fields["seconds"] or 0) > 1], "footage")
            camera.freeze()
            losses = [event.fields["code"] for event in events("camera_lost")]
            capture.wait_for("camera_lost", len(losses) + 1)
            assert events("camera_lost")[len(losses)].fields["code"] == "SourceStalled"
            frozen = len(losses)  # connections before the one that was frozen, if the machine itself stood still
            opened = len(events("segment_opened"))
            assert len(events("segment_closed")) == opened
            # It is hung up on, or what the camera sends on when it is back goes to nobody.
            until(lambda: all(each.over for each in relay.connections if each.frames), "the end of the connection")
            camera.thaw()
            capture.wait_for("camera_connected", frozen + 2)
            capture.wait_for("segment_opened", opened + 1)
            assert capture.stop() == 0
    found = recorded_runs(tmp_path, clip)
    sent = [len(connection.frames) for connection in relay.connections if connection.frames]
    kept = [last - first + 1 for first, last in found]
    note = f"{kept[frozen]} of {sent[frozen]} before it: {found}"
    account("socket open, no data", f"{sent[frozen] - kept[frozen]} pictures sent", note)
    assert len(found) == len(sent) >= frozen + 2
    assert 0 <= sent[frozen] - kept[frozen] <= 1


# Writes pictures of the lengths given, 20 a second, and a byte to another file for each; after so many it hangs, deaf
# to every polite request. Each start begins a line.
COMMAND = """
import os, signal, sys, time
data, began = open(sys.argv[1], "rb").read(), time.monotonic()
note = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(note, b"\\n")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number, size in enumerate(map(int, sys.argv[2].split(","))):
    while number == int(sys.argv[4]):
        time.sleep(1)
    time.sleep(max(0, began + number / 20 - time.monotonic()))
    os.write(1, data[:size])
    os.write(note, b".")
    data = data[size:]
"""


def command(root: Path, clip: Path, hangs_after: int = 10**9) -> str:
    """The source that writes *clip*'s pictures, and notes how many it wrote each time in ``written``."""
    stream = make_clip(root / "clip.h264", frames=10 * FPS)  # the same pictures
    sizes = ",".join(str(len(packet)) for packet in look(stream, decode=False).packets)
    arguments = [sys.executable, "-c", COMMAND, str(stream), sizes, str(root / "written"), str(hangs_after)]
    return f"exec:{shlex.join(arguments)}"


def written(root: Path) -> list[int]:
    """How many pictures the command wrote, each time it was started."""
    return [len(line) for line in (root / "written").read_text().split("\n")[1:]]


def has_written(root: Path, start: int, pictures: int) -> bool:
    """Whether the command was started again *start* times, and has written so many pictures since."""
    counts = written(root)
    return len(counts) > start and counts[-1] >= pictures


def test_command_unplugged(tmp_path: Path, storm: bool, account: Callable[..., None]) -> None:
    """A camera command that is killed again and again is started again; every picture it had written is recorded."""
    times = 10 if storm else 3
    clip = make_clip(tmp_path / "clip.mp4", frames=10 * FPS)
    with capturing(job_for(tmp_path, command(tmp_path, clip), segment_seconds=2.0)) as capture:
        for number in range(times):
            capture.wait_for("camera_connected", number + 1)
            until(functools.partial(has_written, tmp_path, number, 30), "30 pictures")
            (child,) = psutil.Process(capture.process.pid).children()
            child.kill()
            lost = capture.wait_for("camera_lost", number + 1)
            assert str(lost.fields["error"]).startswith("exec:python")
            assert "was killed by SIGKILL" in str(lost.fields["error"])
        capture.wait_for("camera_connected", times + 1)
        assert capture.stop() == 0
    wrote = written(tmp_path)
    found = recorded_runs(tmp_path, clip)
    kept = [last + 1 for first, last in found if first == 0]
    assert len(kept) == len(found)  # each begins with the first picture and has no gap
    # Killed between the write and its note, it wrote one more; stopped, it is ended while a picture is on its way.
    assert all(count in (said, said + 1) for count, said in zip(kept[:times], wrote, strict=False))
    account(f"{times} times killed", "nothing written", f"{sum(kept[:times])} of {sum(wrote[:times])} pictures noted")


def test_command_hangs(tmp_path: Path, account: Callable[..., None]) -> None:
    """A camera command that hangs silent is killed and started again; all its pictures but the last one are kept."""
    clip = make_clip(tmp_path / "clip.mp4", frames=10 * FPS)
    source = command(tmp_path, clip, hangs_after=40)
    with capturing(job_for(tmp_path, source, segment_seconds=30.0, stall_seconds=1.0)) as capture:
        capture.wait_for("segment_opened")
        # Given up before it hangs where the machine stands still: it must have written all of its pictures, twice.
        until(
            lambda: written(tmp_path)[: len(capture.events("camera_lost"))].count(40) >= 2, "two that hung to be over"
        )
        assert {event.fields["code"] for event in capture.events("camera_lost")} == {"SourceStalled"}
        until(lambda: len(psutil.Process(capture.process.pid).children()) <= 1, "those that hung to be killed")
        assert capture.stop() == 0
    found = recorded_runs(tmp_path, clip)
    assert found.count((0, 38)) >= 2  # libav holds the last picture until it sees the next
    assert all(first == 0 and last <= 38 for first, last in found)
    account("hangs after 40 pictures, twice", "the picture libav held, each time", f"pictures without a gap: {found}")


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_a_camera_that_leaves_a_request_unanswered(tmp_path: Path, account: Callable[..., None], method: str) -> None:
    """Whichever it is, the camera is said to give no answer, is tried again, and recorded once it answers."""
    with rtsp_camera() as camera, relay_to(camera.port) as relay:
        relay.unanswered = method
        with capturing(job_for(tmp_path, relay.url(), stall_seconds=1.0)) as capture:
            lost = capture.wait_for("camera_lost")
            assert (lost.fields["code"], lost.fields["error"]) == (
                "SourceUnreachable",
                f"{relay.url()}: gives no answer that RTSP knows; "
                "check that the camera is on, and the URL's address and port",
            )
            relay.unanswered = ""
            capture.wait_for("segment_opened")
            assert capture.stop() == 0
    account(f"{method} never answered", "nothing", "told, and recorded once it answers")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_live_stall_is_unhealthy(tmp_path: Path, clip: Path, account: Callable[..., None], transport: str) -> None:
    """A camera that falls silent is unhealthy long before it is given up; what it sent meanwhile is the gap."""
    with rtsp_camera(showing(clip)) as camera, relay_to(camera.port) as relay:
        job = job_for(tmp_path, relay.url(), segment_seconds=30.0, transport=transport)
        with capturing(job) as capture:
            capture.wait_for_status(state="recording", healthy=True, picture="ok")
            relay.mute = True
            until(lambda: len(relay.connections[0].lost) > FPS, "a second without a picture")
            sick = capture.wait_for_status(state="recording", healthy=False, picture="ok")
            assert not capture.events("camera_lost")
            assert str(sick.fields["problem"]).startswith("nothing has reached the disk for ")
            relay.mute = False
            told = len(capture.events(STATUS))
            well = until(
                lambda: [event for event in capture.events(STATUS)[told:] if event.fields["healthy"]], "its recovery"
            )
            assert well[0].fields["problem"] == ""
            assert not capture.events("camera_lost")  # it was back in time
            assert capture.stop() == 0
            dropped = capture.events(STATUS)[-1].fields["dropped"]
    before, after = recorded_runs(tmp_path, clip, decode=False)  # behind the gap, pictures refer to what never came
    (connection,) = relay.connections
    missing = after[0] - before[1] - 1
    assert missing == dropped == len(connection.lost)
    account(
        f"silent for a while, {transport}",
        f"{missing} pictures that never came",
        f"unhealthy meanwhile, then well; dropped told: {dropped}, without a gap: {[before, after]}",
    )


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_plays_nothing(tmp_path: Path, account: Callable[..., None], transport: str) -> None:
    """A camera that answers every request and sends no picture is one that stalls, and is taken up when it sends."""
    with rtsp_camera() as camera, relay_to(camera.port) as relay:
        relay.mute = True
        with capturing(job_for(tmp_path, relay.url(), stall_seconds=1.0, transport=transport)) as capture:
            lost = until(
                lambda: [event for event in capture.events("camera_lost") if event.fields["code"] == "SourceStalled"],
                "a stall",  # a machine that stands still may miss an answer before it
            )[0]
            assert "no answer in time; check the camera and its network" in str(lost.fields["error"])
            assert not any(event.fields["healthy"] for event in capture.events(STATUS))
            relay.mute = False
            capture.wait_for("segment_opened")
            assert capture.stop() == 0
    account(f"plays nothing, {transport}", "nothing", "told as a stall, and recorded once it sends")


def test_camera_never_begins(tmp_path: Path, account: Callable[..., None]) -> None:
    """A server that accepts and says nothing is given up in time; meanwhile the process says that it is alive."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        job = job_for(tmp_path, f"rtsp://127.0.0.1:{port}/stream", stall_seconds=2.0)
        with capturing(job) as capture:
            lost = capture.wait_for("camera_lost")
            assert lost.fields["code"] == "SourceUnreachable"
            assert "gives no answer that RTSP knows" in str(lost.fields["error"])
            twice = ("connecting", "connecting")  # with nothing else between
            until(
                lambda: twice in pairwise(e.fields.get("state") for e in capture.events()), "a sign of life meanwhile"
            )
            assert capture.stop() == 0
    account("accepts, says nothing", "nothing", f"given up: {lost.fields['error']}")
