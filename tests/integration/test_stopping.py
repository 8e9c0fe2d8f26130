"""Stopping is quick whatever the cameras do, and keeps what was recorded."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.integration.test_reload import SOURCE, agent
from tests.support.agent import frames_in, mend, segments_in
from tests.support.rtsp import rtsp_camera
from tests.support.wait import promised, tries, until

PATIENCE = 3.0  # seconds; what the issue promises


def whole_segments(tmp_path: Path) -> int:
    """How many finished segments there are, each of them whole; fails when a part is left."""
    assert not list((tmp_path / "spool" / "recording").glob("*.part"))
    pairs = [pair for name in ("ready", "uploaded") for pair in segments_in(tmp_path / "spool" / name)]
    assert [frames_in(video) for video, _ in pairs] == [segment.frames for _, segment in pairs]
    return len(pairs)


@pytest.mark.parametrize("blocked", ["reading", "connecting"])
def test_a_camera_blocked_in_c_holds_nobody_up(tmp_path: Path, blocked: str) -> None:
    """SIGTERM finishes the segments of all cameras in time, also when one of them is blocked in the system."""
    expected = 3 if blocked == "reading" else 2
    for number in tries(3):  # where the machine stands still for as long as it may take, only another try tells
        root = tmp_path / str(number)
        root.mkdir()
        took = stop_with_one_blocked(root, blocked)
        if took < PATIENCE and not list((root / "spool" / "recording").glob("*.part")):
            break
    assert took < promised(PATIENCE)
    assert whole_segments(root) == expected


def stop_with_one_blocked(root: Path, blocked: str) -> float:
    """Stop an agent of three cameras, one of which is *blocked*; how many seconds that took."""
    with rtsp_camera() as camera, agent(root, cameras=2) as running:

        def add(document: dict[str, dict[str, object]]) -> None:
            document["cameras"]["cam9"] = {
                "source": f"rtsp://127.0.0.1:{camera.port}/0",
                "class": {"color": "black", "object": "cup"},
                "stall_seconds": 60,
            }

        if blocked == "connecting":
            camera.freeze()
        running.rewrite(add)
        running.process.send_signal(signal.SIGHUP)
        if blocked == "reading":
            running.wait_for("segment_opened", 3)
            camera.freeze()
        else:
            running.wait_for("process_started", 4)
            until(lambda: "cam9" in running.pids(), "its process")
        began = time.monotonic()
        running.process.terminate()
        assert running.process.wait(60) == 0
        return time.monotonic() - began


def test_a_second_signal_ends_the_agent_at_once(tmp_path: Path) -> None:
    """While a child takes its time to stop, a second SIGTERM ends the agent; the children end by themselves."""
    with agent(tmp_path, "capture", cameras=1) as running:
        import psutil  # type: ignore[import-untyped, unused-ignore]

        child = psutil.Process(running.pids()["cam1"])
        child.suspend()
        running.process.terminate()
        running.process.send_signal(signal.SIGINT)  # another one, or the two may arrive as one
        assert running.process.wait(60) in (-signal.SIGTERM, -signal.SIGINT)
        assert not running.said("process_killed")  # nobody waited for as long as the child is given
        child.resume()
        _, alive = psutil.wait_procs([child], timeout=60)
        assert not alive
    mend(tmp_path)
    assert whole_segments(tmp_path) == 1


def test_an_order_that_cannot_be_carried_out_is_no_hot_loop(tmp_path: Path) -> None:
    """A child that ends with a fault at once is started again with growing pauses, and the others record on."""
    with agent(tmp_path, "capture", cameras=1) as running:
        lock = tmp_path / "spool" / "recording" / ".lock-cam2"
        lock.mkdir()

        def add(document: dict[str, dict[str, object]]) -> None:
            document["cameras"]["cam2"] = {"source": SOURCE, "class": {"color": "black", "object": "cup"}}

        document = yaml.safe_load(running.config.read_text())
        assert list(document["cameras"]) == ["cam1"]
        running.rewrite(add)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("process_died", 3)
        waits = [said["retry_in"] for said in running.said("process_died")]
        assert all(low <= wait <= high for wait, low, high in zip(waits, (0.5, 1, 2), (1, 2, 4), strict=False))
        assert not running.said("segment_closed")
