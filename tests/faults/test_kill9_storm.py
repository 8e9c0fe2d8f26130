"""Kill -9 at random points of a real capture process, again and again, and every frame accounted for."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.salvage import Outcome, salvage
from edge_agent.segment import Segment
from edge_agent.spool import Spool
from edge_agent.store.checksum import crc64nvme
from tests.support.capture import FIELDS, capturing, job_for, recorded_in
from tests.support.clips import look, make_clip
from tests.support.upload import names_in

FPS = 25
FRAGMENT_FRAMES = FPS  # one second

# Runs in the capture process: one byte to a file for each packet the camera delivered, and for each the recorder was
# about to write. What the kernel was handed survives a kill -9, so the files' sizes are exact.
_TAPS = """
import os
from edge_agent.capture import reader, segments
def tap(owner, name, path, kind):
    real, file = getattr(owner, name), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    def tapped(self, item, *rest, **options):
        if kind is None or isinstance(item, kind):
            os.write(file, b".")
        return real(self, item, *rest, **options)
    setattr(owner, name, tapped)
tap(reader.PacketReader, "_put", {delivered!r}, reader.Arrival)
tap(segments.OpenSegment, "write", {written!r}, None)
"""

# Runs in the capture process: kill -9 before or after the N-th thing it does to the disk, be it for a new segment, a
# fragment, a segment that is published, or the salvage of an earlier one.
_KILL_AT_STEP = """
import pathlib, signal
left = [{step}]
def killing(owner, name):
    real = getattr(owner, name)
    def step(*arguments, **options):
        left[0] -= 1
        if left[0] == 0 and {before}:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, step)
for name in ("fsync", "fdatasync", "link"):
    killing(os, name)
for name in ("replace", "unlink"):
    killing(pathlib.Path, name)
"""


@dataclass(frozen=True, slots=True)
class Killed:
    """What a killed process left: packets the camera delivered, packets about to be written, its segments' stems."""

    delivered: int
    written: int
    stems: frozenset[str]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds, a keyframe every 0.4 s, no two pictures alike."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20 * FPS, gop=10)


def _stems(spool: Spool) -> frozenset[str]:
    """The names of everything that is or may become a segment."""
    places = (spool.recording, spool.ready, spool.failed)
    names = [name for place in places for name in names_in(place) if not name.startswith(".")]
    return frozenset(name.split(".mp4")[0] for name in names if ".mp4" in name)


def _run_until_killed(job: CaptureJob, chance: random.Random, known: frozenset[str]) -> Killed:
    """One capture process, killed by itself at a step or by us at a moment."""
    root = Path(job.spool).parent
    delivered, written = root / "delivered", root / "written"
    delivered.write_bytes(b"")
    written.write_bytes(b"")
    prelude = _TAPS.format(delivered=str(delivered), written=str(written))
    by_itself = chance.random() < 0.5
    if by_itself:
        most = 60 if job.segment_seconds < 1 else 25
        prelude += _KILL_AT_STEP.format(step=chance.randint(1, most), before=chance.random() < 0.5)
    with capturing(job, prelude) as capture:
        if not by_itself:
            capture.wait_for("segment_opened")
            with contextlib.suppress(subprocess.TimeoutExpired):
                capture.process.wait(chance.uniform(0.0, 5.0))
            capture.process.kill()
        assert capture.process.wait(120) == -signal.SIGKILL, capture.said()
    return Killed(delivered.stat().st_size, written.stat().st_size, _stems(Spool(Path(job.spool))) - known)


def _lost_of(run: Killed, spool: Spool, frames: dict[bytes, int]) -> tuple[int, int]:
    """Frames *run* lost of what it had begun to write, and of what the camera had delivered; fails on any other loss.

    What was kept is the camera's frames from the first on, in order, bit exact, none missing between segments.
    """
    videos = sorted(spool.ready / f"{stem}.mp4" for stem in run.stems)
    pairs = sorted(((spool.sidecar(v), v) for v in videos if v.exists()), key=lambda pair: _start(pair[0]))
    kept = [frames[packet] for _, video in pairs for packet in look(video, decode=False).packets]
    assert kept == list(range(len(kept)))
    assert len(kept) <= run.written <= run.delivered
    return run.written - len(kept), run.delivered - len(kept)


def _start(segment: Segment | None) -> str:
    assert segment is not None
    return segment.start.isoformat()


@pytest.mark.timeout(3600)
def test_kill9_storm(tmp_path: Path, clip: Path, storm: bool, account: Callable[..., None]) -> None:
    """However often and wherever capture is killed, it loses at most a fragment each time, and no finished segment."""
    kills = 200 if storm else 6
    chance = random.Random(9)
    frames = {packet: number for number, packet in enumerate(look(clip).packets)}
    assert len(frames) == 20 * FPS
    base = job_for(tmp_path, f"file:{clip}")
    spool = Spool(Path(base.spool))
    runs: list[Killed] = []
    for _ in range(kills):
        known = frozenset().union(*(run.stems for run in runs))
        job = replace(base, segment_seconds=chance.choice((0.4, 5.0)))
        runs.append(_run_until_killed(job, chance, known))
        for video in spool.ready_videos():
            segment = spool.sidecar(video)
            assert segment is not None
            assert crc64nvme(video).value == segment.crc64nvme
    left = salvage(spool, FIELDS, "dock7", lambda _: True)
    assert all(item.outcome is not Outcome.FAILED for item in left)
    recorded = recorded_in(spool)  # every file decodes, with as many frames as its sidecar says
    assert not spool.parts()
    assert names_in(spool.failed) == []
    losses = [_lost_of(run, spool, frames) for run in runs]
    written, delivered = max(loss for loss, _ in losses), max(loss for _, loss in losses)
    recovered = sum(segment.recovered for segment in recorded.segments)
    account(
        f"{kills} kills, {len(recorded.segments)} segments",
        f"{sum(loss for loss, _ in losses)} of {sum(run.written for run in runs)} frames",
        f"at most {written} at a kill ({delivered} of those delivered), {recovered} segments recovered",
    )
    assert written <= FRAGMENT_FRAMES
    # With what waited for a disk that was busy at that moment; of few kills, one may come when the machine stood still.
    usual = delivered if storm else sorted(loss for _, loss in losses)[kills // 2]
    assert usual <= FRAGMENT_FRAMES * (1 if storm else 2)
