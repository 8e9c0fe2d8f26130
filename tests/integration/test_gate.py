"""The gate on real packets: what moves is recorded from before it moved, the rest is not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.camera import GateSettings
from edge_agent.capture.job import CaptureJob
from edge_agent.capture.report import STATUS
from edge_agent.config import load
from edge_agent.errors import ConfigInvalid
from tests.support.agent import PATIENT_CLI, ROOT, mend, process, segments_in, write_settings
from tests.support.capture import BLUE, YELLOW, Recorded, Tags, job_for, record
from tests.support.clips import look
from tests.support.clock import FakeClock
from tests.support.scenes import make_scene
from tests.support.wait import until

GATE = {"mode": "motion", "minimum_seconds": 2.0, "cool_down_seconds": 2.0, "pre_roll_seconds": 2.0}


def gated(tmp_path: Path, source: str, **gate: object) -> CaptureJob:
    return job_for(tmp_path, source, gate=GateSettings(**{**GATE, **gate}))  # type: ignore[arg-type]


def starts(recorded: Recorded) -> list[float]:
    """Seconds from the source's first picture to the first one of each segment."""
    first = FakeClock().now()
    return [round((segment.start - first).total_seconds(), 2) for segment in recorded.segments]


def test_motion_is_recorded_with_what_was_before_it_and_nothing_else_is(tmp_path: Path) -> None:
    """The segment begins two seconds before the motion was seen, holds all of it, and ends after the cool-down."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=20, moving=((6.2, 9.0),))
    recorded = record(gated(tmp_path, f"file:{clip}"))
    # Seen at the keyframe of second 7, last at that of second 9; open until 11; two seconds before 7 are held.
    assert starts(recorded) == [5.0]
    assert recorded.frames == [6 * 25]
    assert recorded.packets == look(clip).packets[5 * 25 : 11 * 25]
    assert [event.fields["gate"] for event in recorded.named("gate_changed")] == ["open", "waiting for motion"]
    assert [event.fields["reason"] for event in recorded.named("segment_closed")] == ["gate_closed"]


def test_two_events_are_two_segments_and_no_packet_stands_in_both(tmp_path: Path) -> None:
    """A pre-roll reaches back to the end of the segment before it, never into it."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=20, moving=((4.2, 5.0), (9.2, 10.0)))
    recorded = record(gated(tmp_path, f"file:{clip}", pre_roll_seconds=30.0))
    packets = look(clip).packets
    # The first opens at 5 and closes at 7; the second opens at 10 with all since 7, and closes at 12.
    assert starts(recorded) == [0.0, 7.0]
    assert recorded.packets == packets[: 12 * 25]


def test_a_long_event_is_cut_into_segments_like_any_recording(tmp_path: Path) -> None:
    """The length of a segment counts from its first picture, pre-roll included."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=14, moving=((2.2, 14.0),))
    recorded = record(replace(gated(tmp_path, f"file:{clip}"), segment_seconds=5.0))
    assert recorded.frames == [125, 125, 75]
    assert recorded.packets == look(clip).packets[25:]


@pytest.mark.parametrize(
    ("case", "scene", "gate"),
    [
        ("a still view", {}, {"sensitivity": 0.8}),
        ("light that comes and goes", {"flicker": 0.3}, {}),
        ("noise", {"noise": 8}, {}),
        ("motion in an ignored area", {"moving": ((3.0, 9.0),)}, {"ignore": ((0.0, 0.35, 1.0, 0.3),)}),
        ("motion too small for the sensitivity", {"moving": ((3.0, 9.0),)}, {"sensitivity": 0.0}),
    ],
)
def test_what_is_no_motion_is_not_recorded(
    case: str, scene: dict[str, object], gate: dict[str, object], tmp_path: Path
) -> None:
    """Nothing is written, and no segment is begun."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=10, **scene)  # type: ignore[arg-type]
    recorded = record(gated(tmp_path, f"file:{clip}", **gate))
    assert recorded.segments == [], case
    assert recorded.named("segment_opened") == []


