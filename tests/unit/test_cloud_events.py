"""Events of every route become references; everything else is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.events import (
    BatchInvocation,
    BatchTask,
    ObjectRef,
    batch_invocation,
    decode_key,
    encode_key,
    messages,
    parse,
    s3_notification,
)
from edge_agent.errors import EventInvalid

# The structure AWS documents ("Event message structure", version 2.1 and later), as a PUT sends it.
S3_EVENT: dict[str, Any] = {
    "Records": [
        {
            "eventVersion": "2.4",
            "eventSource": "aws:s3",
            "awsRegion": "eu-central-1",
            "eventTime": "2026-11-22T14:31:07.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "203.0.113.5"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURI"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "videos",
                "bucket": {
                    "name": "raw-bucket",
                    "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                    "arn": "arn:aws:s3:::raw-bucket",
                },
                "object": {
                    "key": "videos/my+take%C3%A9/yellow_box_1.mp4",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}
REF = ObjectRef(
    "raw-bucket",
    "videos/my takeé/yellow_box_1.mp4",
    "096fKKXTRTtl3on89fVO.nfljtsv6qko",
    "d41d8cd98f00b204e9800998ecf8427e",
    1024,
    "0055AED6DCD90281E5",
)
BRIDGE_EVENT: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-11-22T14:31:07Z",
    "region": "eu-central-1",
    "resources": ["arn:aws:s3:::raw-bucket"],
    "detail": {
        "version": "0",
        "bucket": {"name": "raw-bucket"},
        "object": {
            "key": "videos/my takeé/yellow_box_1.mp4",
            "size": 1024,
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "version-id": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "111122223333",
        "reason": "PutObject",
    },
}


def sqs(*bodies: object) -> dict[str, Any]:
    records = [
        {
            "messageId": f"message-{number}",
            "receiptHandle": "AQEB",
            "body": body if isinstance(body, str) else json.dumps(body),
            "attributes": {"ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:111122223333:videos",
        }
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}


def sns(message: object) -> dict[str, Any]:
    return {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(message)}


def lambda_sns(message: object) -> dict[str, Any]:
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns(message)}]}


@pytest.mark.parametrize(
    "event",
    [
        S3_EVENT,
        json.dumps(S3_EVENT),
        json.dumps(S3_EVENT).encode(),
        BRIDGE_EVENT,
        sqs(S3_EVENT),
        sqs(BRIDGE_EVENT),
        sqs(sns(S3_EVENT)),
        sqs(sns(BRIDGE_EVENT)),
        lambda_sns(S3_EVENT),
        lambda_sns(BRIDGE_EVENT),
    ],
    ids=["s3", "text", "bytes", "bridge", "sqs", "sqs-bridge", "sqs-sns", "sqs-sns-bridge", "sns", "sns-bridge"],
)
def test_every_route_gives_the_same_reference(event: object) -> None:
    """Whatever carried the event, the key comes out decoded exactly once and the version with it."""
    assert parse(event) == [REF]


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.9", "3.0"])
def test_a_newer_event_version_is_read_all_the_same(version: str) -> None:
    """AWS adds fields under a new version; that must not stop us."""
    record = {**S3_EVENT["Records"][0], "eventVersion": version, "glacierEventData": {"new": "field"}}
    assert parse({"Records": [record]}) == [REF]


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-22T14:31:07.000Z", "Bucket": "raw-bucket"},
        {"Records": [{**S3_EVENT["Records"][0], "eventName": "LifecycleExpiration:Delete"}]},
        {"Records": [{**S3_EVENT["Records"][0], "eventName": "ObjectTagging:Put"}]},
        {
            **BRIDGE_EVENT,
            "detail-type": "Object Deleted",
            "detail": {**BRIDGE_EVENT["detail"], "reason": "Lifecycle Expiration"},
        },
        {"Records": []},
    ],
    ids=["test", "expired", "tagged", "bridge-expired", "empty"],
)
def test_events_about_nothing_new_are_ignored(event: object) -> None:
    """S3's test event, expiry by a lifecycle rule and the like are no work and no fault, directly and from a queue."""
    assert parse(event) == []
    assert messages(sqs(event))[0].fault is None


