"""What woke us: notifications of every route, read into :class:`ObjectRef`.

Known are S3 notifications (direct, through SQS, through SNS, through SNS and SQS), EventBridge's "Object Created" and
"Object Deleted" (direct or through SQS), and the tasks of S3 Batch Operations. Events come at least once and in any
order, so a reference is a hint: the store is asked. Keys are decoded here and nowhere else: S3 notifications carry them
URL-encoded with ``+`` for a blank, EventBridge raw.
``eventVersion`` is not compared: AWS adds fields under a new minor version at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from cloud.event_shapes import (
    BridgeDetail,
    BridgeObject,
    Bucket,
    Invocation,
    S3Object,
    S3Record,
    SnsRecord,
    SqsRecord,
    unknown,
    validated,
)
from edge_agent.errors import EventInvalid
from edge_agent.segment import format_moment

CREATED = "ObjectCreated:"
REMOVED = "ObjectRemoved:"
_BRIDGE_CREATED, _BRIDGE_DELETED = "Object Created", "Object Deleted"
_MAX_WRAPPING = 4  # EventBridge or S3 in SNS in SQS is two; more is no route AWS offers


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object an event names, with what the event says of its version; None where it does not say.

    ``removed``: the event says that somebody deleted it.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    sequencer: str | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What is acknowledged as one: an SQS message (with its id), or a whole direct event (without).

    Either ``fault`` is None, or ``refs`` is empty.
    """

    id: str | None
    refs: tuple[ObjectRef, ...] = ()
    fault: EventInvalid | None = None


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One object an S3 Batch Operations job asks for, under the id it wants to hear about it."""

    id: str
    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class BatchInvocation:
    """What S3 Batch Operations asks for at once; ``schema`` and ``id`` go back to it unchanged."""

    schema: str
    id: str
    tasks: tuple[BatchTask, ...]


def messages(event: object) -> list[Message]:
    """*event* by unit of acknowledgement: one per SQS message, else exactly one. Never raises EventInvalid itself."""
    if isinstance(event, Mapping) and is_queue_batch(event):
        return [sqs_message(record) for record in event["Records"]]
    try:
        return [Message(None, tuple(parse(event)))]
    except EventInvalid as error:
        return [Message(None, fault=error)]


def is_queue_batch(event: Mapping[str, Any]) -> bool:
    """Whether *event* is a batch of SQS messages, as Lambda hands them over."""
    records = event.get("Records")
    return isinstance(records, list) and bool(records) and all(_source(record) == "aws:sqs" for record in records)


def sqs_message(record: object) -> Message:
    """The message in *record* of a queue batch. Never raises EventInvalid itself."""
    try:
        message = validated(SqsRecord, record)
    except EventInvalid as error:
        known = record.get("messageId") if isinstance(record, Mapping) else None
        return Message(str(known or ""), fault=error)
    return queue_message(message.message_id, message.body)


def queue_message(identifier: str, body: str) -> Message:
    """The message *identifier* with *body*, as SQS itself hands it over. Never raises EventInvalid itself."""
    try:
        return Message(identifier, tuple(parse(body)))
    except EventInvalid as error:
        return Message(identifier, fault=error)


def batch_invocation(event: object) -> BatchInvocation:
    """What S3 Batch Operations asks for in *event* (schema 1.0 or 2.0). Raises EventInvalid."""
    invocation = validated(Invocation, event)
    tasks = []
    for task in invocation.tasks:
        bucket = task.bucket or (task.bucket_arn or "").rpartition(":")[2]
        if not bucket:
            raise unknown("has a task without a bucket")
        # Keys are URL-encoded here too ("Invoke AWS Lambda function", S3 user guide); no version is "" or null.
        tasks.append(BatchTask(task.id, ObjectRef(bucket, decode_key(task.key), task.version_id or None)))
    return BatchInvocation(invocation.schema_version, invocation.id, tuple(tasks))


def parse(event: object) -> list[ObjectRef]:
    """The objects created or removed that *event* (JSON text, bytes or document) names. Raises EventInvalid.

    What a lifecycle rule let expire is not removed: frames and lines are meant to outlive their video.
    """
    return _parse(event, _MAX_WRAPPING)


def decode_key(encoded: str) -> str:
    """The key that an S3 notification spells *encoded*. Raises EventInvalid."""
    try:
        return unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise EventInvalid(f"key {ascii(encoded)[:120]} is not URL-encoded UTF-8") from error


def encode_key(key: str) -> str:
    """The inverse of :func:`decode_key`, as S3 spells it: slashes stay."""
    return quote_plus(key, safe="/*")


def s3_notification(ref: ObjectRef, moment: datetime, region: str = "us-east-1") -> dict[str, Any]:
    """The event S3 would send for *ref* created at *moment*, as far as S3 documents its structure (version 2.1)."""
    found = {"key": encode_key(ref.key), "size": ref.size, "eTag": ref.etag, "versionId": ref.version_id}
    found["sequencer"] = ref.sequencer
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": format_moment(moment),
        "eventName": CREATED + "Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "edge-cloud-watch",
            "bucket": {"name": ref.bucket, "arn": f"arn:aws:s3:::{ref.bucket}"},
            "object": {name: value for name, value in found.items() if value is not None},
        },
    }
    return {"Records": [record]}


def _parse(event: object, depth: int) -> list[ObjectRef]:
    document = _document(event)
    if depth == 0:
        raise unknown("is wrapped too many times")
    if document.get("Event") == "s3:TestEvent":
        return []
    if document.get("source") == "aws.s3" and "detail-type" in document:
        return _bridge(document)
    if document.get("Type") == "Notification" and "Message" in document:
        return _parse(document["Message"], depth - 1)
    records = document.get("Records")
    if not isinstance(records, list):
        raise unknown(f"has the keys {', '.join(sorted(map(str, document)))[:120] or 'of an empty object'}")
    return [ref for record in records for ref in _record(record, depth)]


def _record(record: object, depth: int) -> list[ObjectRef]:
    source = _source(record)
    if source == "aws:sqs":
        return _parse(validated(SqsRecord, record).body, depth - 1)
    if source == "aws:sns":
        return _parse(validated(SnsRecord, record).sns.message, depth - 1)
    if not source.endswith(":s3"):  # S3-compatible servers say minio:s3 and the like
        raise unknown(f"has a record of {source[:60] or 'no event source'}")
    notice = validated(S3Record, record)
    name = notice.name.removeprefix("s3:")
    if not name.startswith((CREATED, REMOVED)):
        return []
    found = notice.s3.object
    return [_ref(notice.s3.bucket, found, decode_key(found.key), removed=name.startswith(REMOVED))]


def _bridge(document: Mapping[str, Any]) -> list[ObjectRef]:
    kind = document["detail-type"]
    if kind not in (_BRIDGE_CREATED, _BRIDGE_DELETED):
        return []
    detail = validated(BridgeDetail, document.get("detail"))
    if kind == _BRIDGE_DELETED and detail.reason != "DeleteObject":  # the other one is "Lifecycle Expiration"
        return []
    return [_ref(detail.bucket, detail.object, detail.object.key, removed=kind == _BRIDGE_DELETED)]


def _ref(bucket: Bucket, found: S3Object | BridgeObject, key: str, *, removed: bool) -> ObjectRef:
    etag = found.etag.strip('"') if found.etag else None
    return ObjectRef(bucket.name, key, found.version_id or None, etag, found.size, found.sequencer, removed)


def _source(record: object) -> str:
    if not isinstance(record, Mapping):
        return ""
    return str(record.get("eventSource") or record.get("EventSource") or "")


def _document(event: object) -> Mapping[str, Any]:
    if isinstance(event, bytes | bytearray | str):
        try:
            event = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise unknown("is no JSON") from error
    if not isinstance(event, Mapping):
        raise unknown(f"is a {type(event).__name__}, not an object")
    return event
