"""What recording costs: ours against ffmpeg's stream copy and an OpenCV loop, on one real RTSP stream, in one run.

``python benchmarks/capture.py [--quick] [--seconds N]``. Every figure is of this machine and this run; the ratios are
what is to be compared. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

import psutil  # type: ignore[import-untyped, unused-ignore]
import yaml

from benchmarks.harness import (
    Spread,
    against,
    machine,
    ratio,
    resident_mb,
    shares,
    table,
    wait_for,
)
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.report import Event
from edge_agent.capture.sources.opening import open_source
from edge_agent.clock import SystemClock
from edge_agent.control.tags import DesiredTags
from edge_agent.spool import Spool
from tests.support.capture import job_for, recorded_in
from tests.support.rtsp import Camera, missing, rtsp_camera
from tests.support.slices import numbered, slices

CAMERAS = 8
SPARSE = 8  # seconds from keyframe to keyframe, as some cameras are set when they come
CLIP_SECONDS = 2 * SPARSE
OPENCV = """
import sys, cv2
camera = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
writer = cv2.VideoWriter(sys.argv[2], cv2.VideoWriter_fourcc(*"mp4v"), 30, (1920, 1080))
while (read := camera.read())[0]:
    writer.write(read[1])
"""


def make_clip(directory: Path, seconds: float, keyframe_every: int = 1) -> tuple[Path, Path]:
    """A 1080p30 clip of about 4 Mb/s, no two pictures alike, and the same repeated for *seconds*.

    *keyframe_every*: seconds, of which CLIP_SECONDS is a multiple.
    """
    clip, repeated = (directory / f"{name}-{keyframe_every}.mp4" for name in ("clip", "repeated"))
    picture = f"testsrc2=size=1920x1080:rate=30:duration={CLIP_SECONDS},noise=alls=8:allf=t"
    encoder = ["-c:v", "libx264", "-preset", "superfast", "-b:v", "4M", "-maxrate", "4.4M", "-bufsize", "4M"]
    gop = ["-g", str(30 * keyframe_every), "-bf", "0", "-x264-params", "scenecut=0:sliced-threads=0"]
    ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    made = [*encoder, *gop, "-pix_fmt", "yuv420p", str(clip)]
    subprocess.run([*ffmpeg, "-f", "lavfi", "-i", picture, *made], check=True)
    loops = str(int(seconds / CLIP_SECONDS))
    subprocess.run([*ffmpeg, "-stream_loop", loops, "-i", str(clip), "-c", "copy", str(repeated)], check=True)
    return clip, repeated


@contextlib.contextmanager
def serving(clip: Path) -> Iterator[Camera]:
    """*clip* as :data:`CAMERAS` RTSP cameras on the loopback interface."""
    whole = "video/x-h264,stream-format=byte-stream,alignment=au"
    pipeline = (
        f"filesrc location={clip} ! qtdemux ! h264parse ! {whole} ! rtph264pay name=pay0 pt=96 config-interval=-1"
    )
    with rtsp_camera(*[pipeline] * CAMERAS) as camera:
        yield camera


@dataclass
class Agent:
    """A running ``edge-agent capture``: the parent's pid, and each camera's process."""

    parent: int
    cameras: list[int]
    spool: Spool


@contextlib.contextmanager
def agent(root: Path, urls: list[str], **settings: object) -> Iterator[Agent]:
    """The agent, recording *urls* in segments of ten seconds."""
    root.mkdir()
    common = {"class": {"color": "black", "object": "cup"}, "segment_seconds": 10, **settings}
    document = {
        "device": "bench",
        "spool": str(root / "spool"),
        "store": {"url": str(root / "store")},
        "cameras": {f"cam{number}": {"source": url, **common} for number, url in enumerate(urls)},
        "log": {"format": "json"},
    }
    path = root / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(document))
    log = root / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.cli", "capture", "-c", str(path)], stdout=output, stderr=output
        )
    try:
        wait_for(lambda: log.read_text().count("segment_opened") >= len(urls), f"{len(urls)} cameras", 60)
        children = psutil.Process(process.pid).children()
        captures = [child.pid for child in children if "capture" in child.cmdline()]
        yield Agent(process.pid, captures, Spool(root / "spool"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextlib.contextmanager
def running(*command: str) -> Iterator[int]:
    """The pid of *command* while the block lasts."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def one_camera(root: Path, clip: Path, seconds: float, runs: int) -> None:
    """Ours and the peers on the same stream at the same time."""
    with contextlib.ExitStack() as stack:
        camera = stack.enter_context(serving(clip))
        url = camera.url()
        ours = stack.enter_context(agent(root / "one", [url]))
        segments = ["-c", "copy", "-f", "segment", "-segment_time", "10", str(root / "ffmpeg-%03d.mp4")]
        source = ["-rtsp_transport", "tcp", "-i", url]
        ffmpeg = stack.enter_context(running("ffmpeg", "-v", "error", "-nostdin", *source, *segments))
        opencv = stack.enter_context(running(sys.executable, "-c", OPENCV, url, str(root / "opencv.mp4")))
        time.sleep(11.0)  # past the first segment's end: what is imported for it is imported once
        groups = {"ours": ours.cameras, "ffmpeg": [ffmpeg], "opencv": [opencv], "parent": [ours.parent]}
        found = shares(groups, seconds, runs)
        memory = {name: sum(map(resident_mb, pids)) for name, pids in groups.items()}
    labels = {
        "ours": "edge-agent capture process",
        "ffmpeg": "ffmpeg -c copy -f segment",
        "opencv": "OpenCV read and write loop",
        "parent": "edge-agent parent",
    }
    rows = [
        (label, found[name].show(2, " %"), ratio(found["ours"], found[name]).show(3), f"{memory[name]:.0f} MB")
        for name, label in labels.items()
    ]
    table("One 1080p30 4 Mb/s RTSP camera", ("process", "of a core", "ours by it", "memory"), rows)


