"""The desired state: durable, shared between processes, robust against hands."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.control.desired import DesiredState, TagChoice
from edge_agent.control.tags import LOOK_SECONDS, DesiredTags
from edge_agent.errors import SpoolUnusable
from edge_agent.segment import ClassTag
from tests.support.clock import FakeClock

FIELDS = ("color", "object")
NOW = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC)
YELLOW, BLUE = ClassTag(FIELDS, ("yellow", "box")), ClassTag(FIELDS, ("blue", "crate"))

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from edge_agent.control.desired import DesiredState
from edge_agent.segment import ClassTag
state = DesiredState(Path(sys.argv[1]), ("color", "object"))
for number in range(20):
    tag = ClassTag(("color", "object"), ("blue", f"box{number}"))
    state.set_class(f"{sys.argv[2]}.{number}", tag, "shell:me", datetime.now(UTC))
"""


@pytest.fixture
def state(tmp_path: Path) -> DesiredState:
    return DesiredState(tmp_path / "state", FIELDS)


def test_a_class_is_there_after_a_restart(state: DesiredState) -> None:
    """What was set, by whom and when, is read back by a process that knows nothing else."""
    state.set_class("cam1", YELLOW, "shell:me", NOW)
    state.set_class("cam2", BLUE, "shell:you", NOW)
    again = DesiredState(state.path.parent, FIELDS)
    assert again.class_of("cam1") == TagChoice(YELLOW, "shell:me", "2026-11-22T14:31:05.000Z")
    assert again.class_of("cam2") == TagChoice(BLUE, "shell:you", "2026-11-22T14:31:05.000Z")
    assert again.class_of("cam3") is None


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
    state.set_class("cam1", YELLOW, "shell:me", NOW)
    assert steps == ["sync .desired.json.tmp", "rename", "sync state"]


def test_concurrent_writers_lose_nothing(state: DesiredState) -> None:
    """Four shells that set twenty classes each leave eighty."""
    shells = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(state.path.parent), f"cam{number}"]) for number in range(4)
    ]
    assert [shell.wait(60) for shell in shells] == [0, 0, 0, 0]
    found = [state.class_of(f"cam{shell}.{number}") for shell in range(4) for number in range(20)]
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
        b'{"cameras": {"cam1": {"class": {"values": {"size": "y"}, "set_by": "", "set_at": ""}}}}',
    ],
)
def test_a_damaged_file_means_the_configured_class_and_can_be_written_anew(state: DesiredState, damage: bytes) -> None:
    """Whatever a hand did to the file, recording goes on, and the next label counts."""
    state.path.parent.mkdir()
    state.path.write_bytes(damage)
    assert state.class_of("cam1") is None
    state.set_class("cam1", BLUE, "shell:me", NOW)
    choice = state.class_of("cam1")
    assert choice is not None
    assert choice.tag == BLUE


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A label that was not kept is not acknowledged."""
    (tmp_path / "file").touch()
    state = DesiredState(tmp_path / "file" / "state", FIELDS)
    with pytest.raises(SpoolUnusable):
        state.set_class("cam1", YELLOW, "shell:me", NOW)


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(state: DesiredState) -> None:
    """Better to say so than to record under the wrong class."""
    state.path.mkdir(parents=True)
    with pytest.raises(SpoolUnusable):
        state.class_of("cam1")


def test_a_change_is_noticed_at_the_next_look(state: DesiredState) -> None:
    """The class in force is the desired one, else the configured one, and looking costs one stat a moment."""
    clock = FakeClock()
    tags = DesiredTags(state, "cam1", YELLOW, clock)
    assert tags.current() == TagChoice(YELLOW)
    state.set_class("cam1", BLUE, "shell:me", NOW)
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
    state.set_class("cam1", YELLOW, "shell:me", NOW)
    assert DesiredState(state.path.parent, ("object",)).class_of("cam1") is None
