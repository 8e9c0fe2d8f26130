"""The function as Lambda runs it: the real entry point behind the runtime's protocol, S3 behind HTTP, real events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_agent.store.s3 import S3Store
from tests.support.emulator import Emulator, emulator, missing
from tests.support.template import REGION, Template
from tests.support.wait import until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")

# As S3 sends it ("Event message structure" in its user guide, version 2.1), key and version filled in by the tests.
RECORD: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": REGION,
    "eventTime": "2026-11-22T14:31:07.123Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AWS:AROAEXAMPLE:dock7"},
    "requestParameters": {"sourceIPAddress": "203.0.113.5"},
    "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG"},
}
# As SQS hands it to a function ("Using Lambda with Amazon SQS" in Lambda's developer guide).
MESSAGE: dict[str, Any] = {
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1795357867123",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1795357867133",
    },
    "messageAttributes": {},
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:edge-capture-videos",
    "awsRegion": REGION,
}


@pytest.fixture
def stores(moto_endpoint: str, aws_environment: None) -> Iterator[tuple[S3Store, S3Store]]:
    """An empty raw and an empty dataset bucket."""
    names = [f"{kind}-{uuid.uuid4().hex}" for kind in ("raw", "dataset")]
    with (
        closing(S3Store(names[0], endpoint_url=moto_endpoint, region=REGION)) as raw,
        closing(S3Store(names[1], endpoint_url=moto_endpoint, region=REGION)) as dataset,
    ):
        for store in (raw, dataset):
            store.client.create_bucket(Bucket=store.name)
        yield raw, dataset


@pytest.fixture
def function(stores: tuple[S3Store, S3Store], moto_endpoint: str, tmp_path: Path) -> Iterator[Emulator]:
    """The template's function, with the template's environment pointed at the two buckets."""
    raw, dataset = stores
    variables = {
        **Template({"SamplingEvery": "100"}).variables,
        "EDGE_CLOUD_RAW": f"s3://{raw.name}",
        "EDGE_CLOUD_DATASET": f"s3://{dataset.name}",
    }
    # What Lambda itself adds, and the address of what stands in for S3.
    variables |= {"AWS_ENDPOINT_URL": moto_endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    variables |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with emulator("cloud.handler.handler", variables, tmp_path) as running:
        yield running


def landed(store: S3Store, key: str, body: Path | bytes | None) -> dict[str, Any]:
    """S3's notification that *body* was stored at *key*; None: it was, and is gone."""
    thing: dict[str, Any] = {"key": key, "size": 1, "sequencer": "0A1B2C3D4E5F678901"}
    if body is not None:
        info = store.put(key, body)
        thing |= {"size": info.size, "eTag": info.etag}
    bucket = {"name": store.name, "ownerIdentity": {"principalId": "A3NL1"}, "arn": f"arn:aws:s3:::{store.name}"}
    s3 = {"s3SchemaVersion": "1.0", "configurationId": "videos", "bucket": bucket, "object": thing}
    return {"Records": [{**RECORD, "s3": s3}]}


def queued(*bodies: object) -> dict[str, Any]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return {"Records": [{**MESSAGE, "messageId": f"m{number}", "body": text} for number, text in enumerate(texts)]}


def test_a_notification_becomes_frames_lines_and_a_log_line(
    function: Emulator, stores: tuple[S3Store, S3Store], black_cup: Path
) -> None:
    """A real video, announced directly and then again through the queue: frames once, lines once, one fact a call."""
    raw, dataset = stores
    event = landed(raw, "videos/black_cup_1.mp4", black_cup)
    uri = raw.uri("videos/black_cup_1.mp4")
    assert function.invoke(event) == {"videos": [{"uri": uri, "outcome": "processed"}]}
    manifest = dataset.get("manifests/black_cup/undated.manifest").body
    listed = [json.loads(line)["source-ref"] for line in manifest.splitlines()]
    assert listed == [dataset.uri(info.key) for info in dataset.list("frames/")] != []
    assert function.invoke(queued(event)) == {"batchItemFailures": []}
    assert dataset.get("manifests/black_cup/undated.manifest").body == manifest
    until(lambda: function.lines("video_unchanged"), "the last line of the log")
    (fact,) = function.lines("video_processed")
    assert (fact["key"], fact["lines"]) == ("videos/black_cup_1.mp4", len(listed))
    assert len(function.lines("video_unchanged")) == 1


def test_only_the_failed_messages_of_a_batch_are_named(
    function: Emulator, stores: tuple[S3Store, S3Store], black_cup: Path
) -> None:
    """Between a video that is gone and one nobody can name, the good one is done and not asked for again."""
    raw, dataset = stores
    batch = queued(
        landed(raw, "videos/black_cup_9.mp4", None),
        landed(raw, "videos/black_cup_1.mp4", black_cup),
        "no event at all",
    )
    assert function.invoke(batch) == {"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]}
    assert dataset.head("manifests/black_cup/undated.manifest").size > 0


def test_a_direct_event_that_fails_is_an_error_of_the_function(
    function: Emulator, stores: tuple[S3Store, S3Store]
) -> None:
    """A gone video, announced directly, is an error Lambda sees and counts, by one line that names the video."""
    answer = function.invoke(landed(stores[0], "videos/black_cup_9.mp4", None))
    assert answer["errorType"] == "ObjectNotFound"
    assert "videos/black_cup_9.mp4" in answer["errorMessage"]
