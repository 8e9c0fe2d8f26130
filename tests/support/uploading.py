"""Real upload processes, as the agent starts them, and what they told and left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_agent.segment import Segment, video_key
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectStore
from edge_agent.store.checksum import crc64nvme
from edge_agent.upload.job import UploadJob
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.rows import UploadStatus, read_status
from tests.support.upload import DEVICE, FIELDS, names_in, segment_of
from tests.support.wait import until

MIB = 1 << 20
LARGE = 24 * MIB  # well beyond one put: several parts, however large those are at first
ROOT = Path(__file__).parents[2]
# Runs in the upload process: a stop may take as long as a machine that stands still wants, where a test is about
# something else.
PATIENT = "from edge_agent import processes; processes.STOP_SECONDS = 60.0"


@dataclass(frozen=True, slots=True)
class Uploading:
    """A running upload process; what it logs is in *log*."""

    process: subprocess.Popen[str]
    log: Path

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """The lines with *event*, all when none is named."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if not event or line.get("event") == event]

    def until(self, probe: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        """Return once *probe* is true; fails after *seconds*, and when the process ends by itself before."""
        until(lambda: probe() or self.process.poll() is not None, what, seconds)
        assert probe(), f"the process ended before {what}"

    def wait_for(self, event: str, count: int = 1, seconds: float = 60.0) -> list[dict[str, Any]]:
        """The lines with *event*, once there are *count*."""
        self.until(lambda: len(self.said(event)) >= count, event, seconds)
        return self.said(event)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float) -> int:
        """Ask it to end; its exit status. Fails when that takes longer than *seconds*."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def job_for(spool: Spool, bucket: str, endpoint_url: str, **changes: Any) -> UploadJob:
    """A job of dock7 for *spool*, with its ledger in the spool's root."""
    job = UploadJob(
        device=DEVICE,
        fields=FIELDS,
        spool=str(spool.root),
        state=str(spool.root),
        store=f"s3://{bucket}",
        endpoint_url=endpoint_url,
        region="us-east-1",
        rescan_seconds=2.0,
        log_format="json",
    )
    return replace(job, **changes)


@contextmanager
def uploading(job: UploadJob, prelude: str = "") -> Iterator[Uploading]:
    """An upload process on *job*; *prelude* is Python that runs in it first."""
    root = Path(job.spool)
    log = root / f"upload-{len(list(root.glob('upload-*.log')))}.log"
    program = f"{prelude}\nfrom edge_agent.processes import main; main()"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "upload"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            text=True,
            cwd=ROOT,
        )
    assert process.stdin is not None
    process.stdin.write(job.to_line())
    process.stdin.flush()
    try:
        yield Uploading(process, log)
    except AssertionError as error:
        error.add_note(f"the upload process ({process.poll()}) said: {log.read_text(encoding='utf-8')[-2000:]}")
        raise
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


@dataclass
class Shelf:
    """Segments put into *spool*'s ``ready/``, and what each of them holds. Bodies are made anew from their number."""

    spool: Spool
    segments: dict[int, Segment] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)

    def body(self, number: int) -> bytes:
        return random.Random(number).randbytes(self.sizes[number])

    def add(self, size: int) -> Segment:
        """A new finished segment of *size* bytes, in ``ready/`` without the syncs: nothing here loses power."""
        number = len(self.segments)
        self.sizes[number] = size
        body = self.body(number)
        segment = self.segments[number] = segment_of(body, number)
        part = self.spool.recording / f"{segment.name}.part"
        part.write_bytes(body)
        video = self.spool.ready / f"{segment.name}.mp4"
        video.with_suffix(".json").write_text(segment.to_json(), encoding="utf-8")
        part.rename(video)
        return segment

    def video(self, segment: Segment) -> Path:
        return self.spool.ready / f"{segment.name}.mp4"

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    def all_sent(self) -> bool:
        """Whether nothing waits any more."""
        return not any(name.endswith(".mp4") for name in names_in(self.spool.ready))

    def wait_until_sent(self, uploader: Uploading, seconds: float = 60.0) -> None:
        uploader.until(self.all_sent, "every segment to leave ready/", seconds)

    def assert_stored_once(self, store: ObjectStore, but: Sequence[Segment] = ()) -> None:
        """One object a segment with its bytes, its file kept in ``uploaded/``; but for those in *but*, nothing else."""
        expected = {video_key(s): number for number, s in self.segments.items() if s not in but}
        assert sorted(info.key for info in store.list()) == sorted(expected)
        for key, number in expected.items():
            segment = self.segments[number]
            with store.checkout(key) as copy:
                assert copy.stat().st_size == segment.size
                assert crc64nvme(copy).value == segment.crc64nvme
            assert (self.spool.uploaded / f"{segment.name}.mp4").stat().st_size == segment.size
        assert not list(store.list_multiparts())


def status_of(spool: Spool) -> UploadStatus:
    """What anybody can read from the ledger while its uploader is at work, or hangs, or is gone."""
    status, _ = read_status(spool.root / LEDGER_FILE)
    return status
