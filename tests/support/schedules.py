"""Workers that race over one data set in an order that a seed decides, and that may be killed at any call to a store.

Each worker is a thread; of all of them one runs at a time, from one call to the next, so a seed gives one schedule.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


class Killed(BaseException):
    """The worker's process ends here: nothing in the product catches it."""


@dataclass
class Turns:
    """Lets one of *workers* run at a time, and draws who is next whenever it comes to a call.

    The one that had the turn keeps it with the probability *stay*: races need one worker to sleep through much of what
    another does.
    """

    chance: random.Random
    workers: int
    stay: float
    _last: int | None = None
    _waiting: set[int] = field(default_factory=set)
    _turn: int | None = None
    _gate: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, worker: int) -> None:
        """Give the turn away; returns when it comes back to *worker*."""
        with self._gate:
            self._waiting.add(worker)
            self._turn = None
            self._draw()
            assert self._gate.wait_for(lambda: self._turn == worker, timeout=60), "no worker gave its turn away"

    def leave(self) -> None:
        """The worker that has the turn ends."""
        with self._gate:
            self.workers -= 1
            self._turn = None
            self._draw()

    def _draw(self) -> None:
        if self._waiting and len(self._waiting) == self.workers:
            stays = self._last in self._waiting and self.chance.random() < self.stay
            self._last = self._turn = self._last if stays else self.chance.choice(sorted(self._waiting))
            assert self._turn is not None
            self._waiting.remove(self._turn)
            self._gate.notify_all()


@dataclass
class Deaths:
    """Kills a worker before or after one call in about *every*, *most* times at most; a call without a name never."""

    chance: random.Random
    every: int
    most: int
    seen: list[str] = field(default_factory=list)

    def strikes(self, call: str) -> bool:
        if not call or len(self.seen) >= self.most or self.chance.randrange(self.every):
            return False
        self.seen.append(call)
        return True


def race(jobs: list[Callable[[Callable[[str, Callable[[], Any]], Any]], None]], seed: int, deaths: Deaths) -> None:
    """Run *jobs* as workers; each is handed what its stores are to make their calls through. Raises what they raise."""
    chance = random.Random(seed)
    turns = Turns(chance, len(jobs), chance.choice([0.0, 0.5, 0.8, 0.9, 0.95]))

    def work(worker: int) -> None:
        def around(call: str, make: Callable[[], Any]) -> Any:
            turns.wait(worker)
            if deaths.strikes(call and f"before {call}"):
                raise Killed
            made = make()
            if deaths.strikes(call and f"after {call}"):
                raise Killed
            return made

        turns.wait(worker)
        try:
            jobs[worker](around)
        finally:
            turns.leave()

    with ThreadPoolExecutor(len(jobs)) as pool:
        ended = [pool.submit(work, worker) for worker in range(len(jobs))]
    for future in ended:
        future.result()
