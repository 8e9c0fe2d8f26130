"""Child processes: started, watched, restarted with back-off, stopped within a deadline."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_agent.backoff import backoff
from edge_agent.capture.report import STATUS, Event
from edge_agent.clock import Clock

log = structlog.get_logger()

STEADY_SECONDS = 60.0  # a child that ran this long starts its back-off anew
STOP_SECONDS = 4.0  # one more than the child allows itself


@dataclass(frozen=True, slots=True)
class Worker:
    """A child process to keep alive. ``kind`` and ``job`` are what ``edge_agent.processes`` is told.

    ``silence`` is how many seconds without a line on its standard output mean that it hangs; None: it may be silent.
    """

    name: str
    kind: str
    job: str
    silence: float | None = None


def supervise(worker: Worker, stop: threading.Event, clock: Clock, on_event: Callable[[Event], None]) -> None:
    """Keep *worker* running until it ends by itself with status 0, or until *stop*; then it has ended."""
    attempt = 0
    while not stop.is_set():
        began = clock.monotonic()
        try:
            status = _run_once(worker, stop, clock, on_event)
        except OSError as error:  # no process or no memory left for one
            log.warning("process_not_started", process=worker.name, error=str(error))
            status = -1
        if status == 0 or stop.is_set():
            log.info("process_ended", process=worker.name, status=status)
            return
        attempt = 1 if clock.monotonic() - began > STEADY_SECONDS else attempt + 1
        wait = backoff(attempt)
        log.error("process_died", process=worker.name, status=status, attempt=attempt, retry_in=round(wait, 1))
        if worker.kind == "capture":
            on_event(Event(STATUS, worker.name, {"state": "restarting", "problem": f"its process ended with {status}"}))
        clock.wait(stop, wait)


def _run_once(worker: Worker, stop: threading.Event, clock: Clock, on_event: Callable[[Event], None]) -> int:
    """Run the child to its end; its exit status, negative for a signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.processes", worker.kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        process_group=0,  # Ctrl-C on a terminal is for the parent alone
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    with process:
        log.info("process_started", process=worker.name, pid=process.pid)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(worker.job.encode())
            process.stdin.flush()
        _listen(process, worker, stop, clock, on_event)
        if stop.is_set():
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        _pass_on(process.stdout.read(), on_event)
    return process.returncode


def _listen(
    process: subprocess.Popen[bytes],
    worker: Worker,
    stop: threading.Event,
    clock: Clock,
    on_event: Callable[[Event], None],
) -> None:
    """Pass the child's events on until it ends or *stop*; kill it when it hangs."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    descriptor = process.stdout.fileno()
    heard = clock.monotonic()
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not stop.is_set():
            if selector.select(timeout=0.2):
                data = os.read(descriptor, 65536)
                if not data:
                    return
                heard = clock.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                _pass_on(b"\n".join(lines), on_event)
            elif worker.silence is not None and clock.monotonic() - heard > worker.silence:
                log.error("process_hangs", process=worker.name, pid=process.pid, seconds=worker.silence)
                process.kill()
                return


def _pass_on(lines: bytes, on_event: Callable[[Event], None]) -> None:
    for line in lines.decode(errors="replace").splitlines():
        try:
            event = Event.from_line(line)
        except ValueError:
            log.warning("process_said", line=line[:200])
            continue
        on_event(event)