def test_motion_in_flickering_light_and_beside_an_ignored_area_is_seen(tmp_path: Path) -> None:
    """What is ignored and what is compensated hides nothing else."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=10, moving=((4.2, 6.0),), flicker=0.3)
    recorded = record(gated(tmp_path, f"file:{clip}", ignore=((0.0, 0.0, 1.0, 0.3),)))
    assert len(recorded.segments) == 1
    assert recorded.packets == look(clip).packets[3 * 25 : 8 * 25]


def test_with_keyframes_far_apart_motion_is_still_seen_within_a_second(tmp_path: Path) -> None:
    """A camera with a keyframe in ten seconds is decoded in between; the pre-roll begins with its last keyframe."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=30, moving=((13.2, 14.0),), gop=250)
    recorded = record(gated(tmp_path, f"file:{clip}"))
    opened = next(e for e in recorded.events if e.name == "gate_changed" and e.fields["gate"] == "open")
    assert opened
    # Open from 14 on; closed at the next keyframe, at 20, since a GOP is never torn.
    assert recorded.packets == look(clip).packets[250:500]


def test_the_pre_roll_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Where less than the wished seconds fits, the newest whole GOPs are kept."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=12, moving=((8.2, 9.0),))
    packets = look(clip).packets
    room = sum(map(len, packets[7 * 25 : 9 * 25 + 1])) + 10
    recorded = record(gated(tmp_path, f"file:{clip}", pre_roll_seconds=30.0, pre_roll_bytes=room))
    assert recorded.packets[:25] == packets[7 * 25 : 8 * 25]
    recorded = record(gated(tmp_path / "none", f"file:{clip}", pre_roll_bytes=0))
    assert recorded.packets == packets[9 * 25 : 11 * 25]


def test_a_class_set_during_the_pre_roll_holds_from_then_on_only(tmp_path: Path) -> None:
    """What was recorded before the change stays under the class that was in force when it was seen."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=12, moving=((6.2, 7.0),))
    recorded = record(gated(tmp_path, f"file:{clip}"), Tags([(YELLOW, 6 * 25), (BLUE, 10**9)]))
    assert [(str(segment.name.tag), segment.frames) for segment in recorded.segments] == [
        ("yellow_box", 25),
        ("blue_crate", 75),
    ]
    assert recorded.packets == look(clip).packets[5 * 25 : 9 * 25]


def test_a_camera_outside_its_schedule_keeps_the_connection_and_writes_nothing(tmp_path: Path) -> None:
    """Recording ends with the window and begins with the next; in between the camera stays connected."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=10)
    clock = FakeClock(datetime(2026, 11, 22, 14, 31, 50, tzinfo=UTC))
    now = clock.now().astimezone()
    job = gated(
        tmp_path,
        f"file:{clip}?loop=10",
        mode="continuous",
        schedule=(f"{now:%H:%M}-{now + timedelta(minutes=1):%H:%M}",),
    )
    recorded = record(job, clock=clock)
    closed = recorded.named("segment_closed")
    assert [event.fields["reason"] for event in closed] == ["gate_closed"]
    assert [event.fields["gate"] for event in recorded.named("gate_changed")] == ["outside schedule"]
    assert len(recorded.named("camera_connected")) == 1
    assert recorded.segments[0].duration == pytest.approx(10, abs=0.5)
    assert {e.fields["state"] for e in recorded.events if e.name == STATUS} >= {"recording", "gate closed"}


