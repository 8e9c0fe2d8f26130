"""Threads that work: each takes one job after the other from a short queue, and hands in what became of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from edge_agent.clock import Clock

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Finished(Generic[Job, Result]):
    """A job's end: its ``result``, or the ``error``, whatever it is, that ended it. ``seconds`` it took."""

    job: Job
    result: Result | None
    error: BaseException | None
    seconds: float


class Workers(Generic[Job, Result]):
    """Runs *work* on jobs, on at most as many threads as allowed; *rung* is called when some have ended.

    That is when one has failed, when *at_once* have ended, or when no more than so many wait to be begun: small jobs
    are looked at several at a time.

    After an error nothing more is begun until :meth:`allow` says so: it may concern all. The threads are daemons: one
    that hangs in the store's library holds nobody's exit up.
    """

    def __init__(
        self, name: str, work: Callable[[Job], Result], rung: Callable[[], object], clock: Clock, at_once: int = 1
    ) -> None:
        self._name = name
        self._work = work
        self._rung = rung
        self._clock = clock
        self._at_once = at_once
        self._turn = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._finished: deque[Finished[Job, Result]] = deque()
        self._threads: list[threading.Thread] = []
        self._allowed = 0
        self._running = 0
        self._held = False
        self._closed = False

    @property
    def running(self) -> int:
        """Jobs that a thread has in hand."""
        return self._running

    @property
    def waiting(self) -> list[Job]:
        """Jobs that no thread has taken yet, next first."""
        with self._turn:
            return list(self._waiting)

    def give(self, jobs: Iterable[Job], *, first: bool = False) -> None:
        """Have *jobs* done in their order, after those that wait already, or before them."""
        with self._turn:
            if first:
                self._waiting.extendleft(reversed(list(jobs)))
            else:
                self._waiting.extend(jobs)
            self._turn.notify_all()

    def allow(self, running: int) -> None:
        """Let so many jobs be in hand at once; none is taken out of a hand."""
        with self._turn:
            self._allowed = running
            self._held = False
            while len(self._threads) < running:
                thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._turn.notify_all()

    def take_back(self) -> list[Job]:
        """The jobs that no thread has begun; none is begun any more."""
        with self._turn:
            jobs = list(self._waiting)
            self._waiting.clear()
            return jobs

    def finished(self) -> list[Finished[Job, Result]]:
        """What has ended since this was last asked."""
        found = []
        while self._finished:
            found.append(self._finished.popleft())
        return found

    def close(self, seconds: float) -> None:
        """Begin nothing more, and join the threads, but wait no longer than so for one that hangs."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._turn.notify_all()
        deadline = self._clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _run(self) -> None:
        while job := self._next():
            with _Attempt(job[0], self._clock, self._hand_in) as attempt:
                attempt.result = self._work(job[0])

    def _next(self) -> tuple[Job] | None:
        with self._turn:
            self._turn.wait_for(self._may_begin)
            if self._closed:
                return None
            self._running += 1
            return (self._waiting.popleft(),)

    def _may_begin(self) -> bool:
        return self._closed or (bool(self._waiting) and not self._held and self._running < self._allowed)

    def _hand_in(self, finished: Finished[Job, Result]) -> None:
        with self._turn:
            self._held = self._held or finished.error is not None
            self._running -= 1
            self._finished.append(finished)
            self._turn.notify_all()
            few_left = len(self._waiting) <= self._at_once
            ring = self._held or few_left or len(self._finished) >= self._at_once
        if ring:
            self._rung()


class _Attempt(Generic[Job, Result]):
    """Hands in how the block ended. No error stays here: whose thread waits for the result knows what each means."""

    def __init__(self, job: Job, clock: Clock, hand_in: Callable[[Finished[Job, Result]], object]) -> None:
        self.result: Result | None = None
        self._job = job
        self._clock = clock
        self._hand_in = hand_in
        self._began = clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[True]:
        self._hand_in(Finished(self._job, self.result, error, self._clock.monotonic() - self._began))
        return True
