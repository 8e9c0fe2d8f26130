"""A read that is blocked in C for good: nothing in its process can end it, so the process is given up and replaced."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.spool import Spool
from edge_agent.supervisor import Worker
from tests.integration.test_supervisor import opened, supervised, the_child
from tests.support.capture import job_for, recorded_in
from tests.support.clips import make_clip
from tests.support.wait import until

PIPE_BYTES = 1 << 20  # what one pipe may hold without root, fs.pipe-max-size


@contextmanager
def pipe(path: Path) -> Iterator[int]:
    """A named pipe that somebody holds open: libav's read of it waits in read(2), which no time-out of libav ends."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_process_whose_read_is_blocked_for_good_is_replaced(tmp_path: Path) -> None:
    """What came before is a segment; the process ends itself, its parent starts another, and recording goes on."""
    clip = make_clip(tmp_path / "clip.ts", frames=50).read_bytes()
    job = job_for(tmp_path, f"file:{tmp_path / 'camera.ts'}", stall_seconds=1.0)
    with pipe(tmp_path / "camera.ts") as camera:
        os.write(camera, clip)
        worker = Worker("cam1", "capture", job.to_line(), silence=15.0)
        with supervised(worker) as (events, _, _):
            until(lambda: opened(events), "recording")
            first = the_child()
            until(lambda: [e for e in events if e.name == "process_failed"], "its end")
            until(lambda: not first.is_running(), "nobody to read what is not for him")
            os.write(camera, clip)
            until(lambda: opened(events) >= 2, "recording again")
            lost = next(event for event in events if event.name == "camera_lost")
            failed = next(event for event in events if event.name == "process_failed")
    assert lost.fields["code"] == failed.fields["code"] == "SourceStalled"
    assert failed.fields["error"] == "reading is blocked; its process is started anew"
    before, *_ = recorded_in(Spool(tmp_path / "spool")).segments
    assert not before.recovered
    assert before.frames >= 48  # libav holds the last ones until it sees what comes behind them
