"""The heartbeat that keeps a message hidden says each outage of the queue once."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from cloud.queue import Letter, Queue
from cloud.worker import Heartbeat
from edge_agent.errors import EdgeCaptureError, ObjectNotFound, StoreUnreachable
from tests.support.clock import FakeClock

AWAY = StoreUnreachable("no route")


class Told(Queue):
    """A queue whose answers to hide() are known: an error is raised. The last one sets ``ended``."""

    def __init__(self, *answers: EdgeCaptureError | None) -> None:
        super().__init__("http://localhost/1/videos")
        self.ended = threading.Event()
        self._answers = list(answers)

    def hide(self, letter: Letter, seconds: int) -> None:
        answer = self._answers.pop(0)
        if not self._answers:
            self.ended.set()
        if answer is not None:
            raise answer


def test_each_outage_while_one_video_is_worked_on_is_said_once() -> None:
    """Two outages with an answer between them are two lines, however many beats each of them takes."""
    queue = Told(AWAY, AWAY, None, AWAY, ObjectNotFound("somebody else has it"))
    with capture_logs() as lines, Heartbeat(queue, Letter("1", "{}", "r", 1), FakeClock(), 60):
        assert queue.ended.wait(60)
    assert [line["error"] for line in lines] == ["StoreUnreachable", "StoreUnreachable", "ObjectNotFound"]
