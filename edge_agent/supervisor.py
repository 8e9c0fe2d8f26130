"""Child processes: started, watched, restarted with back-off, stopped within a deadline.

One thread for each child, and each of them sleeps until its child says something, is silent for too long, or is given
an order: nothing here polls.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import structlog

from edge_agent.backoff import backoff
from edge_agent.capture.report import STATUS, Event
from edge_agent.clock import Clock

log = structlog.get_logger()

START_SECONDS = 60.0  # a child may be silent so long at first: many that start at once on a small board are slow
# glibc keeps freed memory, and grows what it takes to keep: fragments of half a megabyte come and go for ever. Returned
# at once, a capture process stays 4 MB smaller (measured once: 52.1 MB resident after 14 s, 56.2 without).
LEAN = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
STEADY_SECONDS = 60.0  # a child that ran this long starts its back-off anew
STOP_SECONDS = 2.8  # a little more than the child allows itself; less than the 3 s that stopping may take


@dataclass(frozen=True, slots=True)
class Worker:
    """A child process to keep alive. ``kind`` and ``job`` are what ``edge_agent.processes`` is told.

    ``silence`` is how many seconds without a line on its standard output mean that it hangs, once it has said the first
    (until then START_SECONDS, where that is more); None: it may be silent.
    """

    name: str
    kind: str
    job: str
    silence: float | None = None

    @property
    def key(self) -> str:
        """The camera's name, or what no camera can be called."""
        return self.name if self.kind == "capture" else f"-{self.kind}"


class Orders:
    """What one child is to do: a standing order, and when to stop. May be given from any thread. To be closed.

    A child that is started anew is given the standing order again; what was only said once, it is not.
    """

    def __init__(self, standing: str = "") -> None:
        self.stop = threading.Event()
        self._standing = standing
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Readable when there is something new."""
        return self._bell

    def give(self, standing: str) -> None:
        """Replace the standing order: one line, as the child understands it."""
        self._standing = standing
        os.eventfd_write(self._bell, 1)

    def say(self, line: str) -> None:
        """An order for now, which no later one replaces."""
        self._said.put(line)
        os.eventfd_write(self._bell, 1)

    def end(self) -> None:
        """The child is to finish what it does and end."""
        self.stop.set()
        os.eventfd_write(self._bell, 1)

    def take(self) -> str:
        """The standing order; nothing is new until the next one."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        return self._standing

    def said(self) -> str:
        """What was said since the last time, a line each."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(f"{self._said.get_nowait()}\n")
        return "".join(lines)

    def close(self) -> None:
        os.close(self._bell)


def supervise(worker: Worker, orders: Orders, clock: Clock, on_event: Callable[[Event], None]) -> None:
    """Keep *worker* running until it ends by itself with status 0, or until it is told to stop; then it has ended."""
    attempt = 0
    while not orders.stop.is_set():
        began = clock.monotonic()
        try:
            status = _run_once(worker, orders, clock, on_event)
        except OSError as error:  # no process or no memory left for one
            log.warning("process_not_started", process=worker.name, error=str(error))
            status = -1
        if status == 0 or orders.stop.is_set():
            log.info("process_ended", process=worker.name, status=status)
            return
        attempt = 1 if clock.monotonic() - began > STEADY_SECONDS else attempt + 1
        wait = backoff(attempt)
        log.error("process_died", process=worker.name, status=status, attempt=attempt, retry_in=round(wait, 1))
        _tell_for(worker, "restarting", f"its process ended with {status}", on_event)
        clock.wait(orders.stop, wait)


def _run_once(worker: Worker, orders: Orders, clock: Clock, on_event: Callable[[Event], None]) -> int:
    """Run the child to its end; its exit status, negative for a signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.processes", worker.kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**LEAN, **os.environ, "PYTHONUNBUFFERED": "1"},
        process_group=0,  # Ctrl-C on a terminal is for the parent alone
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    with process:
        log.info("process_started", process=worker.name, pid=process.pid)
        _say(process.stdin, worker.job)
        rest = _listen(process, worker, orders, clock, on_event)
        if orders.stop.is_set():
            process.terminate()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # noticed also by a child whom the signal reached just before it began to wait
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("process_killed", process=worker.name, pid=process.pid, seconds=STOP_SECONDS)
            process.kill()
        _pass_on(rest + process.stdout.read(), on_event)
    return process.returncode


def _listen(
    process: subprocess.Popen[bytes],
    worker: Worker,
    orders: Orders,
    clock: Clock,
    on_event: Callable[[Event], None],
) -> bytes:
    """Pass events on, and orders, until the child ends, hangs (then it is killed) or is to stop; the torn last line."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    given = ""
    heard = clock.monotonic()
    silence = None if worker.silence is None else max(worker.silence, START_SECONDS)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(orders, selectors.EVENT_READ)
        while True:
            standing = orders.take()
            if orders.stop.is_set():
                return rest
            if standing != given:
                _say(process.stdin, f"{standing}\n")
                given = standing
            if said := orders.said():
                _say(process.stdin, said)
            patience = None if silence is None else max(0.0, heard + silence - clock.monotonic())
            ready = [key.fileobj for key, _ in selector.select(patience)]
            if process.stdout in ready:
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    return rest
                heard, silence = clock.monotonic(), worker.silence
                *lines, rest = (rest + data).split(b"\n")
                _pass_on(b"\n".join(lines), on_event)
            elif silence is not None and clock.monotonic() - heard > silence:
                log.error("process_hangs", process=worker.name, pid=process.pid, seconds=silence)
                # Before it ends: one that waits for a disk (state D) outlives its killing by as long as the disk takes.
                _tell_for(worker, "hanging", f"its process said nothing for {silence:.0f} s and is ended", on_event)
                process.kill()
                return rest


def _tell_for(worker: Worker, state: str, problem: str, on_event: Callable[[Event], None]) -> None:
    """Say for a capture process, which cannot any more, how it is."""
    if worker.kind == "capture":
        on_event(Event(STATUS, worker.name, {"state": state, "problem": problem}))


def _say(pipe: IO[bytes], line: str) -> None:
    """A child that is gone is noticed elsewhere."""
    with contextlib.suppress(BrokenPipeError):
        pipe.write(line.encode())
        pipe.flush()


def _pass_on(lines: bytes, on_event: Callable[[Event], None]) -> None:
    for line in lines.decode(errors="replace").splitlines():
        try:
            event = Event.from_line(line)
        except ValueError:
            log.warning("process_said", line=line[:200])
            continue
        on_event(event)
