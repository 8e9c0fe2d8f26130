"""The desired state: durable, shared between processes, robust against hands."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.control.commands import (
    ClearClass,
    Desired,
    PauseUpload,
    ResumeUpload,
    SetBandwidth,
    SetClass,
    SetSampling,
    StartRecording,
    StopRecording,
    Switch,
    TagChoice,
    Tuning,
)
from edge_agent.control.desired import DesiredState
from edge_agent.control.tags import LOOK_SECONDS, DesiredTags
from edge_agent.control.uploads import DesiredUploads
from edge_agent.errors import SpoolUnusable
from edge_agent.segment import ClassTag
from edge_agent.upload.limits import Rules, UploadOrder, allowance
from tests.support.clock import FakeClock

FIELDS = ("color", "object")
NOW = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC)
YELLOW, BLUE = ClassTag(FIELDS, ("yellow", "box")), ClassTag(FIELDS, ("blue", "crate"))

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from edge_agent.control.commands import SetClass
from edge_agent.control.desired import DesiredState
from edge_agent.segment import ClassTag
state = DesiredState(Path(sys.argv[1]), ("color", "object"))
for number in range(20):
    tag = ClassTag(("color", "object"), ("blue", f"box{number}"))
    state.apply(SetClass(f"{sys.argv[2]}.{number}", tag), "shell:me", datetime.now(UTC))
"""


@pytest.fixture
def state(tmp_path: Path) -> DesiredState:
    return DesiredState(tmp_path / "state", FIELDS)


def test_a_class_is_there_after_a_restart(state: DesiredState) -> None:
    """What was set, by whom and when, is read back by a process that knows nothing else."""
    state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)
    state.apply(SetClass("cam2", BLUE), "shell:you", NOW)
    again = DesiredState(state.path.parent, FIELDS)
    assert again.of("cam1").choice == TagChoice(YELLOW, "shell:me", "2026-11-22T14:31:05.000Z")
    assert again.of("cam2").choice == TagChoice(BLUE, "shell:you", "2026-11-22T14:31:05.000Z")
    assert again.of("cam3").choice is None