def test_a_window_that_opens_begins_to_record(tmp_path: Path) -> None:
    """The first keyframe within the window is the first that is recorded; no pre-roll reaches out of it."""
    clip = make_scene(tmp_path / "clip.mp4", seconds=10, moving=((0.0, 10.0),))
    clock = FakeClock()
    soon = (clock.now().astimezone() + timedelta(minutes=1)).replace(second=0)
    job = gated(tmp_path, f"file:{clip}?loop=10", schedule=(f"{soon:%H:%M}-23:59",), pre_roll_seconds=30.0)
    recorded = record(job, clock=clock)
    assert soon <= recorded.segments[0].start <= soon + timedelta(seconds=3)
    assert {e.fields["gate"] for e in recorded.events if e.name == STATUS} >= {"outside schedule", "open"}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"schedule": ["mon-fry 08:00-18:00"]}, "fry"),
        ({"schedule": ["mon 08:00-08:00"]}, "begins when it ends"),
        ({"ignore": [[0.5, 0.5, 0.6, 0.1]]}, "leaves the picture"),
        ({"mode": "sometimes"}, "mode"),
        ({"sensitivity": 2}, "sensitivity"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_by_the_configuration(
    gate: dict[str, object], said: str, tmp_path: Path
) -> None:
    """With the path of the setting and what is wrong with it."""
    config = write_settings(tmp_path, "synthetic:", "store", gate=gate)
    with pytest.raises(ConfigInvalid) as caught:
        load(config)
    assert "cameras.cam1.gate" in str(caught.value)
    assert said in str(caught.value)


def _order(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PATIENT_CLI, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _obeyed(order: str, config: Path, told: str) -> None:
    """Give *order*, and see that it tells what is in force."""
    said = _order(order, "cam1", "-c", config)
    assert said.startswith(f"cam1: {told}"), said


def test_an_on_demand_camera_records_from_start_to_stop(tmp_path: Path) -> None:
    """Each command returns what is then in force; a started camera is still started after a restart of the agent."""
    source = "synthetic:?size=160x120&fps=25"
    config = write_settings(tmp_path, source, str(tmp_path / "store"), gate={"mode": "on_demand"}, segment_seconds=60)
    parts, ready = tmp_path / "spool" / "recording", tmp_path / "spool" / "ready"
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: '"gate": "off"' in _order("status", "-c", config, "--json"), "the camera")
        assert not list(parts.glob("*.part"))
        _obeyed("start", config, "started: recording black_cup_dock7-cam1-")
        (part,) = parts.glob("*.part")
        _obeyed("stop", config, "stopped: nothing is recorded")
        assert not list(parts.glob("*.part"))
        assert (ready / part.name.removesuffix(".part")).exists()
        _obeyed("start", config, "started: recording ")
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: list(parts.glob("*.part")), "the camera to record again")
    mend(tmp_path)
    assert len(segments_in(ready)) == 3
    assert _order("stop", "cam1", "-c", config) == "cam1: recorded; takes effect when the agent starts"


def test_any_camera_can_be_paused(tmp_path: Path) -> None:
    """stop holds for a continuous camera, too, until start."""
    config = write_settings(tmp_path, "synthetic:?size=160x120&fps=25", str(tmp_path / "store"), segment_seconds=60)
    parts = tmp_path / "spool" / "recording"
    _order("stop", "cam1", "-c", config)
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: '"gate": "off"' in _order("status", "-c", config, "--json"), "the camera")
        assert not list(parts.glob("*.part"))
        _obeyed("start", config, "started: recording ")


def test_a_pre_roll_from_before_the_clock_was_set_says_so(tmp_path: Path) -> None:
    """It is told by the clock of its own time, not of the moment when it is written; so its name is corrected later."""
    wrong, ahead = datetime(1970, 1, 1, 0, 10, tzinfo=UTC), 1_795_000_000.0
    clock = FakeClock(wrong)
    clock.is_synchronised = False

    def set_clock() -> None:
        clock.step(ahead)
        clock.is_synchronised = True

    clock.after(6.5, set_clock)
    clip = make_scene(tmp_path / "clip.mp4", seconds=20, moving=((6.2, 9.0),))
    recorded = record(gated(tmp_path, f"file:{clip}"), clock=clock)
    held, after = recorded.segments
    assert (held.clock, held.start, held.monotonic) == ("unsynchronised", wrong + timedelta(seconds=5), 5.0)
    assert (after.clock, after.start) == ("synchronised", wrong + timedelta(seconds=ahead + 7))
    assert sum(recorded.frames) == 6 * 25
