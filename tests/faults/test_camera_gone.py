"""Cameras that are unplugged, stop sending or never begin: what was delivered is kept, and recording resumes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.spool import Spool
from tests.support.capture import capturing, job_for, recorded_in
from tests.support.clips import make_clip
from tests.support.rtsp import rtsp_camera
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


def recorded_runs(root: Path, clip: Path) -> list[tuple[int, int]]:
    """The stretches of *clip* that were recorded without a gap; every segment is whole and decodes."""
    numbers = numbered(clip)
    recorded = recorded_in(Spool(root / "spool"))
    return runs(numbers[slices(packet)] for packet in recorded.packets)


@pytest.mark.timeout(600)
def test_camera_unplugged(tmp_path: Path, clip: Path, storm: bool, account: Callable[..., None]) -> None:
    """A camera that is killed and started again, time after time, loses nothing it had delivered."""
    times = 10 if storm else 2
    with (
        rtsp_camera(showing(clip)) as camera,
        capturing(job_for(tmp_path, camera.url(), segment_seconds=2.0)) as capture,
    ):
        for number in range(times):
            capture.wait_for("segment_closed", number * 2 + 1)
            lost = len(capture.events("camera_lost"))
            closed = len(capture.events("segment_closed"))
            camera.kill()
            capture.wait_for("camera_lost", lost + 1)
            assert len(capture.events("segment_closed")) == closed + 1
            camera.start()
            capture.wait_for("camera_connected", number + 2, seconds=40)
        capture.wait_for("segment_closed", times * 2 + 1)
        assert capture.stop() == 0
        waits = [event.fields["retry_in"] for event in capture.events("camera_lost")]
    found = recorded_runs(tmp_path, clip)
    assert len(found) == times + 1, found
    frames = sum(last - first + 1 for first, last in found)
    account(f"{times} times unplugged", "nothing delivered", f"{frames} frames without a gap, retries after {waits} s")


def test_camera_stalls(tmp_path: Path, clip: Path, account: Callable[..., None]) -> None:
    """A camera that keeps its socket open and sends nothing is given up in time, and taken up again when it is back."""
    with rtsp_camera(showing(clip)) as camera:
        job = job_for(tmp_path, camera.url(), segment_seconds=30.0, stall_seconds=2.0)
        with capturing(job) as capture:
            events = capture.events
            until(lambda: [e for e in events("camera_status") if float(e.fields["seconds"] or 0) > 1], "footage")
            camera.freeze()
            lost = capture.wait_for("camera_lost", seconds=10)
            assert lost.fields["code"] == "SourceStalled"
            capture.wait_for("segment_closed")
            camera.thaw()
            capture.wait_for("camera_connected", 2, seconds=60)
            capture.wait_for("segment_opened", 2)
            assert capture.stop() == 0
    found = recorded_runs(tmp_path, clip)
    account("socket open, no data", "nothing delivered", f"{len(found)} stretches without a gap: {found}")
    assert len(found) == 2


def test_camera_never_begins(tmp_path: Path, account: Callable[..., None]) -> None:
    """A server that accepts and says nothing is given up in time; meanwhile the process says that it is alive."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        job = job_for(tmp_path, f"rtsp://127.0.0.1:{port}/stream", stall_seconds=2.0)
        with capturing(job) as capture:
            lost = capture.wait_for("camera_lost", seconds=25)
            assert str(lost.fields["code"]).startswith("Source")
            assert len(capture.events("camera_status")) >= 2
            assert capture.stop() == 0
    account("accepts, says nothing", "nothing", f"given up: {lost.fields['error']}")