def eight_cameras(root: Path, clip: Path, short: Path, seconds: float, runs: int) -> None:
    """One alone, then eight at once: CPU and memory of each, and every packet counted against the source."""
    with serving(clip) as camera:
        with agent(root / "alone", [camera.url()]) as ours:
            time.sleep(11.0)
            alone = shares({"one": ours.cameras}, seconds, runs)["one"]
        with agent(root / "eight", [camera.url(number) for number in range(CAMERAS)]) as ours:
            time.sleep(11.0)
            found = shares({"all": ours.cameras, "parent": [ours.parent]}, seconds, runs)
            memory, parent = max(map(resident_mb, ours.cameras)), resident_mb(ours.parent)
            spool = ours.spool
    each = Spread(tuple(value / CAMERAS for value in found["all"].values))
    times = each.median / alone.median
    numbers = numbered(short)
    recorded = recorded_in(spool, decode=False)
    packets = lost = 0
    for name in (f"cam{number}" for number in range(CAMERAS)):
        mine = [seen for segment, seen in zip(recorded.segments, recorded.seen, strict=True) if segment.camera == name]
        places = [numbers[slices(packet)] for seen in mine for packet in seen.packets]
        lost += sum((after - before - 1) % len(numbers) for before, after in pairwise(places))
        packets += len(places)
    rows = [
        ("one camera alone, of a core", alone.show(2, " %"), ""),
        ("each of them, of a core", each.show(2, " %"), ""),
        ("each by one alone", f"{times:.2f}", against(times, 1.2)),
        ("parent, of a core", found["parent"].show(2, " %"), ""),
        ("largest capture process", f"{memory:.0f} MB", "at most 60 MB"),
        ("parent", f"{parent:.0f} MB", "at most 60 MB"),
        ("packets", f"{packets} recorded", f"{lost} lost"),
    ]
    table(f"{CAMERAS} such cameras at once", ("what", "measured", ""), rows)


def motion(root: Path, clips: Mapping[int, Path], seconds: float, runs: int) -> None:
    """What the motion gate adds, for each of *clips*, by the seconds from keyframe to keyframe."""
    rows = []
    for every, clip in clips.items():
        with (
            serving(clip) as camera,
            agent(root / f"still-{every}", [camera.url()]) as without,
            agent(root / f"motion-{every}", [camera.url()], gate={"mode": "motion"}) as gated,
        ):
            time.sleep(11.0)
            found = shares({"without": without.cameras, "gated": gated.cameras}, seconds, runs)
        pairs = zip(found["gated"].values, found["without"].values, strict=True)
        cost = Spread(tuple(a - b for a, b in pairs))
        rows.append((f"{every} s", *(spread.show(2, " %") for spread in (found["without"], found["gated"], cost))))
    table("Motion gate, one camera, of a core", ("keyframe every", "continuous", "motion", "cost"), rows)


