"""A bucket whose videos are announced in a queue, and real worker processes on that queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from edge_agent.store.s3 import S3Store
from tests.support.agent import ROOT

DERIVED = ("frames/", "previews/", "index/", "manifests/")


@dataclass(frozen=True, slots=True)
class Queued:
    """A bucket, the queue S3 tells of it, that queue's dead letters, and the server all of them are at."""

    store: S3Store
    endpoint: str
    sqs: Any
    url: str
    dead: str

    def waiting(self, url: str = "") -> int:
        """Messages that anybody may take now."""
        return self._count("ApproximateNumberOfMessages", url)

    def held(self) -> int:
        """Messages that are there, whether anybody may take them now or somebody works on them."""
        return self._count("ApproximateNumberOfMessages", "", "ApproximateNumberOfMessagesNotVisible")

    @property
    def empty(self) -> bool:
        return self.held() == 0

    def derived(self) -> dict[str, bytes]:
        """Everything made of the videos, to the byte."""
        keys = [info.key for prefix in DERIVED for info in self.store.list(prefix)]
        return {key: self.store.get(key).body for key in keys}

    def forget(self) -> None:
        """Delete everything made of the videos."""
        for key in self.derived():
            self.store.delete(key)

    @contextmanager
    def worker(self, log: Path, *arguments: str, every: int = 20) -> Iterator[subprocess.Popen[bytes]]:
        """``edge-cloud worker`` while the block lasts; its log lines are appended to *log*."""
        bucket = f"s3://{self.store.name}"
        command = [sys.executable, "-m", "cloud.cli", "worker", "--queue", self.url, "--raw", bucket]
        command += ["--dataset", bucket, "--endpoint-url", self.endpoint, "--every", str(every), *arguments]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_CLOUD_")}
        with log.open("ab") as file, subprocess.Popen(command, cwd=ROOT, env=environ, stderr=file) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(60)
                    except subprocess.TimeoutExpired:
                        process.kill()

    def _count(self, name: str, url: str, *more: str) -> int:
        """In one question: a message that comes back between two would be in neither answer."""
        names = [name, *more]
        found = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)
        return sum(int(found["Attributes"][each]) for each in names)


def logged(log: Path) -> list[str]:
    """The events in a worker's log, in order."""
    return [json.loads(line)["event"] for line in log.read_text().splitlines() if line.endswith("}")]


def make_queue(store: S3Store, endpoint: str, receives: int = 50, bridge: bool = False) -> Queued:
    """Announce the videos of *store* in a new queue, by S3's notification or through EventBridge."""
    sqs: Any = boto3.client("sqs", region_name="us-east-1", endpoint_url=endpoint)
    dead = sqs.create_queue(QueueName=f"dead-{uuid.uuid4().hex}")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": _arn(sqs, dead), "maxReceiveCount": receives})
    name = f"videos-{uuid.uuid4().hex}"
    # Long: a worker says itself for how long a message is hidden.
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "5400"}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    made = Queued(store, endpoint, sqs, url, dead)
    if bridge:
        _through_event_bridge(made)
    else:
        rule: Any = {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "videos/"}]}}}
        rule |= {"QueueArn": _arn(sqs, url), "Events": ["s3:ObjectCreated:*"]}
        store.client.put_bucket_notification_configuration(
            Bucket=store.name, NotificationConfiguration={"QueueConfigurations": [rule]}
        )
        sqs.purge_queue(QueueUrl=url)  # of the test event that S3 sends first
    return made


def _through_event_bridge(made: Queued) -> None:
    events: Any = boto3.client("events", region_name="us-east-1", endpoint_url=made.endpoint)
    detail = {"bucket": {"name": [made.store.name]}}
    pattern = json.dumps({"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail})
    rule = f"videos-{uuid.uuid4().hex}"
    events.put_rule(Name=rule, EventPattern=pattern)
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": _arn(made.sqs, made.url)}])
    made.store.client.put_bucket_notification_configuration(
        Bucket=made.store.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


def _arn(sqs: Any, url: str) -> str:
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
