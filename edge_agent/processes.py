"""The child processes: ``python -m edge_agent.processes capture|upload|web``, started by the parent, never by hand.

A child is told its job as one JSON line on standard input: no secret stands on a command line. The pipe stays open: by
it a capture process is told when the disk is full, when there is room again, and that somebody looks; when it closes,
the parent is gone, and the child stops as if it had been asked to. A capture process imports neither the configuration
library nor the log library nor the cloud's: it stays small, and tells its parent facts on standard output, which the
parent logs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.lookers import Lookers
from edge_agent.capture.report import Event
from edge_agent.capture.room import Room
from edge_agent.clock import SystemClock
from edge_agent.control.journal import LOG, plain
from edge_agent.errors import DiskFull, EdgeCaptureError

STOP_SECONDS = 2.5  # a child that has not stopped by then ends at once; what is on the disk is salvaged later


def main() -> None:
    kind = sys.argv[1]
    line = sys.stdin.readline()
    stop = threading.Event()
    _stop_on_signals(stop)
    room, lookers = Room(), Lookers(SystemClock())
    listener = threading.Thread(target=_watch_parent, args=(sys.stdin, stop, room, lookers), name="parent", daemon=True)
    listener.start()
    try:
        if kind == "capture":
            capture(line, stop, room, lookers)
        elif kind == "web":
            web(line, stop)
        else:
            upload(line, stop)
    except EdgeCaptureError as error:
        report(Event("process_failed", kind, {"code": error.code, "error": str(error)}))
        leave(error.exit_status)
    leave(0)


def capture(line: str, stop: threading.Event, room: Room, lookers: Lookers | None = None) -> None:
    """Record one camera, while there is *room*, until *stop* or the end of its source."""
    from edge_agent.capture.recorder import Recorder
    from edge_agent.capture.sources.opening import open_source
    from edge_agent.control.tags import DesiredTags
    from edge_agent.spool import Spool

    job = CaptureJob.from_line(line)
    clock = SystemClock()
    spool = Spool(Path(job.spool))
    with contextlib.suppress(DiskFull):  # the recorder says so, and waits for room
        spool.prepare()
    gc.freeze()  # what is loaded by now stays; looking through it again and again costs more than a camera's packets
    with spool.only_one(job.camera):
        tags = DesiredTags.of_job(job, clock)
        Recorder(
            job,
            spool,
            clock,
            tags,
            lambda closing: open_source(job, clock, closing),
            report,
            room=room,
            lookers=lookers,
        ).run(stop)


def upload(line: str, stop: threading.Event) -> None:
    """Sync ``ready/`` to the store until *stop*."""
    from edge_agent import telemetry
    from edge_agent.upload.job import UploadJob
    from edge_agent.upload_process import build_errands, build_uploader

    job = UploadJob.from_line(line)
    telemetry.configure(job.log_level, job.log_format, lambda said: report(Event(LOG, "upload", plain(said))))
    clock = SystemClock()
    uploader = build_uploader(job, clock)
    with build_errands(job, uploader, clock).running():
        uploader.run(stop)


def web(line: str, stop: threading.Event) -> None:
    """Serve the local page until *stop*."""
    from edge_agent.control.web.job import WebJob
    from edge_agent.control.web.server import serve

    serve(WebJob.from_line(line), SystemClock(), stop, report)


_reporting = threading.Lock()


def report(event: Event) -> None:
    """Tell the parent, whole lines only. A parent that is gone is noticed elsewhere."""
    left = memoryview(event.to_line().encode())
    with contextlib.suppress(BrokenPipeError), _reporting:
        while left:  # a signal may cut a write of more than the pipe holds, as a picture is
            left = left[os.write(sys.stdout.fileno(), left) :]


def _stop_on_signals(stop: threading.Event) -> None:
    """Finish what is open and end, within STOP_SECONDS. A service manager may say so as well as the parent."""

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            return
        stop.set()
        deadline = threading.Timer(STOP_SECONDS, leave, (1,))
        deadline.daemon = True
        deadline.start()

    signal.signal(signal.SIGTERM, handle)
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's word, which may go to many: the parent decides
        signal.signal(number, signal.SIG_IGN)


def _watch_parent(pipe: IO[str], stop: threading.Event, room: Room, lookers: Lookers) -> None:
    while line := pipe.readline():
        room.obey(line)
        lookers.obey(line)
    if not stop.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def leave(status: int) -> None:
    """End the process now: a thread blocked in C would hold an ordinary exit up."""
    try:
        sys.stdout.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
