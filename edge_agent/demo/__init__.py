"""``edge-agent demo``: the whole loop on one machine, with processes as they run in the field.

A real clip plays the camera; a directory plays the cloud. ``edge-agent capture``, ``edge-agent upload`` and
``edge-cloud watch`` run as the three processes they are; this module starts them, shows what they do and adds up what
came out of it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import quote

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from edge_agent.clock import Clock, SystemClock
from edge_agent.durable import os_errors
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.source_url import check_source
from edge_agent.spool import VIDEO_SUFFIX

CLIP = "black_cup_1.mp4"
SEGMENT_SECONDS = 2
SETTLE_SECONDS = 40.0  # how long uploads and frames may take after the camera has ended
MARKER = ".edge-agent-demo"  # only a directory that holds it, or nothing, is emptied


class DemoFailed(EdgeCaptureError):
    """A process of the demo ended, or did not finish in time."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What has come out so far."""

    segments: int
    waiting: int
    objects: int
    indexed: int
    frames: int
    lines: int


class Demo:
    """Where everything of one demo lies."""

    def __init__(self, out: Path) -> None:
        self.out = out.resolve()
        self.spool = self.out / "box" / "spool"
        self.raw = self.out / "cloud" / "raw"
        self.dataset = self.out / "cloud" / "dataset"
        self.config = self.out / "box" / "edge-agent.yaml"
        self.logs = self.out / "logs"

    def prepare(self, source: str) -> None:
        """Empty the directory of an earlier demo and write the settings. Raises ConfigInvalid."""
        with os_errors(self.out):
            if self.out.exists() and not self.out.is_dir():
                raise ConfigInvalid("is no directory", where=str(self.out), fix="give --out a new directory")
            if self.out.exists() and any(self.out.iterdir()) and not (self.out / MARKER).exists():
                raise ConfigInvalid("is not empty", where=str(self.out), fix="give --out a new directory")
            shutil.rmtree(self.out, ignore_errors=True)
            for directory in (self.spool, self.raw, self.dataset, self.logs):
                directory.mkdir(parents=True)
            (self.out / MARKER).touch()
        settings = {
            "device": "demo",
            "spool": str(self.spool),
            "store": {"url": str(self.raw)},
            "cameras": {
                "cam1": {
                    "source": source,
                    "class": {"color": "black", "object": "cup"},
                    "segment_seconds": SEGMENT_SECONDS,
                }
            },
            "upload": {"rescan_seconds": 2},
        }
        self.config.touch(mode=0o600)  # the source may hold a password
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

    def tally(self) -> Tally:
        uploaded = _count(self.spool / "uploaded", VIDEO_SUFFIX)
        waiting = _count(self.spool / "ready", VIDEO_SUFFIX) + _count(self.spool / "recording", ".part")
        manifests = list(self.dataset.glob("manifests/**/*.manifest"))
        return Tally(
            segments=uploaded + waiting,
            waiting=waiting,
            objects=len(list(self.raw.glob("videos/**/*.mp4"))),
            indexed=_count(self.dataset / "index", ".json"),
            frames=len(list(self.dataset.glob("frames/*/*.jpg"))),
            lines=sum(len(manifest.read_bytes().splitlines()) for manifest in manifests),
        )


def _count(directory: Path, suffix: str) -> int:
    return sum(path.name.endswith(suffix) for path in directory.iterdir()) if directory.is_dir() else 0


def run_demo(source: str | None, out: Path, seconds: float, stop: threading.Event) -> None:
    """Run the demo in *out*, *seconds* long when *source* is a live camera. Raises DemoFailed, ConfigInvalid."""
    clock = SystemClock()
    demo = Demo(out)
    console = Console()
    with contextlib.ExitStack() as stack:
        url = source or f"file:{quote(str(stack.enter_context(as_file(files('edge_agent.demo') / CLIP))))}"
        limit = seconds if _is_live(url) else None
        demo.prepare(url)
        console.print(
            f"[bold]edge-capture demo[/bold]  a camera, a box and a cloud, all under {demo.out}\n", soft_wrap=True
        )
        watch = ["cloud.cli", "watch", "--raw", str(demo.raw), "--dataset", str(demo.dataset), "--every", "10"]
        later = [
            stack.enter_context(_process(demo, "cloud", watch)),
            stack.enter_context(_process(demo, "upload", ["edge_agent.cli", "upload", "-c", str(demo.config)])),
        ]
        capture = stack.enter_context(_process(demo, "capture", ["edge_agent.cli", "capture", "-c", str(demo.config)]))
        with Live(console=console, refresh_per_second=8) as live:
            _record(demo, capture, later, limit, clock, stop, live)
            _settle(demo, later, clock, stop, live)
    if stop.is_set():
        console.print("stopped; what was made so far stays where it is")
    _summarise(demo, console)


