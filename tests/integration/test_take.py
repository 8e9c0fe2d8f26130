"""One take at a laptop: what a long one, a slow camera and a lost terminal do."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_agent import take
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.spool import Spool
from tests.support.agent import ROOT, frames_in, process, segments_in
from tests.support.capture import FIELDS
from tests.support.clips import make_clip
from tests.support.clock import FakeClock
from tests.support.rtsp import rtsp_camera
from tests.support.upload import names_in
from tests.support.wait import until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


def test_a_take_longer_than_any_segment_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes under one name are one video: a take is never cut."""
    clip = make_clip(tmp_path / "clip.mp4", frames=25)
    monkeypatch.setattr(take, "SystemClock", FakeClock)
    out = tmp_path / "out"
    take.record_take("yellow_box_3", f"file:{clip}?loop=120", out, None, FIELDS, threading.Event())
    ((_, segment),) = segments_in(out)
    assert segment.frames == 120 * 25
    assert segment.duration == pytest.approx(120, abs=0.1)
    assert names_in(out) == ["yellow_box_3.json", "yellow_box_3.mp4"]


def test_the_length_asked_for_is_what_is_recorded_however_slow_the_camera(tmp_path: Path) -> None:
    """--seconds counts from the first frame, not from the first try."""
    with rtsp_camera() as camera:
        for number in range(4):  # a machine that stands still may have one last longer
            out = tmp_path / str(number)
            arguments = ["--name", "blue_box_1", "--source", camera.url(), "--seconds", "1.5", "--out", str(out)]
            done = subprocess.run(
                [sys.executable, "-m", "edge_agent.cli", "record", *arguments],
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
                cwd=ROOT,
            )
            assert done.returncode == 0, done.stderr
            ((_, segment),) = segments_in(out)
            assert segment.duration >= 1.0
            if segment.duration <= 3.5:
                break
    assert segment.duration <= 3.5


def test_one_name_is_recorded_by_one_process(tmp_path: Path) -> None:
    """A second take of the name neither disturbs the first nor salvages it away."""
    arguments = ["record", "--name", "blue_box_1", "--source", SYNTHETIC, "--out", str(tmp_path)]
    with process("edge_agent.cli", *arguments) as first:
        until(lambda: [p for p in tmp_path.rglob("*.part") if p.stat().st_size], "the first fragment")
        with pytest.raises(SpoolUnusable):
            take.record_take("blue_box_1", SYNTHETIC, tmp_path, 1, FIELDS, threading.Event())
        first.send_signal(signal.SIGINT)
        output, _ = first.communicate(timeout=60)
        assert first.returncode == 0, output
    ((video, segment),) = segments_in(tmp_path)
    assert frames_in(video) == segment.frames


def test_a_take_that_was_killed_is_kept_under_its_name(tmp_path: Path) -> None:
    """Trying again publishes what there was, and says that the name is taken."""
    arguments = ["record", "--name", "blue_box_1", "--source", SYNTHETIC, "--out", str(tmp_path)]
    with process("edge_agent.cli", *arguments) as first:
        until(lambda: [p for p in tmp_path.rglob("*.part") if p.stat().st_size > 10_000], "the first fragment")
        first.kill()
        first.communicate()
    with pytest.raises(NameInvalid, match="taken"):
        take.record_take("blue_box_1", SYNTHETIC, tmp_path, 1, FIELDS, threading.Event())
    ((video, segment),) = segments_in(tmp_path)
    assert segment.recovered
    assert frames_in(video) == segment.frames > 0
    assert names_in(tmp_path) == ["blue_box_1.json", "blue_box_1.mp4"]


def test_a_terminal_that_hangs_up_does_not_stop_the_take(tmp_path: Path) -> None:
    """The recording goes on until it is asked to end."""
    leader, follower = pty.openpty()
    arguments = ["record", "--name", "blue_box_1", "--source", SYNTHETIC, "--out", str(tmp_path)]
    err = tmp_path / "err"
    with (
        err.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "edge_agent.cli", *arguments], stdin=follower, stdout=file, stderr=file, cwd=ROOT
        ) as child,
    ):
        os.close(follower)
        until(lambda: [p for p in tmp_path.rglob("*.part") if p.stat().st_size], "the first fragment")
        os.close(leader)
        part = next(iter(Spool.flat(tmp_path).parts()))
        size = part.stat().st_size
        until(lambda: part.stat().st_size > size, "more frames")
        child.terminate()
        child.wait(60)
    assert "Traceback" not in err.read_text()
    ((video, segment),) = segments_in(tmp_path)
    assert frames_in(video) == segment.frames


def test_a_closed_terminal_window_finishes_the_take(tmp_path: Path) -> None:
    """SIGHUP ends a take as Ctrl-C does."""
    arguments = ["record", "--name", "blue_box_1", "--source", SYNTHETIC, "--out", str(tmp_path)]
    with process("edge_agent.cli", *arguments) as child:
        until(lambda: [p for p in tmp_path.rglob("*.part") if p.stat().st_size], "the first fragment")
        child.send_signal(signal.SIGHUP)
        output, _ = child.communicate(timeout=60)
        assert child.returncode == 0, output
    assert names_in(tmp_path) == ["blue_box_1.json", "blue_box_1.mp4"]


def test_the_sidecar_of_a_take_names_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a laptop is called, its takes can be uploaded."""
    monkeypatch.setattr(socket, "gethostname", lambda: "Köche_s--laptop." + "x" * 80)
    monkeypatch.setattr(take, "SystemClock", FakeClock)
    source = f"file:{make_clip(tmp_path / 'clip.mp4', frames=5)}"
    take.record_take("blue_box_1", source, tmp_path / "out", None, FIELDS, threading.Event())
    document = json.loads((tmp_path / "out" / "blue_box_1.json").read_text())
    assert document["device"].startswith("K-che-s-laptop-x")
    assert document["camera"] == "laptop"