class FastClock(SystemClock):
    """The machine's clock, on which *speed* seconds pass in one."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = super().monotonic()
        self._offset = super().wall_offset()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic() + self._offset, UTC)

    def monotonic(self) -> float:
        return self._began + (super().monotonic() - self._began) * self._speed

    def wall_offset(self) -> float:
        return self._offset

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return super().wait(stop, seconds / self._speed)


def hour(root: Path, clip: Path, minutes: float) -> None:
    """Memory of one recorder over *minutes* of footage, played sixty times as fast; finished segments are removed."""
    spawn = get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_record_fast, args=(root / "hour", clip, minutes, sender))
    child.start()
    sender.close()
    samples: list[tuple[float, float]] = []
    with contextlib.suppress(EOFError):  # the recorder has done its minutes
        while True:
            minute: float = receiver.recv()
            assert child.pid is not None
            samples.append((minute, resident_mb(child.pid)))
    child.join()
    start = samples[len(samples) // 5][1]
    end = samples[-1][1]
    rows = [(f"minute {at:.0f}", f"{memory:.1f} MB") for at, memory in samples[:: max(1, len(samples) // 6)]]
    rows.append((f"growth after the first fifth, to minute {samples[-1][0]:.0f}", f"{end - start:+.1f} MB"))
    table(f"Memory over {minutes:.0f} minutes of footage, played 60 times as fast", ("when", "resident"), rows)


def _record_fast(root: Path, clip: Path, minutes: float, told: Connection) -> None:
    job = job_for(root, f"file:{clip}?loop=true", segment_seconds=60.0, stall_seconds=600.0)
    spool = Spool(Path(job.spool))
    spool.prepare()
    clock = FastClock(60.0)
    stop = threading.Event()
    seconds = [0.0]

    def report(event: Event) -> None:
        if event.name == "segment_closed":
            seconds[0] += float(event.fields["seconds"] or 0)
            for path in spool.ready.iterdir():
                path.unlink()
            told.send(seconds[0] / 60)
            if seconds[0] >= minutes * 60:
                stop.set()

    tags = DesiredTags.of_job(job, clock)

    Recorder(job, spool, clock, tags, lambda closing: open_source(job, clock, closing), report).run(stop)


def syncs(root: Path, clip: Path) -> None:
    """How long each fdatasync takes, and what writing costs with and without."""
    import av

    from edge_agent.capture.writer import SegmentWriter

    real = os.fdatasync
    times: list[float] = []

    def timed(descriptor: int) -> None:
        began = time.perf_counter()
        real(descriptor)
        times.append(time.perf_counter() - began)

    def skipped(descriptor: int) -> None:
        """What a recorder does that trusts in luck."""

    took = {}
    for name, sync in (("with", timed), ("without", skipped)):
        setattr(os, "fdatasync", sync)  # noqa: B010 - a function of another type, for this measurement
        target = root / f"{name}.mp4"
        target.touch()
        with av.open(str(clip)) as container:
            writer = SegmentWriter(target, container.streams.video[0])
            wall, cpu = time.perf_counter(), time.process_time()
            packets = 0
            for packet in container.demux(video=0):
                if packet.size:
                    writer.write(packet)
                    packets += 1
            writer.close()
            took[name] = (time.perf_counter() - wall, time.process_time() - cpu, packets / 30)
    setattr(os, "fdatasync", real)  # noqa: B010
    ordered = sorted(times)
    quantiles = [ordered[0], statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[-1]]
    table(
        f"fdatasync, {len(times)} of one fragment each",
        ("least", "median", "95 %", "most"),
        [[f"{value * 1000:.1f} ms" for value in quantiles]],
    )
    rows = [
        (name, f"{wall / footage * 100:.2f} %", f"{cpu / footage * 100:.2f} %")
        for name, (wall, cpu, footage) in took.items()
    ]
    table("Writing one camera, per cent of its footage's time", ("fdatasync", "elapsed", "CPU"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each window")
    parser.add_argument("--quick", action="store_true", help="one short run of everything, for trying")
    parser.add_argument("--only", choices=["one", "eight", "motion", "hour", "syncs"], help="one part alone")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(f"error: no RTSP server can be run here: {reason}")
    seconds, runs = (5.0, 2) if options.quick else (options.seconds, 5)
    print(f"{machine()}; windows of {seconds:.0f} s, {runs} of them; median (least-most)")
    with tempfile.TemporaryDirectory(prefix="bench-capture-") as directory:
        root = Path(directory)
        length = seconds * runs + 60
        short, clip = make_clip(root, length)
        if options.only in (None, "one"):
            one_camera(root, clip, seconds, runs)
        if options.only in (None, "eight"):
            eight_cameras(root, clip, short, seconds, runs)
        if options.only in (None, "motion"):
            motion(root, {1: clip, SPARSE: make_clip(root, length, SPARSE)[1]}, seconds, runs)
        if options.only in (None, "hour"):
            hour(root, clip, 5.0 if options.quick else 60.0)
        if options.only in (None, "syncs"):
            syncs(root, clip)


if __name__ == "__main__":
    main()
