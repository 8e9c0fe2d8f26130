"""V4L2: what a camera withholds of a wish, and packets that outlive their camera. A real camera: tests/acceptance."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.capture.sources.v4l2 import V4l2Source, unfulfilled
from tests.support.agent import packets_in


@pytest.mark.parametrize(
    ("wishes", "fps", "withheld"),
    [
        ({}, 25.0, ""),
        ({"size": "640x480", "fps": "30"}, 30000 / 1001, ""),
        ({"fps": "30"}, None, ""),
        ({"size": "1280x720"}, 30.0, "camera delivers 640x480, not size=1280x720"),
        ({"fps": "30"}, 5.0, "camera delivers 5 frames a second at 640x480, not fps=30"),
    ],
)
def test_a_wish_is_fulfilled_or_what_is_withheld_is_said(
    wishes: dict[str, str], fps: float | None, withheld: str
) -> None:
    """Size to the pixel, frame rate to a hundredth; a camera that does not tell its rate is believed."""
    assert unfulfilled(wishes, 640, 480, fps) == withheld


def test_packets_are_copies_that_outlive_the_camera(black_cup: Path) -> None:
    """After the camera is closed, with all it lent, each packet still holds its bytes, its times and its stream."""
    source = V4l2Source("v4l2:///dev/video0", str(black_cup), options={}, read_timeout=5.0, has_end=True)
    packets = list(source.packets())
    stream = source.stream
    assert all(packet.stream is stream for packet in packets)
    source.close()
    assert [bytes(packet) for packet in packets] == packets_in(black_cup)
    assert packets[0].is_keyframe
    assert not all(packet.is_keyframe for packet in packets)
    times = [packet.pts for packet in packets if packet.pts is not None]
    assert len(set(times)) == len(packets)
    assert all(packet.duration and packet.time_base for packet in packets)
