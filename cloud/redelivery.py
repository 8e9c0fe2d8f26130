"""When a message that a function could not end comes again: the function tells the queue, as a worker does.

The queue itself hides a message for six times the function's timeout, for some wait for their turn so long. Once its
turn has come, that is too long: a message that failed five times would be a dead letter after seven hours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from cloud.bell import back_off
from cloud.event_shapes import SqsRecord, validated
from cloud.queue import Letter, Queue
from edge_agent.errors import EdgeCaptureError, EventInvalid

_MARGIN = 60  # seconds after the function's end: Lambda deletes what was done only then
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 5400.0  # seconds; of five tries the last comes up to 85 minutes after the first


def pause_after(error: EdgeCaptureError, tries: int) -> float:
    """Seconds until a message that failed with *error* at try number *tries* should come again; random by half.

    What a link or a store was to blame for may take an hour to mend: minutes, four times as long each time. What no
    waiting mends is through with all its tries within a minute or two, and with the dead letters, where it is seen.
    """
    if not error.retryable:
        return back_off(tries)
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 4.0 ** min(tries - 1, 8)) * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class Redelivery:
    """Hides the messages of a function's queues for as long as is right; queues are connected to at first use."""

    _queues: dict[str, Queue] = field(default_factory=dict)

    @contextmanager
    def of(self, record: Mapping[str, Any], seconds_left: float) -> Iterator[None]:
        """While the block works on the message in *record*, it is nobody else's; if it fails, it comes again soon.

        *seconds_left* is what the function has at most: if it dies, the message is there a minute after that. A queue
        that cannot be told keeps to its own time-out. Errors of the block are raised as they are.
        """
        queue, letter = self._found(record)
        _hide(queue, letter, seconds_left + _MARGIN)
        try:
            yield
        except EdgeCaptureError as error:
            _hide(queue, letter, pause_after(error, letter.receives))
            raise

    def _found(self, record: Mapping[str, Any]) -> tuple[Queue | None, Letter]:
        """The message, and the queue it came from; None when *record* does not tell."""
        try:
            told = validated(SqsRecord, record)
        except EventInvalid:  # who works on it says so
            return None, Letter("", "", "", 1)
        letter = Letter(told.message_id, told.body, told.receipt, told.attributes.receives)
        if not (told.queue and told.receipt):
            return None, letter
        if told.queue not in self._queues:
            self._queues[told.queue] = Queue.of_arn(told.queue)
        return self._queues[told.queue], letter


def _hide(queue: Queue | None, letter: Letter, seconds: float) -> None:
    if queue is None:
        return
    try:
        queue.hide(letter, round(seconds))
    except EdgeCaptureError as error:
        structlog.get_logger("cloud").warning(
            "visibility_kept", message_id=letter.id, error=error.code, reason=str(error)
        )
