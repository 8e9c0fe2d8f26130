"""From a bucket through the queue to the function: the template's own notification and queues, on a moto server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import handler as module
from cloud.dataset import layout
from edge_agent.store.s3 import S3Store
from tests.support.deployed import Deployed
from tests.support.function import Context
from tests.support.moto_server import moto_server
from tests.support.template import REGION, Template

Handler = Callable[[dict[str, Any]], dict[str, Any]]
RULE = "videos"
TAKEN: dict[str, list[object]] = {"batchItemFailures": []}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of this module's own: the stack's names are fixed."""
    with moto_server() as url:
        yield url


@pytest.fixture
def stack(server: str, aws_environment: None) -> Deployed:
    return Deployed(server, Template({"SamplingEvery": "100"}))


@pytest.fixture
def function(stack: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handler]:
    """The function's entry point, in the template's environment."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    module._function.cache_clear()
    yield lambda event: module.handler(event, Context())  # type: ignore[arg-type]
    for store in module._function().engine._stores.values():
        assert isinstance(store, S3Store)
        store.close()
    module._function.cache_clear()


def put(stack: Deployed, key: str, body: bytes) -> str:
    """Store *body* in the raw bucket as a box would; the bucket's name."""
    bucket: str = stack.template.resource("RawBucket")["BucketName"]
    stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def keys(stack: Deployed) -> list[str]:
    found = stack.client("s3").list_objects_v2(Bucket=stack.template.resource("DatasetBucket")["BucketName"])
    return [one["Key"] for one in found.get("Contents", [])]


def manifest(stack: Deployed) -> bytes:
    bucket = stack.template.resource("DatasetBucket")["BucketName"]
    found = stack.client("s3").get_object(Bucket=bucket, Key="manifests/black_cup/undated.manifest")
    body: bytes = found["Body"].read()
    return body


def test_a_landed_video_is_listed_and_a_deleted_one_is_not(stack: Deployed, function: Handler, black_cup: Path) -> None:
    """What lands under videos/ becomes lines, what lands elsewhere starts nothing; deleting takes the lines back."""
    assert stack.work_off(function) == [TAKEN]  # S3's own message that the notification was set up
    put(stack, "elsewhere/black_cup_1.mp4", black_cup.read_bytes())
    bucket = put(stack, "videos/dock7/black_cup_1.mp4", black_cup.read_bytes())
    assert stack.work_off(function) == [TAKEN]
    frames = [key for key in keys(stack) if key.startswith(layout.FRAMES)]
    assert len(frames) == manifest(stack).count(b"\n") > 0
    stack.client("s3").delete_object(Bucket=bucket, Key="videos/dock7/black_cup_1.mp4")
    told = deleted(bucket, "videos/dock7/black_cup_1.mp4")
    stack.sqs.send_message(QueueUrl=stack.queue, MessageBody=json.dumps(told))
    assert stack.work_off(function) == [TAKEN]
    assert [key for key in keys(stack) if not key.startswith(layout.MANIFESTS)] == []
    assert manifest(stack) == b""


def test_a_video_that_cannot_be_read_holds_up_no_other(stack: Deployed, function: Handler, black_cup: Path) -> None:
    """Rubbish and a good video in one queue: the good one is listed, and the queue keeps nothing that works."""
    put(stack, "videos/black_cup_1.mp4", b"no video" * 999)
    put(stack, "videos/black_cup_2.mp4", black_cup.read_bytes())
    assert TAKEN in stack.work_off(function)
    assert b"black_cup_2_000000.jpg" in manifest(stack)
    assert b"black_cup_1_" not in manifest(stack)


def test_eventbridge_brings_the_same_lines(stack: Deployed, function: Handler, black_cup: Path) -> None:
    """A bucket that tells EventBridge, and the rule of docs/deploy.md, end in the same queue and the same manifest."""
    bucket = stack.template.resource("RawBucket")["BucketName"]
    stack.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    stack.work_off(function)
    events = stack.client("events")
    events.put_rule(Name=RULE, EventPattern=json.dumps(rule(bucket)))
    queue = f"arn:aws:sqs:{REGION}:123456789012:{stack.template.resource('VideoQueue')['QueueName']}"
    events.put_targets(Rule=RULE, Targets=[{"Id": "queue", "Arn": queue}])
    put(stack, "videos/dock7/black_cup_1.mp4", black_cup.read_bytes())
    assert stack.work_off(function) == [TAKEN]
    assert manifest(stack).count(b"\n") > 0


def deleted(bucket: str, key: str) -> dict[str, Any]:
    """What S3 tells when an object of a versioned bucket is deleted; moto (5.2) does not."""
    s3 = {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "0A1B2C3D4E5F678902"}}
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:DeleteMarkerCreated", "s3": s3}]}


def rule(bucket: str) -> dict[str, Any]:
    """The event pattern that docs/deploy.md shows, for *bucket*."""
    text = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    _, _, rest = text.partition("--event-pattern '")
    pattern, _, _ = rest.partition("'")
    found: dict[str, Any] = json.loads(pattern.replace("BUCKET", bucket))
    return found
