"""A V4L2 camera in a guest machine: the real agent, Debian's own kernel, and a plug that is pulled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import pytest

from edge_agent.segment import Segment
from tests.acceptance import image, machine
from tests.support.agent import frames_in, segments_in

# Building the guest's disks, the first time: image.BUILD_SECONDS; then a boot.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(image.BUILD_SECONDS * 2 + machine.BOOT_SECONDS)]

FPS = 10
SIZE = (320, 180)


@dataclass(frozen=True, slots=True)
class Guest:
    """What one run in the guest left."""

    seen: dict[str, Any]
    segments: list[tuple[Path, Segment]]
    portable: list[tuple[Path, Segment]]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.seen["events"] if event["event"] == name]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """One boot for all tests: the camera is recorded, unplugged and plugged in twice, and the agent is stopped."""
    if reason := image.why_not():
        pytest.skip(reason)
    out = machine.run(Path(__file__).with_name("guest.py"), tmp_path_factory.mktemp("guest"))
    good, portable = (segments_in(out / name / "spool" / "ready") for name in ("good", "portable"))
    return Guest(json.loads((out / "seen.json").read_text()), good, portable)


def test_a_camera_without_a_compressed_format_is_encoded_in_the_wished_size_and_rate(guest: Guest) -> None:
    """Where the camera offers neither H.264 nor MJPEG, its raw pictures are taken, as large and as often as wished."""
    assert "YUYV" in guest.seen["formats"]
    assert "MJPG" not in guest.seen["formats"]
    assert "H264" not in guest.seen["formats"]
    steps: list[float] = []
    for video, segment in guest.segments:
        assert (segment.codec, segment.width, segment.height) == ("h264", *SIZE)
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            steps += [(after - before) * float(stream.time_base or 0) for before, after in pairwise(times)]
    assert median(steps) == pytest.approx(1 / FPS, rel=0.1)


def test_every_frame_that_came_is_in_a_published_segment_that_decodes(guest: Guest) -> None:
    """Packets counted on arrival, frames in the sidecars and pictures decoded agree; no picture is blank."""
    pictures = 0
    for video, segment in guest.segments:
        with av.open(str(video)) as container:
            spreads = [float(frame.to_ndarray(format="gray8").std()) for frame in container.decode(video=0)]
        assert len(spreads) == segment.frames, video.name
        assert min(spreads) > 20, f"{video.name} holds a blank picture"
        pictures += len(spreads)
    closed = guest.events("segment_closed")
    assert sum(event["frames"] for event in closed) == pictures
    assert sum(event["frames"] for event in closed[: guest.seen["closed"]]) == guest.seen["arrived"] > 0
    assert {event["stem"] for event in closed} == {event["stem"] for event in guest.events("segment_opened")}
    assert {event["stem"] for event in closed} == {video.stem for video, _ in guest.segments}


def test_pulling_the_plug_closes_and_publishes_the_segment_and_recording_resumes(guest: Guest) -> None:
    """A camera that dies in use, and one whose node goes too, are reported lost, and each records again by itself."""
    names = [
        event["event"] if event["event"] != "segment_closed" else f"closed:{event['reason']}"
        for event in guest.seen["events"]
        if event.get("camera") == "good"
    ]
    for _ in range(2):
        lost = names.index("camera_lost")
        assert names[lost - 1] == "closed:source_lost"
        again = names.index("camera_connected", lost)
        assert "closed:full" in names[again:], names
        names = names[again + 1 :]
    assert guest.seen["node_gone"]
    assert not [event for event in guest.seen["events"] if event["event"] in ("process_died", "process_failed")]
    first, *_ = guest.events("camera_lost")
    assert first["code"] == "SourceLost"
    assert "v4l2:///dev/video0" in first["error"]
    assert any("no such device" in event["error"] for event in guest.events("camera_lost"))
    assert all(0 < event["retry_in"] <= 30 for event in guest.events("camera_lost"))


def test_the_agent_stops_in_time_with_the_camera_running(guest: Guest) -> None:
    """SIGTERM ends everything with status 0, the open segment published."""
    assert guest.seen["exit_status"] == 0
    assert guest.events("segment_closed")[-1]["reason"] == "stopped"
    # Three seconds are promised on a real machine; this one is emulated, on cores that others use.
    assert guest.seen["stop_seconds"] < 15


def test_opencv_records_the_same_camera(guest: Guest) -> None:
    """Where V4L2 is not to be used, OpenCV's pictures of a real device become segments that decode."""
    assert guest.seen["portable"]["frames"] > 0
    for video, segment in guest.portable:
        assert (segment.codec, segment.width, segment.height) == ("h264", *SIZE)
        assert frames_in(video) == segment.frames, video.name


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("size", ("delivers 3840x2160", "size=9000x5000", "v4l2-ctl")),
        ("rate", ("frames a second", "fps=7", "v4l2-ctl")),
        ("coding", ("no format=mjpeg", "v4l2-ctl")),
        ("locked", ("permission denied", "group 'video'")),
        ("taken", ("in use by another program", "fuser /dev/video5")),
        ("absent", ("no such device", "plug")),
    ],
)
def test_a_camera_that_cannot_do_what_is_asked_says_so_in_one_line(
    guest: Guest, camera: str, said: tuple[str, ...]
) -> None:
    """What is wrong, with which camera, and what to do about it stand in one line, and no segment is begun."""
    error = guest.seen["refused"][camera]["error"]
    assert "\n" not in error
    assert error.startswith("v4l2:///dev/video")
    assert not guest.seen["refused_stems"]
    assert all(part in error for part in said), error
    assert ";" in error, f"nothing to do about it: {error}"


def test_init_finds_the_cameras_and_tries_one(guest: Guest) -> None:
    """Each camera is listed with its name, in order, and what the one that is set up delivers is said."""
    assert [url for url, _ in guest.seen["devices"]] == [f"v4l2:///dev/video{number}" for number in range(6)]
    assert all("vivid" in card.lower() for _, card in guest.seen["devices"])
    assert f"h264 {SIZE[0]}x{SIZE[1]}" in guest.seen["init"]
