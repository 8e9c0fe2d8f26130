"""When a message that the function could not end comes again: the function on a real queue's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import handler as module
from cloud.bell import back_off
from cloud.queue import Queue
from cloud.redelivery import pause_after
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, StoreUnreachable, VideoUnreadable
from edge_agent.store.s3 import S3Store
from tests.support.forwarding import forwarding
from tests.support.function import Context
from tests.support.http_server import Answer, Request
from tests.support.queueing import Queued, make_queue

CONTEXT: Any = Context()


class Line:
    """Between the function and its servers: passes all on, and keeps for how long messages were hidden."""

    def __init__(self) -> None:
        self.hidden: list[int] = []
        self.down = ""

    def __call__(self, request: Request) -> Answer | None:
        if "ChangeMessageVisibility" in request.headers.get("x-amz-target", ""):
            self.hidden.append(json.loads(request.body)["VisibilityTimeout"])
        return Answer(503) if self.down and self.down in request.path else None


@pytest.fixture
def line(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch, s3_store: S3Store) -> Iterator[Line]:
    """What the function's environment leads to."""
    made = Line()
    with forwarding(moto_endpoint, made) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("EDGE_CLOUD_DATASET", f"s3://{s3_store.name}")
        monkeypatch.setenv("EDGE_CLOUD_SAMPLING__EVERY", "100")
        module._function.cache_clear()
        yield made
        module._function.cache_clear()


def taken(queued: Queued) -> dict[str, Any]:
    """The next message, as Lambda hands it to the function."""
    (message,) = queued.sqs.receive_message(QueueUrl=queued.url, MessageSystemAttributeNames=["All"])["Messages"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queued.url.rpartition('/')[2]}"
    record = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}
    record |= {"attributes": message["Attributes"], "eventSource": "aws:sqs", "eventSourceARN": arn}
    return {"Records": [record]}


def test_what_nobody_can_read_is_a_dead_letter_soon(
    s3_store: S3Store, moto_endpoint: str, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tries follow each other at once, though the queue hides a message for 90 minutes, and it stays parked."""
    monkeypatch.setattr("cloud.redelivery.back_off", lambda _: 0)
    queued = make_queue(s3_store, moto_endpoint, receives=3)
    s3_store.put("videos/black_cup_2.mp4", b"rubbish" * 99)
    for _ in range(3):
        assert len(module.handler(taken(queued), CONTEXT)["batchItemFailures"]) == 1
    assert "Messages" not in queued.sqs.receive_message(QueueUrl=queued.url)
    assert queued.waiting(queued.dead) == 1
    assert [info.key for info in s3_store.list("failed/")] == ["failed/black_cup_2.json"]
    assert line.hidden == [960, 0] * 3
    queued.sqs.close()


def test_a_message_is_hidden_for_as_long_as_the_function_may_take(
    s3_store: S3Store, moto_endpoint: str, line: Line, black_cup: Path
) -> None:
    """A minute longer than the function has; if it dies the video is taken again then, and nobody takes it before."""
    queued = make_queue(s3_store, moto_endpoint)
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    assert module.handler(taken(queued), CONTEXT) == {"batchItemFailures": []}
    assert line.hidden == [960]
    assert queued.waiting() == 0
    queued.sqs.close()


def test_an_outage_makes_no_dead_letters(s3_store: S3Store, moto_endpoint: str, line: Line, black_cup: Path) -> None:
    """While the bucket is away a message comes again after half a minute at the least."""
    queued = make_queue(s3_store, moto_endpoint)
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    message = taken(queued)
    line.down = s3_store.name
    assert len(module.handler(message, CONTEXT)["batchItemFailures"]) == 1
    assert line.hidden[0] == 960
    assert 30 <= line.hidden[1] <= 60
    queued.sqs.close()


def test_a_queue_that_cannot_be_told_stops_nothing(
    s3_store: S3Store, moto_endpoint: str, line: Line, black_cup: Path
) -> None:
    """The video is done all the same when its message's queue is gone."""
    queued = make_queue(s3_store, moto_endpoint)
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    message = taken(queued)
    queued.sqs.delete_queue(QueueUrl=queued.url)
    assert module.handler(message, CONTEXT) == {"batchItemFailures": []}
    assert line.hidden == [960]
    queued.sqs.close()


@pytest.mark.parametrize(
    ("error", "least", "most"), [(VideoUnreadable("x"), 31, 62), (StoreUnreachable("x"), 5220, 10500)]
)
def test_five_tries_take_a_minute_or_an_hour(error: EdgeCaptureError, least: float, most: float) -> None:
    """All pauses of five tries: a minute for what no waiting mends, one and a half hours or more for an outage."""
    assert least <= sum(pause_after(error, tries) for tries in range(1, 6)) <= most
    assert pause_after(error, 1000) <= 5400
    assert back_off(1) <= 2


def test_a_queue_is_found_by_its_arn() -> None:
    """In every partition; what is no ARN of a queue is refused in one line."""
    assert Queue.of_arn("arn:aws:sqs:eu-central-1:1:v").url == "https://sqs.eu-central-1.amazonaws.com/1/v"
    assert Queue.of_arn("arn:aws-cn:sqs:cn-north-1:1:v").url == "https://sqs.cn-north-1.amazonaws.com.cn/1/v"
    with pytest.raises(ConfigInvalid, match="is no queue URL"):
        Queue.of_arn("videos")
