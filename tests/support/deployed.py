"""The template's buckets, queues and role on a moto server: what CloudFormation would make, as far as moto can act it.

moto's own CloudFormation drops bucket policies and notifications silently (5.2), so they are applied here, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3

from tests.support.template import REGION, Template, listed

_QUEUE_TEXTS = ("VisibilityTimeout", "MessageRetentionPeriod", "SqsManagedSseEnabled")
_QUEUE_DOCUMENTS = ("RedrivePolicy", "RedriveAllowPolicy")


class Deployed:
    """The stack *template* describes, new, on the server at *url*, which is emptied first."""

    def __init__(self, url: str, template: Template) -> None:
        self.url, self.template = url, template
        self._tell("reset", "")
        self.sqs = self.client("sqs")
        self.queue = self._make_queues()
        self._make_buckets()

    def client(self, service: str) -> Any:
        """A client of *service*, with the keys of the account's owner."""
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        session: Any = boto3.session.Session()
        return session.client(service, region_name=REGION, endpoint_url=self.url, **keys)

    @property
    def environment(self) -> dict[str, str]:
        """What the function's environment is, with the address of the server."""
        return {**self.template.variables, "AWS_ENDPOINT_URL": self.url}

    def work_off(self, handler: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
        """Hand every message that is in the queue now to *handler*, one a call; the handler's answers.

        As Lambda does with SQS: a message that is not named in ``batchItemFailures`` is deleted, others stay.
        """
        answers = []
        while found := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=1).get("Messages"):
            (message,) = found
            record = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"]}
            record |= {"body": message["Body"], "eventSource": "aws:sqs", "awsRegion": REGION}
            answers.append(handler({"Records": [record]}))
            if not answers[-1]["batchItemFailures"]:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return answers

    @contextmanager
    def as_role(self, policies: list[str]) -> Iterator[dict[str, str]]:
        """Keys (as environment variables) of a role that has *policies*, which the server enforces within the block.

        Within it the owner's keys are refused as well: what the owner does, it does before and after.
        """
        iam = self.client("iam")
        role = iam.create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]
        for name in policies:
            document = self.template.resource(name)["PolicyDocument"]
            iam.put_role_policy(RoleName="function", PolicyName=name, PolicyDocument=json.dumps(document))
        found = self.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="extract")["Credentials"]
        self.enforce("0")
        try:
            yield {
                "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
                "AWS_SESSION_TOKEN": found["SessionToken"],
            }
        finally:
            self.enforce("inf")

    def enforce(self, after: str) -> None:
        """Refuse what no policy allows, *after* so many more requests: ``0`` or ``inf``."""
        self._tell("reset-auth", after)

    def _tell(self, command: str, text: str) -> None:
        """Tell the server itself something, by moto's own interface."""
        request = Request(f"{self.url}/moto-api/{command}", text.encode(), {"Content-Type": "text/plain"})
        urlopen(request).close()

    def _make_queues(self) -> str:
        url = ""
        for name in ("DeadLetterQueue", "VideoQueue"):
            found = self.template.resource(name)
            attributes = {key: str(found[key]) for key in _QUEUE_TEXTS if key in found}
            attributes |= {key: json.dumps(found[key]) for key in _QUEUE_DOCUMENTS if key in found}
            url = self.sqs.create_queue(QueueName=found["QueueName"], Attributes=attributes)["QueueUrl"]
        return url

    def _make_buckets(self) -> None:
        s3 = self.client("s3")
        for name in ("RawBucket", "DatasetBucket"):
            found = self.template.resource(name)
            s3.create_bucket(Bucket=found["BucketName"])
            s3.put_bucket_versioning(Bucket=found["BucketName"], VersioningConfiguration={"Status": "Enabled"})
        raw = self.template.resource("RawBucket")
        s3.put_bucket_notification_configuration(
            Bucket=raw["BucketName"], NotificationConfiguration=notification(raw["NotificationConfiguration"])
        )


def notification(written: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation's notification configuration as S3's own API spells it."""
    return {
        "QueueConfigurations": [
            {
                "QueueArn": one["Queue"],
                "Events": listed(one["Event"]),
                "Filter": {"Key": {"FilterRules": one["Filter"]["S3Key"]["Rules"]}},
            }
            for one in written["QueueConfigurations"]
        ]
    }
