"""Workers on a queue: the engine for videos that are too long for a function, or where there are no functions.

A worker takes one message at a time, and keeps it hidden from others for as long as it works: another worker gets it
soon after this one died, however long the video is. A message that failed becomes visible again after a pause that
grows with every try; the queue's redrive policy sends it to the dead letters in the end.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog

from cloud.bell import Bell, Stopped, back_off
from cloud.engine import EventHandler
from cloud.events import queue_message
from cloud.queue import Letter, Queue
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, Scope

POLL_SECONDS = 5
"""Of one long poll: how long an idle worker may take to stop. 17,280 requests a day cost less than a cent."""


@dataclass(slots=True)
class Worker:
    """Takes messages from *queue* until *bell* stops it. Messages are hidden for *visibility* seconds at a time.

    *handler* must have *bell*'s ``check`` as its progress, to be stoppable in the middle of a video.
    """

    queue: Queue
    handler: EventHandler
    clock: Clock
    bell: Bell
    visibility: int = 60

    def run(self) -> None:
        """Work until the bell stops it, through outages of queue and stores. Raises errors that no waiting mends.

        An outage, and keys that are refused, are said once, and so is their end. Until then no message is taken: each
        try brings it nearer to the dead letters.
        """
        fails, said = 0, ""
        while not self.bell.stopping:
            try:
                if fails:
                    self.handler.check()
                self.run_once()
            except Stopped:
                return
            except EdgeCaptureError as error:
                if not error.retryable:
                    raise
                fails += 1
                pause = back_off(fails)
                if error.code != said:
                    _log().warning("worker_waits", error=error.code, reason=str(error), seconds=round(pause, 1))
                said = error.code
                self.bell.wait(self.clock, pause)
            else:
                if said:
                    _log().info("worker_goes_on", after=said)
                fails, said = 0, ""

    def run_once(self) -> bool:
        """Take one message; whether there was one. Raises what the queue raises, and errors of the link to a store."""
        letter = self.queue.receive(POLL_SECONDS, self.visibility)
        if letter is None:
            return False
        try:
            with Heartbeat(self.queue, letter, self.clock, self.visibility):
                self.handler.take(queue_message(letter.id, letter.body))
        except Stopped:
            _log().info("video_given_back", message_id=letter.id)
            self._give_back(letter, 0)
            raise
        except EdgeCaptureError as error:
            self._give_back(letter, round(back_off(letter.receives)))
            if error.scope is Scope.LINK:
                raise
        else:
            self._end(letter)
        return True

    def _give_back(self, letter: Letter, seconds: int) -> None:
        try:
            self.queue.hide(letter, seconds)
        except EdgeCaptureError as error:
            if error.scope is Scope.LINK:
                raise
            _log_lost(letter, error)

    def _end(self, letter: Letter) -> None:
        try:
            self.queue.delete(letter)
        except EdgeCaptureError as error:  # it comes again, and finds everything done
            if error.scope is Scope.LINK:
                raise
            _log_lost(letter, error)


class Heartbeat:
    """Keeps *letter* hidden while the block lasts. An outage shorter than *visibility* seconds does no harm."""

    def __init__(self, queue: Queue, letter: Letter, clock: Clock, visibility: int) -> None:
        self._queue, self._letter, self._clock, self._visibility = queue, letter, clock, visibility
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        said = ""
        while not self._clock.wait(self._stop, self._visibility / 3):
            try:
                self._queue.hide(self._letter, self._visibility)
            except EdgeCaptureError as error:
                if error.code != said:
                    _log().warning("heartbeat_failed", message_id=self._letter.id, error=error.code, reason=str(error))
                said = error.code
                if not error.retryable:  # somebody else has it now; both make the same bytes
                    return
            else:
                said = ""


def _log_lost(letter: Letter, error: EdgeCaptureError) -> None:
    _log().warning("message_lost", message_id=letter.id, error=error.code, reason=str(error))


def _log() -> Any:
    return structlog.get_logger("cloud")
