"""Several workers on one queue, each a process of its own: one that dies is replaced, and takes no other with it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import structlog

from cloud.bell import Bell, PatientBell, back_off, terminating
from cloud.engine import EventHandler
from cloud.queue import Queue
from cloud.settings import Settings
from cloud.worker import POLL_SECONDS, Worker
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import EdgeCaptureError

_LOOK_SECONDS = 0.2  # between two looks at the processes
_STEADY_SECONDS = 60.0  # a process that lived this long starts anew without a pause
_REFUSED = 2  # exit status of a process that no restart mends: its settings are wrong


@dataclass(frozen=True, slots=True)
class Post:
    """What every worker is told. ``drain``: seconds it may go on with its video after being told to stop."""

    settings: Settings
    queue_url: str
    visibility: int
    drain: float


def work(post: Post, *signals: signal.Signals) -> None:
    """Be one worker, in the main thread, until one of *signals*. Raises errors that no waiting mends."""
    clock = SystemClock()
    bell = PatientBell(clock, post.drain)
    queue = Queue(post.queue_url)
    handler = EventHandler(post.settings, clock, bell.check)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_follow, args=(parent, bell), name="parent", daemon=True).start()
    with terminating(bell, *signals):
        Worker(queue, handler, clock, bell, post.visibility).run()
    queue.close()


def _follow(parent: BaseProcess, bell: Bell) -> None:
    """Nobody would stop a worker whose parent is gone."""
    wait([parent.sentinel])
    bell.stop()


def _child(post: Post, prepare: Callable[[], None]) -> None:
    """The main function of a worker's process. Ctrl-C goes to the whole group; the parent passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    try:
        work(post, signal.SIGTERM)
    except EdgeCaptureError as error:
        _log().error("worker_failed", error=error.code, reason=str(error))
        raise SystemExit(error.exit_status) from error


@dataclass(slots=True)
class _Seat:
    """One worker's place: its process while it has one, since when, and when the next one is due (monotonic)."""

    process: BaseProcess | None = None
    since: float = 0.0
    due: float = 0.0
    deaths: int = 0


@dataclass(slots=True)
class Crew:
    """*size* workers at *post*. *prepare* runs first in each of their processes."""

    post: Post
    size: int
    clock: Clock
    bell: Bell
    prepare: Callable[[], None]
    _seats: list[_Seat] = field(default_factory=list)

    def run(self) -> int:
        """Keep the workers at work until the bell stops it; 0, or the exit status of one that no restart mends."""
        self._seats = [_Seat() for _ in range(self.size)]
        status = 0
        try:
            while not self.bell.stopping and status != _REFUSED:
                status = max(self._look(seat) for seat in self._seats)
                self.bell.wait(self.clock, _LOOK_SECONDS)
        finally:
            self._dismiss()
        return status if status == _REFUSED else 0

    def _look(self, seat: _Seat) -> int:
        """Fill an empty *seat* when it is due; the exit status of a process that just ended, else 0."""
        now = self.clock.monotonic()
        if seat.process is None:
            if now >= seat.due:
                seat.process, seat.since = self._start(), now
            return 0
        if seat.process.is_alive():
            return 0
        status = seat.process.exitcode or 0
        seat.process.close()
        seat.process = None
        seat.deaths = 1 if now - seat.since >= _STEADY_SECONDS else seat.deaths + 1
        pause = back_off(seat.deaths)
        seat.due = now + pause
        _log().error("worker_died", status=status, restart_in=round(pause, 1))
        return status

    def _start(self) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=_child, args=(self.post, self.prepare), name="worker"
        )
        process.start()
        return process

    def _dismiss(self) -> None:
        """Tell all to stop; who has not when drain and one poll are over is killed, and its message comes back."""
        processes = [seat.process for seat in self._seats if seat.process is not None]
        for process in processes:
            process.terminate()
        deadline = self.clock.monotonic() + self.post.drain + POLL_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - self.clock.monotonic()))
            if process.is_alive():
                _log().error("worker_killed", reason="it did not stop in time")
                process.kill()
                process.join()
            process.close()


def _log() -> Any:
    return structlog.get_logger("cloud")
