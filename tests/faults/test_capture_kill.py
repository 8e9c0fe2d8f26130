"""What a sudden end of the capture process costs: at most one fragment, never a finished segment."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.report import STATUS
from edge_agent.store.checksum import crc64nvme
from tests.support.agent import frames_in, process, segments_in, write_settings
from tests.support.capture import CaptureProcess, capturing
from tests.support.wait import promised, tries, until

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


def _halted_well_inside(capture: CaptureProcess, spool: Path) -> float:
    """The seconds the open segment was told to have, of the three after which it is cut, with the process stopped.

    0 where they are too few; then it goes on. So nothing happens between that word and a kill, however late that is.
    """
    if float(str(capture.events(STATUS)[-1].fields["seconds"] or 0)) < 1.4:
        return 0.0
    capture.process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(capture.process.pid).status() == psutil.STATUS_STOPPED, "it to stop")
    told = capture.events(STATUS)[-1].fields
    seconds = float(str(told["seconds"] or 0))
    if seconds >= 1.4 and (spool / "recording" / f"{told['segment']}.mp4.part").exists():
        return seconds
    capture.process.send_signal(signal.SIGCONT)
    return 0.0


def test_kill_9_costs_at_most_one_fragment_and_no_finished_segment(tmp_path: Path) -> None:
    """After SIGKILL mid-segment earlier segments are whole, and the broken one is salvaged at the next start."""
    spool = tmp_path / "spool"
    with capturing(_job(spool)) as capture:
        capture.wait_for("segment_closed")
        recorded = until(lambda: _halted_well_inside(capture, spool), "a moment well inside a segment")
        capture.process.kill()
        capture.process.wait()
    (part,) = (spool / "recording").glob("*.part")
    before = segments_in(spool / "ready")
    whole = 3 * FPS
    assert [(frames_in(video), segment.frames) for video, segment in before] == [(whole, whole)] * len(before)
    with capturing(_job(spool)) as capture:
        salvaged = capture.wait_for("segment_salvaged").fields
        assert capture.stop() == 0
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
    for number in tries(3):
        root = tmp_path / str(number)
        root.mkdir()
        config = write_settings(root, SOURCE, str(root / "store"))
        parts = root / "spool" / "recording"
        with process("edge_agent.cli", "capture", "-c", config) as agent:
            until(lambda: list(parts.glob("*.part")), "recording")  # noqa: B023
            children = psutil.Process(agent.pid).children(recursive=True)
            agent.send_signal(signal.SIGKILL)
            agent.wait()
            _, alive = psutil.wait_procs(children, timeout=60)
            assert not alive
        assert all(frames_in(video) == segment.frames for video, segment in segments_in(root / "spool" / "ready"))
        if not list(parts.glob("*.part")):
            break
    assert not list(parts.glob("*.part"))


def test_a_capture_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """The parent replaces a camera's process that died, and the new one salvages what it left."""
    config = write_settings(tmp_path, SOURCE, str(tmp_path / "store"), segment_seconds=60)
    recording = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", config) as agent:
        first = until(lambda: [p for p in recording.glob("*.part") if p.stat().st_size > 20_000], "a fragment")[0]
        (child,) = psutil.Process(agent.pid).children()
        child.send_signal(signal.SIGKILL)
        until(lambda: not first.exists(), "the salvage")
        until(lambda: list(recording.glob("*.part")), "the next segment")
        assert child.pid not in {process.pid for process in psutil.Process(agent.pid).children()}
    recovered = [segment for _, segment in segments_in(tmp_path / "spool" / "ready") if segment.recovered]
    assert [segment.name.stem for segment in recovered] == [first.name.removesuffix(".mp4.part")]


def test_sigterm_finishes_the_open_segment_in_time(tmp_path: Path) -> None:
    """Stopping the agent publishes the segment that is being recorded, in under three seconds, exit status 0."""
    for number in tries(3):
        root = tmp_path / str(number)
        root.mkdir()
        config = write_settings(root, SOURCE, str(root / "store"), segment_seconds=60)
        with process("edge_agent.cli", "run", "-c", config) as agent:
            until(lambda: [p for p in (root / "spool/recording").glob("*.part") if p.stat().st_size], "a fragment")  # noqa: B023
            began = time.monotonic()
            agent.send_signal(signal.SIGTERM)
            output, _ = agent.communicate(timeout=60)
            took = time.monotonic() - began
        assert agent.returncode == 0, output
        everywhere = [pair for name in ("ready", "uploaded") for pair in segments_in(root / "spool" / name)]
        assert [frames_in(video) for video, _ in everywhere] == [segment.frames for _, segment in everywhere]
        if took < 3 and everywhere:
            break
    assert took < promised(3)
    assert len(everywhere) == 1
