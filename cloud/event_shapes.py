"""What notifications look like from outside, as far as it is read; the rest of them is nobody's business."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import EventInvalid


class Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=False)


class Bucket(Outside):
    name: str = Field(min_length=1)


class S3Object(Outside):
    key: str = Field(min_length=1)
    size: int | None = None
    etag: str | None = Field(default=None, alias="eTag")
    version_id: str | None = Field(default=None, alias="versionId")
    sequencer: str | None = None


class S3Entity(Outside):
    bucket: Bucket
    object: S3Object


class S3Record(Outside):
    name: str = Field(alias="eventName")
    s3: S3Entity


class BridgeObject(Outside):
    key: str = Field(min_length=1)
    size: int | None = None
    etag: str | None = None
    version_id: str | None = Field(default=None, alias="version-id")
    sequencer: str | None = None


class BridgeDetail(Outside):
    bucket: Bucket
    object: BridgeObject
    reason: str | None = None


class SqsAttributes(Outside):
    receives: int = Field(default=1, alias="ApproximateReceiveCount", ge=1)


class SqsRecord(Outside):
    message_id: str = Field(alias="messageId", min_length=1)
    body: str
    receipt: str = Field(default="", alias="receiptHandle")
    queue: str = Field(default="", alias="eventSourceARN")
    attributes: SqsAttributes = SqsAttributes()


class Task(Outside):
    id: str = Field(alias="taskId", min_length=1)
    key: str = Field(alias="s3Key", min_length=1)
    version_id: str | None = Field(default=None, alias="s3VersionId")
    bucket: str | None = Field(default=None, alias="s3Bucket")
    bucket_arn: str | None = Field(default=None, alias="s3BucketArn")


class Invocation(Outside):
    schema_version: str = Field(alias="invocationSchemaVersion")
    id: str = Field(alias="invocationId", min_length=1)
    tasks: tuple[Task, ...]


class SnsEnvelope(Outside):
    message: str = Field(alias="Message")


class SnsRecord(Outside):
    sns: SnsEnvelope = Field(alias="Sns")


_M = TypeVar("_M", bound=Outside)


def validated(model: type[_M], value: object) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "record"
        raise unknown(f"has a bad {path} ({first['msg']})") from error


def unknown(why: str) -> EventInvalid:
    return EventInvalid(
        f"event is of an unknown shape: it {why}",
        fix="send S3 notifications, directly or through SQS, SNS or EventBridge",
    )
