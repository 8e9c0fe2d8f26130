"""What a sudden end of the capture process costs: at most one fragment, never a finished segment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

from edge_agent.capture.job import CaptureJob
from edge_agent.store.checksum import crc64nvme
from tests.support.agent import frames_in, process, segments_in, write_settings
from tests.support.wait import BUSY, until

FPS = 25
FRAGMENT_FRAMES = FPS  # one second
SOURCE = f"synthetic:?size=160x120&fps={FPS}"


def _job(spool: Path) -> CaptureJob:
    return CaptureJob(
        device="dock7",
        camera="cam1",
        fields=("color", "object"),
        source=SOURCE,
        tag={"color": "yellow", "object": "box"},
        spool=str(spool),
        state=str(spool / "state"),
        segment_seconds=3.0,
    )


@contextmanager
def _capture(spool: Path) -> Iterator[subprocess.Popen[str]]:
    """A capture process as its parent starts it."""
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent.processes", "capture"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        child.stdin.write(_job(spool).to_line())
        child.stdin.flush()
        try:
            yield child
        finally:
            child.kill()


def _wait_for(child: subprocess.Popen[str], name: str, times: int = 1, **fields: object) -> dict[str, object]:
    """The fields of the *times*-th event called *name* with at least these fields."""
    assert child.stdout is not None
    for line in child.stdout:
        found, _, values = json.loads(line)
        if found == name and all(values.get(key) == value for key, value in fields.items()):
            times -= 1
            if not times:
                return dict(values)
    raise AssertionError(f"the capture process ended without {name}")


def test_kill_9_costs_at_most_one_fragment_and_no_finished_segment(tmp_path: Path) -> None:
    """After SIGKILL mid-segment earlier segments are whole, and the broken one is salvaged at the next start."""
    spool = tmp_path / "spool"
    with _capture(spool) as child:
        _wait_for(child, "segment_closed")
        recorded = 0.0
        while recorded < 1.4:  # well inside a segment, which is cut after 3 s; a status comes every second
            recorded = float(str(_wait_for(child, "camera_status", state="recording")["seconds"]))
        child.send_signal(signal.SIGKILL)
        child.wait()
    (part,) = (spool / "recording").glob("*.part")
    before = segments_in(spool / "ready")
    whole = 3 * FPS
    assert [(frames_in(video), segment.frames) for video, segment in before] == [(whole, whole)] * len(before)
    with _capture(spool) as child:
        salvaged = _wait_for(child, "segment_salvaged")
        child.send_signal(signal.SIGTERM)
        child.communicate()
    assert salvaged["outcome"] == "recovered"
    video, segment = next((v, s) for v, s in segments_in(spool / "ready") if s.recovered)
    assert part.name == f"{video.name}.part"
    assert not part.exists()
    assert frames_in(video) == segment.frames
    assert segment.frames >= recorded * FPS - FRAGMENT_FRAMES - 1
    assert (segment.size, segment.crc64nvme) == (video.stat().st_size, crc64nvme(video).value)
    for earlier, known in before:
        assert crc64nvme(earlier).value == known.crc64nvme


def test_kill_9_of_the_parent_ends_its_children_with_their_segments_finished(tmp_path: Path) -> None:
    """A capture process whose parent is gone finishes what is open and ends by itself."""
    config = write_settings(tmp_path, SOURCE, str(tmp_path / "store"))
    with process("edge_agent.cli", "capture", "-c", config) as agent:
        until(lambda: list((tmp_path / "spool" / "recording").glob("*.part")), "recording")
        children = psutil.Process(agent.pid).children(recursive=True)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive
    assert not list((tmp_path / "spool" / "recording").glob("*.part"))
    assert all(frames_in(video) == segment.frames for video, segment in segments_in(tmp_path / "spool" / "ready"))


def test_a_capture_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """The parent replaces a camera's process that died, and the new one salvages what it left."""
    config = write_settings(tmp_path, SOURCE, str(tmp_path / "store"))
    recording = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", config) as agent:
        first = until(lambda: [p for p in recording.glob("*.part") if p.stat().st_size > 20_000], "a fragment")[0]
        (child,) = psutil.Process(agent.pid).children()
        child.send_signal(signal.SIGKILL)
        until(lambda: not first.exists(), "the salvage")
        until(lambda: list(recording.glob("*.part")), "the next segment")
        (again,) = psutil.Process(agent.pid).children()
        assert again.pid != child.pid
    recovered = [segment for _, segment in segments_in(tmp_path / "spool" / "ready") if segment.recovered]
    assert [segment.name.stem for segment in recovered] == [first.name.removesuffix(".mp4.part")]


def test_sigterm_finishes_the_open_segment_in_time(tmp_path: Path) -> None:
    """Stopping the agent publishes the segment that is being recorded, in under three seconds, exit status 0."""
    config = write_settings(tmp_path, SOURCE, str(tmp_path / "store"), segment_seconds=60)
    with process("edge_agent.cli", "run", "-c", config) as agent:
        until(lambda: [p for p in (tmp_path / "spool/recording").glob("*.part") if p.stat().st_size], "a fragment")
        began = time.monotonic()
        agent.send_signal(signal.SIGTERM)
        output, _ = agent.communicate(timeout=60)
        took = time.monotonic() - began
    assert agent.returncode == 0, output
    assert took < 3 * BUSY
    everywhere = [pair for name in ("ready", "uploaded") for pair in segments_in(tmp_path / "spool" / name)]
    assert [frames_in(video) for video, _ in everywhere] == [segment.frames for _, segment in everywhere]
    assert len(everywhere) == 1
