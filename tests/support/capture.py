"""Capture for tests: in this process on virtual time, or in the process it runs in in the field."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.capture.sources.opening import open_source
from edge_agent.clock import Clock
from edge_agent.control.commands import TagChoice
from edge_agent.segment import ClassTag, Segment
from edge_agent.spool import Spool
from tests.support.clips import Seen, look
from tests.support.clock import FakeClock
from tests.support.wait import until

# How long a machine may stand still, and a stop may take on it, before a test hears of it that is about something else.
STALL_SECONDS = STOP_SECONDS = 60.0
FIELDS = ("color", "object")
YELLOW, BLUE = ClassTag(FIELDS, ("yellow", "box")), ClassTag(FIELDS, ("blue", "crate"))


def job_for(root: Path, source: str, **changes: object) -> CaptureJob:
    """A job for cam1 of dock7, its spool and state under *root*."""
    job = CaptureJob(
        device="dock7",
        camera="cam1",
        fields=FIELDS,
        source=source,
        tag=YELLOW.as_dict(),
        spool=str(root / "spool"),
        state=str(root / "state"),
        stall_seconds=STALL_SECONDS,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


@dataclass
class Tags:
    """Says the classes in turn: each for as many packets as it is given."""

    turns: Sequence[tuple[ClassTag | None, int]] = ((YELLOW, 10**9),)
    asked: int = 0
    wanted: bool | None = None  # what an operator said: started, stopped, nothing

    def current(self) -> TagChoice | None:
        self.asked += 1
        left = self.asked
        for tag, packets in self.turns:
            left -= packets
            if left <= 0:
                return TagChoice(tag) if tag else None
        tag = self.turns[-1][0]
        return TagChoice(tag) if tag else None

    def recording(self) -> bool | None:
        return self.wanted


@dataclass
class Recorded:
    """What came out of a spool: sidecars and files in order of time, and what was told on the way."""

    segments: list[Segment]
    seen: list[Seen]
    events: list[Event] = field(default_factory=list)

    @property
    def packets(self) -> list[bytes]:
        return [packet for seen in self.seen for packet in seen.packets]

    @property
    def frames(self) -> list[int]:
        return [segment.frames for segment in self.segments]

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


def recorded_in(spool: Spool, *, decode: bool = True) -> Recorded:
    """Everything in ``ready/``; fails where a sidecar disagrees with its file."""
    pairs = []
    for video in spool.ready_videos():
        segment = spool.sidecar(video)
        assert segment is not None, f"{video.name} has no sidecar"
        seen = look(video, decode=decode)
        assert segment.name.stem == video.stem
        assert segment.frames == len(seen.packets)
        assert segment.size == video.stat().st_size
        assert seen.keyframes[:1] == [0]
        assert not decode or seen.pictures == segment.frames
        pairs.append((segment, seen))
    pairs.sort(key=lambda pair: pair[0].start)
    return Recorded([segment for segment, _ in pairs], [seen for _, seen in pairs])


def record(job: CaptureJob, tags: Tags | None = None, clock: Clock | None = None, *, decode: bool = True) -> Recorded:
    """Record *job* to its source's end in this process, on virtual time."""
    spool = Spool(Path(job.spool))
    spool.prepare()
    events: list[Event] = []
    clock = clock or FakeClock()
    recorder = Recorder(
        job,
        spool,
        clock,
        tags or Tags(),
        lambda stop: open_source(job, clock, stop),
        events.append,
    )
    recorder.run(threading.Event())
    recorded = recorded_in(spool, decode=decode)
    recorded.events = events
    return recorded


@dataclass
class CaptureProcess:
    """A capture process as its parent starts it; its events and errors go to files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def events(self, name: str = "") -> list[Event]:
        lines = self.out.read_text().splitlines(keepends=True)
        events = [Event.from_line(line) for line in lines if line.endswith("\n")]
        return [event for event in events if not name or event.name == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 60.0) -> Event:
        """The *count*-th event called *name*."""

        def there() -> bool:
            assert len(self.events(name)) >= count or self.process.poll() is None, f"ended: {self.said()}"
            return len(self.events(name)) >= count

        try:
            until(there, f"{count} {name}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from error
        return self.events(name)[count - 1]

    def wait_for_status(self, seconds: float = 60.0, **fields: Scalar) -> Event:
        """The first status event with *fields*."""

        def found() -> list[Event]:
            return [event for event in self.events(STATUS) if fields.items() <= event.fields.items()]

        return until(found, f"status {fields}", seconds)[0]

    def stop(self, seconds: float = 60.0) -> int:
        """Ask it to end as the parent does; its exit status."""
        self.process.terminate()
        return self.process.wait(seconds)

    def said(self) -> str:
        """Everything it wrote."""
        return self.out.read_text() + self.err.read_text()


@contextmanager
def capturing(job: CaptureJob, prelude: str = "") -> Iterator[CaptureProcess]:
    """A capture process on *job*; *prelude* is Python that runs in it first."""
    root = Path(job.spool).parent
    root.mkdir(parents=True, exist_ok=True)
    number = len(list(root.glob("capture-*.out")))
    out, err = root / f"capture-{number}.out", root / f"capture-{number}.err"
    patient = f"from edge_agent import processes; processes.STOP_SECONDS = {STOP_SECONDS}; processes.main()"
    program = ["-c", f"{prelude}\n{patient}"]
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            [sys.executable, *program, "capture"], stdin=subprocess.PIPE, stdout=out_file, stderr=err_file
        )
    assert process.stdin is not None
    process.stdin.write(job.to_line().encode())
    process.stdin.flush()
    try:
        yield CaptureProcess(process, out, err)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
