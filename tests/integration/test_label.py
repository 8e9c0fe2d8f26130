"""``edge-agent label`` against a running agent: what it prints is what is in force, and the sidecars bear it out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.segment import parse_moment
from tests.support.agent import PATIENT_CLI, ROOT, mend, process, segments_in, write_settings
from tests.support.capture import BLUE, FIELDS, Tags, job_for, record
from tests.support.clock import FakeClock
from tests.support.wait import until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


def run(*arguments: str | Path, cli: Sequence[str] = ("-m", "edge_agent.cli")) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *cli, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def said(*arguments: str | Path) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def obeyed(*arguments: str | Path) -> str:
    """What an order says that is in force."""
    done = run(*arguments, cli=("-c", PATIENT_CLI))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(config: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(said("status", "-c", config, "--json"))["cameras"]["cam1"]
    return found


def test_a_label_tells_what_is_in_force_and_a_cleared_one_goes_back(tmp_path: Path) -> None:
    """When the command returns, the segment under the new class is open; who set it and when is in its sidecar."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"), segment_seconds=60)
    parts = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: list(parts.glob("black_cup_*.part")), "the first segment")
        line = obeyed("label", "cam1", "color=blue", "object=crate", "--for", "1h", "-c", config)
        (part,) = parts.glob("*.part")
        assert part.name.startswith("blue_crate_")
        assert line.startswith("cam1: blue_crate until ")
        assert line.endswith(f": recording {part.name.removesuffix('.mp4.part')}")
        line = obeyed("label", "cam1", "--clear", "-c", config)
        (part,) = parts.glob("*.part")
        assert line == f"cam1: black_cup: recording {part.name.removesuffix('.mp4.part')}"
    mend(tmp_path)
    segments = [segment for _, segment in segments_in(tmp_path / "spool" / "ready")]
    segments.sort(key=lambda segment: segment.start)
    assert [str(segment.name.tag) for segment in segments] == ["black_cup", "blue_crate", "black_cup"]
    assert [segment.class_set_by.partition(":")[0] for segment in segments] == ["config", "shell", "config"]
    assert abs(parse_moment(segments[1].class_set_at) - datetime.now(UTC)) < timedelta(minutes=3)


def test_a_label_for_some_seconds_ends_by_itself(tmp_path: Path) -> None:
    """The configured class is back without anyone doing anything."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"), segment_seconds=60)
    parts = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: list(parts.glob("black_cup_*.part")), "the first segment")
        began = time.monotonic()
        said("label", "cam1", "color=blue", "object=crate", "--for", "4s", "-c", config)
        until(lambda: list(parts.glob("black_cup_*.part")), "the configured class")
        assert time.monotonic() - began > 3


def test_a_camera_without_a_class_records_only_while_it_is_labelled(tmp_path: Path) -> None:
    """Its status says why nothing is recorded; a label, also one from before the start, makes it record."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"), segment_seconds=60, **{"class": None})
    parts = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", config):
        until((tmp_path / "spool/state/agent.sock").exists, "the agent")
        until(lambda: status(config)["state"] == "no class set", "the status")
        assert not list(parts.glob("*.part"))
        line = obeyed("label", "cam1", "color=blue", "object=crate", "-c", config)
        assert line.startswith("cam1: blue_crate: recording blue_crate_")
        line = obeyed("label", "cam1", "--clear", "-c", config)
        assert line == "cam1: no class: nothing is recorded without a class"
        assert not list(parts.glob("*.part"))
    end = datetime.now().astimezone().replace(microsecond=0, tzinfo=None) + timedelta(hours=1)
    line = said("label", "cam1", "color=red", "object=cup", "--until", end.isoformat(), "-c", config)
    assert line == f"cam1: red_cup until {end} recorded; takes effect when the agent starts"
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: list(parts.glob("red_cup_*.part")), "the label of before the start")


def test_a_camera_that_is_away_takes_the_label_when_it_is_back(tmp_path: Path) -> None:
    """The answer does not pretend that anything is recorded."""
    config = write_settings(tmp_path, f"file:{tmp_path}/nowhere.mp4", str(tmp_path / "store"))
    with process("edge_agent.cli", "capture", "-c", config):
        until((tmp_path / "spool/state/agent.sock").exists, "the agent")
        line = said("label", "cam1", "color=red", "object=cup", "-c", config)
    assert line.startswith("cam1: red_cup recorded; takes effect when the camera is back")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["cam1", "color=blue", "object=crate", "--for", "10"], "--for"),
        (["cam1", "color=blue", "object=crate", "--until", "2020-01-01"], "past"),
        (["cam1", "color=blue", "object=crate", "--until", "18:30", "--for", "1h"], "--until"),
        (["cam1", "color=blue", "object=crate", "--clear"], "--clear"),
        (["cam1"], "FIELD=VALUE"),
        (["cam9", "--clear"], "cam9"),
    ],
)
def test_a_label_that_cannot_be_changes_nothing(arguments: list[str], text: str, tmp_path: Path) -> None:
    """One line, exit status 2, no file."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"))
    done = run("label", *arguments, "-c", config)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert text in done.stderr
    assert not list(tmp_path.glob("spool/state/desired.json"))


def test_when_a_tag_ends_and_there_is_no_default_the_segment_is_closed(tmp_path: Path) -> None:
    """At the next keyframe, which is asked for; nothing more is recorded."""
    source = "synthetic:?size=160x120&fps=25&seconds=40"
    recorded = record(job_for(tmp_path, source), Tags([(BLUE, 100), (None, 10**9)]), FakeClock())
    assert [str(segment.name.tag) for segment in recorded.segments] == ["blue_crate"]
    assert recorded.segments[0].name.tag.fields == FIELDS
    assert [event.fields["reason"] for event in recorded.named("segment_closed")] == ["class_changed"]
