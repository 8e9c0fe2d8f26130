"""When a segment ends: the whole decision table."""

from __future__ import annotations

import itertools

import pytest

from edge_agent.capture.rotation import Incoming, Opened, Reason, due_to_close
from edge_agent.capture.sources.base import StreamFormat
from edge_agent.segment import ClassTag

FIELDS = ("color", "object")
YELLOW, BLUE = ClassTag(FIELDS, ("yellow", "box")), ClassTag(FIELDS, ("blue", "box"))
H264 = StreamFormat("h264", 640, 480, b"sps")
LENGTH = 10.0


@pytest.mark.parametrize(
    ("keyframe", "tag", "stream", "time", "reason"),
    [
        (False, YELLOW, H264, 101.0, None),
        (True, YELLOW, H264, 101.0, None),
        (True, YELLOW, H264, 109.999, None),
        (True, YELLOW, H264, 110.0, Reason.FULL),
        (False, YELLOW, H264, 1000.0, None),
        (False, BLUE, H264, 1000.0, None),
        (True, BLUE, H264, 100.04, Reason.CLASS_CHANGED),
        (True, None, H264, 100.04, Reason.CLASS_CHANGED),
        (False, None, H264, 100.04, None),
        (True, BLUE, H264, 1000.0, Reason.CLASS_CHANGED),
        (False, YELLOW, StreamFormat("h264", 640, 480, b"other"), 100.04, Reason.FORMAT_CHANGED),
        (False, YELLOW, StreamFormat("h264", 320, 240, b"sps"), 100.04, Reason.FORMAT_CHANGED),
        (True, BLUE, StreamFormat("mjpeg", 640, 480), 1000.0, Reason.FORMAT_CHANGED),
        (True, YELLOW, H264, 99.0, None),
    ],
)
def test_the_decision_table(
    keyframe: bool, tag: ClassTag | None, stream: StreamFormat, time: float, reason: Reason | None
) -> None:
    """Full and class changes cut before a keyframe, a change of format cuts at once, nothing else cuts."""
    opened = Opened(YELLOW, H264, 100.0)
    assert due_to_close(opened, Incoming(keyframe, tag, stream, time), LENGTH) is reason


def test_between_keyframes_only_a_change_of_format_cuts() -> None:
    """No segment begins with a picture that cannot be decoded by itself."""
    opened = Opened(YELLOW, H264, 0.0)
    for tag, time in itertools.product((YELLOW, BLUE, None), (0.0, 1e9)):
        assert due_to_close(opened, Incoming(False, tag, H264, time), LENGTH) is None