@pytest.mark.parametrize(
    "event",
    [
        {"Records": [{**S3_EVENT["Records"][0], "eventName": "ObjectRemoved:Delete"}]},
        {"Records": [{**S3_EVENT["Records"][0], "eventName": "ObjectRemoved:DeleteMarkerCreated"}]},
        {
            **BRIDGE_EVENT,
            "detail-type": "Object Deleted",
            "detail": {**BRIDGE_EVENT["detail"], "reason": "DeleteObject", "deletion-type": "Permanently Deleted"},
        },
    ],
    ids=["removed", "marker", "bridge-deleted"],
)
def test_a_deletion_is_told_as_one(event: object) -> None:
    """What somebody deleted is a reference like any other, marked as removed."""
    assert parse(event) == [replace(REF, removed=True)]


@pytest.mark.parametrize("bucket", [{"s3Bucket": "raw-bucket"}, {"s3BucketArn": "arn:aws:s3:::raw-bucket"}])
def test_tasks_of_batch_operations_are_references(bucket: dict[str, str]) -> None:
    """Both schemas of S3 Batch Operations: keys decoded once, an empty version is none, ids go back unchanged."""
    event = {
        "invocationSchemaVersion": "2.0",
        "invocationId": "aW52b2NhdGlvbg==",
        "job": {"id": "f3cc4f60", "userArguments": {}},
        "tasks": [{"taskId": "t1", "s3Key": "videos/a+b_%C3%A9.mp4", "s3VersionId": "", **bucket}],
    }
    ref = ObjectRef("raw-bucket", "videos/a b_é.mp4")
    assert batch_invocation(event) == BatchInvocation("2.0", "aW52b2NhdGlvbg==", (BatchTask("t1", ref),))


@given(st.none() | st.dictionaries(st.sampled_from(["tasks", "invocationId", "x"]), st.text() | st.lists(st.text())))
def test_what_is_no_invocation_by_batch_operations_is_refused(event: object) -> None:
    """Anything else is EventInvalid, in one line."""
    with pytest.raises(EventInvalid):
        batch_invocation(event)


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        None,
        "",
        b"\xff",
        "{",
        {"Records": "x"},
        {"Records": [1]},
        {"Records": [{"eventSource": "aws:kinesis"}]},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {}, "object": {}}}]},
        {"source": "aws.s3", "detail-type": "Object Created"},
        {"video": "yellow_box_1.mp4"},
        "[" * 100_000,
    ],
)
def test_an_unknown_shape_is_one_clear_line(event: object) -> None:
    """What nobody knows is refused with one short line, whatever it holds."""
    with pytest.raises(EventInvalid) as caught:
        parse(event)
    assert "unknown shape" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


def test_a_bad_message_fails_alone() -> None:
    """In a batch of queue messages the unknown one is a fault of that message only."""
    first, second, third = messages(sqs(S3_EVENT, "nonsense", BRIDGE_EVENT))
    assert (first.id, first.refs, first.fault) == ("message-0", (REF,), None)
    assert (second.id, second.refs) == ("message-1", ())
    assert isinstance(second.fault, EventInvalid)
    assert (third.id, third.refs) == ("message-2", (REF,))


def test_a_key_that_is_not_utf8_is_refused() -> None:
    """A broken percent sequence is a bad event, not a wrong key."""
    with pytest.raises(EventInvalid, match="not URL-encoded"):
        decode_key("videos/%ff.mp4")


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_keys_survive_the_notification(key: str) -> None:
    """Any key comes back as it was from the event made for it, with slashes left readable."""
    ref = ObjectRef("bucket", key, "v", "e", 1, "00AA")
    assert parse(json.dumps(s3_notification(ref, datetime(2026, 11, 22, tzinfo=UTC)))) == [ref]
    assert encode_key(key).count("/") == key.count("/")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_SHAPES = ["Records", "eventSource", "s3", "body", "Message", "detail", "source", "aws:s3", "aws:sqs", "aws:sns", "Sns"]


@given(_JSON | st.dictionaries(st.sampled_from(_SHAPES), _JSON | st.sampled_from(_SHAPES)))
def test_no_document_does_more_than_be_refused(document: object) -> None:
    """Any JSON at all gives messages, each with references or a fault; nothing else is raised."""
    for message in messages(document):
        assert message.fault is None or not message.refs