def _is_live(url: str) -> bool:
    parsed = check_source(url)
    return parsed.options.get("loop") == "true" if parsed.kind == "file" else "seconds" not in parsed.options


class Child:
    """A process of the demo and the file its log goes to."""

    def __init__(self, name: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.log = log
        self.process = process

    def check(self) -> None:
        """Raise DemoFailed when the process has ended with an error."""
        if self.process.poll():
            lines = self.log.read_text(errors="replace").splitlines() or ["it said nothing"]
            raise DemoFailed(f"the {self.name} process ended: {lines[-1]}", where=str(self.log))


@contextlib.contextmanager
def _process(demo: Demo, name: str, arguments: list[str]) -> Iterator[Child]:
    """A child process while the block lasts, its log in a file."""
    log = demo.logs / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,  # Ctrl-C is for this process, which ends the others in order
        )
    try:
        yield Child(name, log, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _record(
    demo: Demo,
    capture: Child,
    others: list[Child],
    limit: float | None,
    clock: Clock,
    stop: threading.Event,
    live: Live,
) -> None:
    """Until the camera ends, or *limit* seconds of it are recorded."""
    began = clock.monotonic()
    while capture.process.poll() is None and not clock.wait(stop, 0.2):
        for child in others:
            child.check()
        live.update(_progress(demo.tally(), "camera is recording"))
        if limit is not None and clock.monotonic() - began >= limit:
            capture.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                capture.process.wait(10)
    capture.check()


def _settle(demo: Demo, children: list[Child], clock: Clock, stop: threading.Event, live: Live) -> None:
    """Until everything recorded is uploaded and has its manifest lines. Raises DemoFailed when that takes too long."""
    deadline = clock.monotonic() + SETTLE_SECONDS
    while not stop.is_set():
        tally = demo.tally()
        live.update(_progress(tally, "camera has ended"))
        if not tally.segments:
            problem = _last_problem(demo.logs / "capture.log")
            raise DemoFailed(f"the camera delivered nothing{problem}", where=str(demo.logs / "capture.log"))
        if not tally.waiting and tally.objects == tally.segments == tally.indexed and tally.lines >= tally.frames:
            return
        if clock.monotonic() > deadline:
            raise DemoFailed(
                "uploads or frames did not finish in time", where=str(demo.logs), fix="read the logs there"
            )
        for child in children:
            child.check()
        clock.wait(stop, 0.2)


def _last_problem(log: Path) -> str:
    for line in reversed(log.read_text(errors="replace").splitlines()):
        with contextlib.suppress(ValueError):
            if error := json.loads(line).get("error"):
                return f": {error}"
    return ""


def _progress(tally: Tally, camera: str) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value, note in (
        ("camera", camera, ""),
        ("segments", str(tally.segments), f"{tally.waiting} on their way"),
        ("objects", str(tally.objects), "uploaded and verified"),
        ("frames", str(tally.frames), f"of {tally.indexed} videos"),
        ("manifest", str(tally.lines), "lines"),
    ):
        table.add_row(f"[bold]{name}[/bold]", value, f"[dim]{note}[/dim]")
    return table


def _summarise(demo: Demo, console: Console) -> None:
    """What came out, how much of it, and where it lies. Paths are never cut: people copy them."""
    tally = demo.tally()
    sheets = sorted((demo.dataset / "previews").glob("*.jpg")) if tally.indexed else []
    manifests = sorted(demo.dataset.glob("manifests/**/*.manifest"))
    console.print("\n[bold]What came out[/bold]")
    for count, what, path in (
        (tally.segments, "segments", demo.spool / "uploaded"),
        (tally.objects, "objects", demo.raw / "videos"),
        (tally.frames, "frames", demo.dataset / "frames"),
        (tally.lines, "manifest lines", manifests[0] if manifests else demo.dataset / "manifests"),
        (len(sheets), "contact sheets", sheets[0] if sheets else demo.dataset / "previews"),
    ):
        console.print(f"{count:>5}  {what:<15} {path}", markup=False, highlight=False, soft_wrap=True)
    if manifests:
        console.print("\n[bold]The manifest's first line[/bold]")
        console.print(manifests[0].read_text().splitlines()[0], markup=False, highlight=False, soft_wrap=True)
