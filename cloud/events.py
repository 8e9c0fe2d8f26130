"""What woke us: notifications of every route, read into :class:`ObjectRef`.

Known are S3 notifications (direct, through SQS, through SNS, through SNS and SQS), and EventBridge's "Object Created"
(direct or through SQS). Events come at least once and in any order, so a reference is a hint: the store is asked.
Keys are decoded here and nowhere else: S3 notifications carry them URL-encoded with ``+`` for a blank, EventBridge raw.
``eventVersion`` is not compared: AWS adds fields under a new minor version at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote_plus, unquote_plus

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import EventInvalid
from edge_agent.segment import format_moment

CREATED = "ObjectCreated:"
_MAX_WRAPPING = 4  # EventBridge or S3 in SNS in SQS is two; more is no route AWS offers


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object an event names, with what the event says of its version; None where it does not say."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    sequencer: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What is acknowledged as one: an SQS message (with its id), or a whole direct event (without).

    Either ``fault`` is None, or ``refs`` is empty.
    """

    id: str | None
    refs: tuple[ObjectRef, ...] = ()
    fault: EventInvalid | None = None


class _Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=False)


_M = TypeVar("_M", bound=_Outside)


class _Bucket(_Outside):
    name: str = Field(min_length=1)


class _S3Object(_Outside):
    key: str = Field(min_length=1)
    size: int | None = None
    etag: str | None = Field(default=None, alias="eTag")
    version_id: str | None = Field(default=None, alias="versionId")
    sequencer: str | None = None


class _S3Entity(_Outside):
    bucket: _Bucket
    object: _S3Object


class _S3Record(_Outside):
    name: str = Field(alias="eventName")
    s3: _S3Entity


class _BridgeObject(_Outside):
    key: str = Field(min_length=1)
    size: int | None = None
    etag: str | None = None
    version_id: str | None = Field(default=None, alias="version-id")
    sequencer: str | None = None


class _BridgeDetail(_Outside):
    bucket: _Bucket
    object: _BridgeObject


class _SqsRecord(_Outside):
    message_id: str = Field(alias="messageId", min_length=1)
    body: str


class _SnsEnvelope(_Outside):
    message: str = Field(alias="Message")


class _SnsRecord(_Outside):
    sns: _SnsEnvelope = Field(alias="Sns")


def messages(event: object) -> list[Message]:
    """*event* by unit of acknowledgement: one per SQS message, else exactly one. Never raises EventInvalid itself."""
    records = event.get("Records") if isinstance(event, Mapping) else None
    if isinstance(records, list) and records and all(_source(record) == "aws:sqs" for record in records):
        return [_sqs_message(record) for record in records]
    try:
        return [Message(None, tuple(parse(event)))]
    except EventInvalid as error:
        return [Message(None, fault=error)]


def parse(event: object) -> list[ObjectRef]:
    """The created objects that *event* (JSON text, bytes or document) names. Raises EventInvalid."""
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
        raise _unknown("is wrapped too many times")
    if document.get("Event") == "s3:TestEvent":
        return []
    if document.get("source") == "aws.s3" and "detail-type" in document:
        return _bridge(document)
    if document.get("Type") == "Notification" and "Message" in document:
        return _parse(document["Message"], depth - 1)
    records = document.get("Records")
    if not isinstance(records, list):
        raise _unknown(f"has the keys {', '.join(sorted(map(str, document)))[:120] or 'of an empty object'}")
    return [ref for record in records for ref in _record(record, depth)]


def _record(record: object, depth: int) -> list[ObjectRef]:
    source = _source(record)
    if source == "aws:sqs":
        return _parse(_validated(_SqsRecord, record).body, depth - 1)
    if source == "aws:sns":
        return _parse(_validated(_SnsRecord, record).sns.message, depth - 1)
    if not source.endswith(":s3"):  # S3-compatible servers say minio:s3 and the like
        raise _unknown(f"has a record of {source[:60] or 'no event source'}")
    notice = _validated(_S3Record, record)
    if not notice.name.removeprefix("s3:").startswith(CREATED):
        return []
    return [_ref(notice.s3.bucket, notice.s3.object, decode_key(notice.s3.object.key))]


def _bridge(document: Mapping[str, Any]) -> list[ObjectRef]:
    if document["detail-type"] != "Object Created":
        return []
    detail = _validated(_BridgeDetail, document.get("detail"))
    return [_ref(detail.bucket, detail.object, detail.object.key)]


def _ref(bucket: _Bucket, found: _S3Object | _BridgeObject, key: str) -> ObjectRef:
    etag = found.etag.strip('"') if found.etag else None
    return ObjectRef(bucket.name, key, found.version_id or None, etag, found.size, found.sequencer)


def _sqs_message(record: object) -> Message:
    try:
        message = _validated(_SqsRecord, record)
    except EventInvalid as error:
        known = record.get("messageId") if isinstance(record, Mapping) else None
        return Message(str(known or ""), fault=error)
    try:
        return Message(message.message_id, tuple(parse(message.body)))
    except EventInvalid as error:
        return Message(message.message_id, fault=error)


def _source(record: object) -> str:
    if not isinstance(record, Mapping):
        return ""
    return str(record.get("eventSource") or record.get("EventSource") or "")


def _document(event: object) -> Mapping[str, Any]:
    if isinstance(event, bytes | bytearray | str):
        try:
            event = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise _unknown("is no JSON") from error
    if not isinstance(event, Mapping):
        raise _unknown(f"is a {type(event).__name__}, not an object")
    return event


def _validated(model: type[_M], value: object) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "record"
        raise _unknown(f"has a bad {path} ({first['msg']})") from error


def _unknown(why: str) -> EventInvalid:
    return EventInvalid(
        f"event is of an unknown shape: it {why}",
        fix="send S3 notifications, directly or through SQS, SNS or EventBridge",
    )
