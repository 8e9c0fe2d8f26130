"""Several videos at once, each in a process: one that is killed (out of memory) fails one video and no other."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from cloud.extract import Extractor, Failure, Target, sort_out
from cloud.pipeline import Result
from cloud.settings import Settings
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeCaptureError, Scope


class WorkerKilled(EdgeCaptureError):
    """The process that worked on a video ended without a word: killed, by the kernel when memory is short."""

    retryable = True
    scope = Scope.FILE


@dataclass(slots=True)
class _Hand:
    """A process, the way to it, and the position of the target it works on."""

    process: BaseProcess
    link: Connection
    at: int = -1

    @property
    def usable(self) -> bool:
        return not self.link.closed and self.process.is_alive()


def extract_at_once(
    targets: Sequence[Target], settings: Settings, jobs: int, started: Callable[[Target], object]
) -> tuple[list[Result], list[Failure]]:
    """What :func:`cloud.extract.extract` makes of *targets*, by *jobs* processes; in the same order, whoever is first.

    Raises errors of the link at once, after ending the other processes: what they had in hand is made anew next time.
    """
    ended: dict[int, Result | Failure] = {}
    waiting = deque(range(len(targets)))
    busy: list[_Hand] = []
    idle: list[_Hand] = []
    try:
        while len(ended) < len(targets):
            while waiting and len(busy) < jobs:
                busy.append(idle.pop() if idle else _hire(settings))
                busy[-1].at = waiting.popleft()
                started(targets[busy[-1].at])
                with suppress(BrokenPipeError):  # it just died; then there is no answer either
                    busy[-1].link.send(targets[busy[-1].at])
            ready = wait([hand.link for hand in busy])
            for hand in [hand for hand in busy if hand.link in ready]:
                ended[hand.at] = _answer(hand, targets[hand.at])
                busy.remove(hand)
                if hand.usable:
                    idle.append(hand)
    finally:
        for hand in [*busy, *idle]:
            _dismiss(hand)
    return sort_out([ended[at] for at in range(len(targets))])


def _hire(settings: Settings) -> _Hand:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(settings, theirs), name="extract", daemon=True)
    process.start()
    theirs.close()  # else the end of the process would not end the pipe
    return _Hand(process, ours)


def _answer(hand: _Hand, target: Target) -> Result | Failure:
    """What the process answers about *target*; a failure when it died instead, and then the hand is of no more use."""
    try:
        answer: Result | Failure | EdgeCaptureError = hand.link.recv()
    except (EOFError, ConnectionResetError):
        hand.process.join()
        failure = Failure(target, _killed(target, hand.process.exitcode or 0))
        _dismiss(hand)
        return failure
    if isinstance(answer, EdgeCaptureError):
        raise answer
    return answer


def _killed(target: Target, status: int) -> WorkerKilled:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    short = "if memory was short, with fewer --jobs"
    return WorkerKilled(f"the process that worked on it {how}", where=target.key, fix=f"try again; {short}")


def _dismiss(hand: _Hand) -> None:
    if hand.link.closed:
        return
    hand.process.kill()  # what it has in hand, if anything, is mended by the next run, like after any crash
    hand.process.join()
    hand.process.close()
    hand.link.close()


def _work(settings: Settings, link: Connection) -> None:
    """The main function of a process: a target in, a result, a failure or an error of the link out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends us
    extractor = Extractor(settings, settings.dataset.open(), SystemClock())
    while True:
        try:
            target: Target = link.recv()
        except EOFError:
            return
        try:
            link.send(extractor.one(target))
        except EdgeCaptureError as error:
            link.send(error)
