"""What an RTSP camera says of its own clock, in RTCP sender reports, and what becomes of it in names and sidecars."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.capture.report import STATUS
from edge_agent.segment import Segment
from edge_agent.spool import Spool
from tests.support.capture import Recorded, capturing, job_for, recorded_in
from tests.support.rtsp import rtsp_camera
from tests.support.rtsp_relay import Connection, Frame, relay_to

DELAY_SECONDS = 0.5  # from the relay to the recorder, on a machine that does other things; none on one that does not
SEGMENTS = 11  # of a second each: the last two begin long after the first report, which comes within six seconds


BELIEVED = [(0.0, "tcp"), (-1.0, "tcp"), (-1.0, "udp")]
WRONG = [(3600.0, "tcp"), (-3600.0, "tcp")]
CASES = [*BELIEVED, *WRONG]
Recordings = dict[tuple[float, str], tuple[Recorded, Connection]]


def recorded_with(root: Path, ahead: float, transport: str) -> tuple[Recorded, Connection]:
    """Segments of a camera whose clock is *ahead* by so many seconds, and what it sent."""
    with rtsp_camera() as camera, relay_to(camera.port) as relay:
        relay.clock_ahead = ahead
        with capturing(job_for(root, relay.url(), segment_seconds=1, transport=transport)) as capture:
            capture.wait_for("segment_closed", SEGMENTS, 150.0)
            assert capture.stop() == 0
    recorded = recorded_in(Spool(root / "spool"))
    recorded.events = capture.events()
    (connection,) = relay.connections
    return recorded, connection


def begun(recorded: Recorded, connection: Connection) -> list[tuple[Segment, Frame]]:
    """Each segment with the frame it begins with; no frame is lost on loopback."""
    numbers = [sum(recorded.frames[:number]) for number in range(len(recorded.frames))]
    return [(segment, connection.frames[n]) for segment, n in zip(recorded.segments, numbers, strict=True)]


def relay_is_right(connection: Connection, ahead: float) -> bool:
    """Whether what is measured against told a clock that is *ahead*; held up at any moment, but not at all of them."""
    late = min(frame.sent - connection.reports[0].taken(frame) for frame in connection.frames)
    return abs(late + ahead) < DELAY_SECONDS


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """What each of CASES recorded: all at once, as most of it is waiting for time to pass."""
    with ThreadPoolExecutor(len(CASES)) as threads:
        made = {case: threads.submit(recorded_with, tmp_path_factory.mktemp("camera"), *case) for case in CASES}
        return {case: future.result() for case, future in made.items()}


@pytest.mark.parametrize(("ahead", "transport"), BELIEVED)
def test_segments_start_when_the_camera_says_the_picture_was_taken(
    taken: Recordings, ahead: float, transport: str
) -> None:
    """Once a report has come, names and sidecars follow the camera's own time to the millisecond, not the arrival."""
    recorded, connection = taken[ahead, transport]
    report = connection.reports[0]
    # Time never runs back: it stands still until the camera's clock has caught up with what was told before the report,
    # by the time of arrival, which on a machine that does other things is late, too.
    settled = begun(recorded, connection)[-2:]
    assert settled[0][1].sent > report.wall - ahead + 1.1
    for segment, frame in settled:
        assert segment.start.timestamp() == pytest.approx(report.taken(frame), abs=0.01)
    assert relay_is_right(connection, ahead)
    assert recorded.events[-1].fields["camera_clock_ignored"] == 0


@pytest.mark.parametrize(("ahead", "transport"), WRONG)
def test_a_camera_whose_clock_is_wrong_is_timed_by_arrival(taken: Recordings, ahead: float, transport: str) -> None:
    """Reports an hour off are told once, counted, and change no time."""
    recorded, connection = taken[ahead, transport]
    # The relay may be held up at any moment, but not at all of them, and never for a minute.
    late = [abs(segment.start.timestamp() - frame.sent) for segment, frame in begun(recorded, connection)]
    assert min(late) < DELAY_SECONDS
    assert max(late) < 60
    (told,) = [event for event in recorded.events if event.name == "camera_clock_ignored"]
    assert float(str(told.fields["seconds"])) == pytest.approx(ahead, abs=60)
    assert int(str([e for e in recorded.events if e.name == STATUS][-1].fields["camera_clock_ignored"])) > 0