def test_a_class_is_on_the_disk_before_set_returns(state: DesiredState, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, then renamed into place, then the directory is synced."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    def recording_replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)
    assert steps == ["sync .desired.json.tmp", "rename", "sync state"]


def test_concurrent_writers_lose_nothing(state: DesiredState) -> None:
    """Four shells that set twenty classes each leave eighty."""
    shells = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(state.path.parent), f"cam{number}"]) for number in range(4)
    ]
    assert [shell.wait(60) for shell in shells] == [0, 0, 0, 0]
    found = [state.of(f"cam{shell}.{number}").choice for shell in range(4) for number in range(20)]
    assert [choice and choice.tag.values[1] for choice in found] == [f"box{n}" for _ in range(4) for n in range(20)]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\xff",
        b"{",
        b"[]",
        b"5",
        b"[" * 100_000,
        b'{"cameras": []}',
        b'{"cameras": {"cam1": 5}}',
        b'{"cameras": {"cam1": {"class": "yellow"}}}',
        b'{"cameras": {"cam1": {"class": {"values": ["color", "object"], "set_by": "", "set_at": ""}}}}',
        b'{"cameras": {"cam1": {"class": {"values": {"color": "Y", "object": "b"}, "set_by": "", "set_at": ""}}}}',
        b'{"cameras": {"cam1": {"class": {"values": {"color": 5, "object": "b"}, "set_by": "", "set_at": ""}}}}',
        b'{"cameras": {"cam1": {"class": {"values": {"color": "y", "object": "b"}}}}}',
        b'{"cameras": {"cam1": {"class": {"values": {"color": "y", "object": "b"}, "set_by": "", "set_at": "", '
        b'"until": 5}}}}',
        b'{"cameras": {"cam1": {"recording": 5}}}',
        b'{"cameras": {"cam1": {"recording": {"on": "yes", "set_by": "", "set_at": ""}}}}',
        b'{"cameras": {"cam1": {"class": {"values": {"size": "y"}, "set_by": "", "set_at": ""}}}}',
    ],
)
def test_a_damaged_file_means_the_configured_class_and_can_be_written_anew(state: DesiredState, damage: bytes) -> None:
    """Whatever a hand did to the file, recording goes on, and the next label counts."""
    state.path.parent.mkdir()
    state.path.write_bytes(damage)
    assert state.of("cam1") == Desired()
    state.apply(SetClass("cam1", BLUE), "shell:me", NOW)
    choice = state.of("cam1").choice
    assert choice is not None
    assert choice.tag == BLUE


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A label that was not kept is not acknowledged."""
    (tmp_path / "file").touch()
    state = DesiredState(tmp_path / "file" / "state", FIELDS)
    with pytest.raises(SpoolUnusable):
        state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(state: DesiredState) -> None:
    """Better to say so than to record under the wrong class."""
    state.path.mkdir(parents=True)
    with pytest.raises(SpoolUnusable):
        state.of("cam1")


def test_a_change_is_noticed_at_the_next_look(state: DesiredState) -> None:
    """The class in force is the desired one, else the configured one, and looking costs one stat a moment."""
    clock = FakeClock()
    tags = DesiredTags(state, "cam1", YELLOW, clock)
    assert tags.current() == TagChoice(YELLOW)
    state.apply(SetClass("cam1", BLUE), "shell:me", NOW)
    assert tags.current() == TagChoice(YELLOW)
    clock.advance(LOOK_SECONDS)
    current = tags.current()
    assert current is not None
    assert (current.tag, current.set_by) == (BLUE, "shell:me")
    state.path.unlink()
    clock.advance(LOOK_SECONDS)
    assert tags.current() == TagChoice(YELLOW)


def test_without_any_class_nothing_is_recorded(state: DesiredState) -> None:
    """No configured and no desired class is None."""
    assert DesiredTags(state, "cam1", None, FakeClock()).current() is None


def test_a_class_for_other_fields_is_not_taken(state: DesiredState) -> None:
    """After the configured fields changed, an old choice does not count."""
    state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)
    assert DesiredState(state.path.parent, ("object",)).of("cam1").choice is None


def test_started_and_stopped_is_there_after_a_restart(state: DesiredState) -> None:
    """Class and recording are kept beside each other; one command changes one of them."""
    state.apply(SetClass("cam1", YELLOW, NOW + timedelta(hours=1)), "shell:me", NOW)
    state.apply(StopRecording("cam1"), "shell:you", NOW)
    choice = TagChoice(YELLOW, "shell:me", "2026-11-22T14:31:05.000Z", NOW + timedelta(hours=1))
    off = Switch(False, "shell:you", "2026-11-22T14:31:05.000Z")
    assert DesiredState(state.path.parent, FIELDS).of("cam1") == Desired(choice, off)
    state.apply(ClearClass("cam1"), "shell:me", NOW)
    assert state.of("cam1") == Desired(None, off)
    started = state.apply(StartRecording("cam1"), "shell:me", NOW)
    assert started == state.of("cam1")
    assert started.recording is not None
    assert started.recording.on


def test_a_command_leaves_alone_what_it_does_not_know(state: DesiredState) -> None:
    """A class for other fields, or what a later version wrote, is still there after a stop."""
    state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)
    DesiredState(state.path.parent, ("object",)).apply(StopRecording("cam1"), "shell:me", NOW)
    choice = state.of("cam1").choice
    assert choice is not None
    assert choice.tag == YELLOW


@pytest.mark.parametrize("default", [YELLOW, None])
def test_a_tag_ends_by_itself(state: DesiredState, default: ClassTag | None) -> None:
    """At its moment the configured class holds again, or none; also after a reboot past that moment."""
    clock = FakeClock(NOW)
    state.apply(SetClass("cam1", BLUE, NOW + timedelta(seconds=60)), "shell:me", NOW)
    tags = DesiredTags(state, "cam1", default, clock)
    clock.advance(59.9)
    current = tags.current()
    assert current is not None
    assert current.tag == BLUE
    clock.advance(LOOK_SECONDS)
    assert tags.current() == (TagChoice(default) if default else None)
    assert DesiredTags(state, "cam1", default, clock).current() == (TagChoice(default) if default else None)


def test_the_switch_is_noticed_at_the_next_look(state: DesiredState) -> None:
    """None while nobody said anything, then what was said last."""
    clock = FakeClock()
    tags = DesiredTags(state, "cam1", YELLOW, clock)
    assert tags.recording() is None
    for command, wanted in ((StartRecording("cam1"), True), (StopRecording("cam1"), False)):
        state.apply(command, "shell:me", NOW)
        clock.advance(LOOK_SECONDS)
        assert tags.recording() is wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_what_root_has_set_another_users_agent_reads_and_changes() -> None:
    """`sudo edge-agent label` leaves nothing behind that keeps the agent's user, who owns the directory, out."""
    nobody = 65534
    program = WRITER.replace("for number in range(20)", f"import os; os.setuid({nobody})\nfor number in range(20)")
    with tempfile.TemporaryDirectory() as directory:  # no user but root gets into pytest's own
        os.chown(directory, nobody, nobody)
        state = DesiredState(Path(directory), FIELDS)
        state.apply(SetClass("cam1", YELLOW), "shell:root", NOW)
        done = subprocess.run(
            [sys.executable, "-c", program, directory, "cam2"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        state.apply(SetClass("cam3", BLUE), "shell:root", NOW)
        found = [state.of(camera).choice for camera in ("cam1", "cam2.19", "cam3")]
    assert [choice and choice.tag.values[1] for choice in found] == ["box", "box19", "crate"]


def test_a_loan_ends_with_what_was_ordered_before(tmp_path: Path) -> None:
    """Uploads that were paused go on while it lasts, and pause again when it runs out or is given back."""
    state, began = DesiredState(tmp_path, FIELDS), datetime(2026, 11, 22, tzinfo=UTC)
    state.apply_upload(PauseUpload(), "shell:me", began - timedelta(hours=1))
    assert state.lend_upload("drain:1", began, began + timedelta(minutes=1))
    assert state.lend_upload("drain:1", began, began + timedelta(minutes=2))
    lent = state.upload()
    assert allowance(Rules(), lent, began + timedelta(seconds=119)).paused is None
    assert "shell:me" in str(allowance(Rules(), lent, began + timedelta(minutes=2)).paused)
    state.end_loan("drain:1")
    order = state.upload()
    assert order is not None
    assert (order.on, order.set_by, order.after) == (False, "shell:me", None)


def test_a_pause_during_a_loan_wins(tmp_path: Path) -> None:
    """What somebody orders meanwhile is neither lent over nor taken back."""
    state, began = DesiredState(tmp_path, FIELDS), datetime(2026, 11, 22, tzinfo=UTC)
    assert state.lend_upload("drain:1", began, began + timedelta(minutes=1))
    state.apply_upload(PauseUpload(), "shell:me", began + timedelta(seconds=5))
    assert not state.lend_upload("drain:1", began, began + timedelta(minutes=2))
    state.end_loan("drain:1")
    order = state.upload()
    assert order is not None
    assert order.set_by == "shell:me"


def test_an_order_for_uploads_is_there_after_a_restart_beside_the_cameras(state: DesiredState) -> None:
    """Who paused or resumed, when, and until when; the last order holds, and no camera's wish is touched."""
    state.apply(SetClass("cam1", YELLOW), "shell:me", NOW)
    paused = state.apply_upload(PauseUpload(NOW + timedelta(hours=2)), "shell:you", NOW)
    assert paused == UploadOrder(False, "shell:you", "2026-11-22T14:31:05.000Z", NOW + timedelta(hours=2))
    assert DesiredState(state.path.parent, FIELDS).upload() == paused
    resumed = state.apply_upload(ResumeUpload(), "shell:me", NOW)
    assert state.upload() == resumed == UploadOrder(True, "shell:me", "2026-11-22T14:31:05.000Z")
    assert state.of("cam1").choice is not None


@pytest.mark.parametrize(
    "damage",
    [
        b'{"upload": 5}',
        b'{"upload": {"on": "no", "set_by": "", "set_at": ""}}',
        b'{"upload": {"on": false}}',
        b'{"upload": {"on": false, "set_by": "", "set_at": "", "until": 5}}',
        b'{"upload": {"on": false, "set_by": "", "set_at": "", "until": "soon"}}',
    ],
)
def test_a_damaged_order_for_uploads_is_none(state: DesiredState, damage: bytes) -> None:
    """The settings hold, and the next order counts."""
    state.path.parent.mkdir()
    state.path.write_bytes(damage)
    assert state.upload() is None
    assert state.apply_upload(PauseUpload(), "shell:me", NOW) == state.upload()


def test_an_order_for_uploads_is_noticed_at_the_next_look(state: DesiredState) -> None:
    """A process that asks all the time sees each change, and one that undoes it."""
    uploads = DesiredUploads(state)
    assert uploads.current() is None
    order = state.apply_upload(PauseUpload(), "shell:me", NOW)
    assert uploads.current() == order
    state.path.unlink()
    assert uploads.current() is None


def test_tuning_is_kept_and_taken_back(tmp_path: Path) -> None:
    """Sampling by camera and a bandwidth, in place of settings, until they are as configured again."""
    state = DesiredState(tmp_path, ("color", "object"))
    assert state.tuning() == Tuning()
    state.tune(SetSampling("cam1", 5))
    state.tune(SetBandwidth(False, None))
    assert DesiredState(tmp_path, ("color", "object")).tuning() == Tuning({"cam1": 5}, SetBandwidth(False, None))
    state.tune(SetSampling("cam1", None))
    state.tune(SetBandwidth(True))
    assert state.tuning() == Tuning()
    state.path.write_text('{"tuning": {"keep_every": {"cam1": -1, "cam2": true}, "bandwidth": {"rate": "x"}}}')
    assert state.tuning() == Tuning()
