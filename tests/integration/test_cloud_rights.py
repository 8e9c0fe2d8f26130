"""The rights the template gives: what the code does is allowed by them, and whatever they allow, the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from cloud.engine import EventHandler
from cloud.events import ObjectRef, s3_notification
from cloud.queue import Queue
from cloud.settings import StoreSettings, load
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeCaptureError
from edge_agent.store.s3 import S3Store
from tests.support.deployed import Deployed
from tests.support.moto_server import moto_server
from tests.support.template import Template

# What each request needs: "Required permissions for Amazon S3 API operations" in the S3 user guide. To be told that an
# object is not there, which decides what is done next, takes the right to list its bucket; moto does not ask for it.
ACTIONS = {
    "ListObjectsV2": ["s3:ListBucket"],
    "HeadObject": ["s3:GetObject", "s3:ListBucket"],
    "GetObject": ["s3:GetObject", "s3:ListBucket"],
    "PutObject": ["s3:PutObject"],
    "DeleteObject": ["s3:DeleteObject"],
}


@dataclass
class Watched:
    """An engine whose stores write down every request in ``asked``: action and ARN."""

    stack: Deployed
    closing: ExitStack
    asked: set[tuple[str, str]] = field(default_factory=set)

    def handle(self, name: str, every: int = 100, *, removed: bool = False) -> list[str]:
        """Process or remove the video *name* under a sampling of *every*; the outcomes, or the error's code."""
        settings = load(environ={**self.stack.environment, "EDGE_CLOUD_SAMPLING__EVERY": str(every)})
        assert settings.raw is not None
        event = s3_notification(ObjectRef(settings.raw.url.removeprefix("s3://"), name), SystemClock().now())
        if removed:
            event["Records"][0]["eventName"] = "ObjectRemoved:DeleteMarkerCreated"
        try:
            found = EventHandler(settings, opener=self._open).handle(event)
        except EdgeCaptureError as error:
            return [error.code]
        return [video["outcome"] for video in found["videos"]]

    def _open(self, settings: StoreSettings) -> S3Store:
        store = settings.open()
        assert isinstance(store, S3Store)
        self.closing.callback(store.close)
        store.client.meta.events.register("before-parameter-build.s3", self._note)
        return store

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        for action in ACTIONS[model.name]:
            path = "" if action == "s3:ListBucket" else f"/{params['Key']}"
            self.asked.add((action, f"arn:aws:s3:::{params['Bucket']}{path}"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of this module's own: it refuses what no policy allows."""
    with moto_server() as url:
        yield url


@pytest.fixture
def watched(server: str, aws_environment: None, monkeypatch: pytest.MonkeyPatch, black_cup: Path) -> Iterator[Watched]:
    """The stack, with three videos landed, seen by an engine that has the role's keys alone."""
    with ExitStack() as closing:
        stack = Deployed(server, Template())
        bucket = stack.template.resource("RawBucket")["BucketName"]
        s3 = stack.client("s3")
        s3.put_object(Bucket=bucket, Key="videos/black_cup_1.mp4", Body=black_cup.read_bytes())
        s3.put_object(Bucket=bucket, Key="videos/black_cup_2.mp4", Body=b"no video" * 999)
        s3.put_object(Bucket=bucket, Key="other/black_cup_3.mp4", Body=black_cup.read_bytes())
        keys = closing.enter_context(stack.as_role(["ProcessPolicy"]))
        for name, value in {**keys, "AWS_ENDPOINT_URL": stack.url}.items():
            monkeypatch.setenv(name, value)
        yield Watched(stack, closing)


@contextmanager
def owner(watched: Watched) -> Iterator[Any]:
    """An S3 client of the account's owner; within the block the server enforces nothing."""
    watched.stack.enforce("inf")
    yield watched.stack.client("s3")
    watched.stack.enforce("0")


def allows(statement: dict[str, Any], action: str, arn: str) -> bool:
    return action in statement["Action"] and any(fnmatchcase(arn, pattern) for pattern in statement["Resource"])


def test_processing_needs_every_right_of_its_policy_and_no_other(watched: Watched) -> None:
    """New, with other settings, unreadable, mended, deleted, gone: all go through under the role, and need it all."""
    assert watched.handle("videos/black_cup_1.mp4", every=50) == ["processed"]
    assert watched.handle("videos/black_cup_1.mp4", every=100) == ["processed"]
    parked = watched.handle("videos/black_cup_2.mp4")
    with owner(watched) as s3:
        bucket = watched.stack.template.resource("RawBucket")["BucketName"]
        good = s3.get_object(Bucket=bucket, Key="videos/black_cup_1.mp4")["Body"].read()
        s3.put_object(Bucket=bucket, Key="videos/black_cup_2.mp4", Body=good + b"\0")
    assert watched.handle("videos/black_cup_2.mp4") == ["processed"] != parked
    with owner(watched) as s3:
        s3.delete_object(Bucket=bucket, Key="videos/black_cup_1.mp4")
    assert watched.handle("videos/black_cup_1.mp4", removed=True) == ["removed"]
    assert watched.handle("videos/black_cup_9.mp4") == ["ObjectNotFound"]
    statements = watched.stack.template.statements("ProcessPolicy")
    beyond = {ask for ask in watched.asked if not any(allows(statement, *ask) for statement in statements)}
    assert beyond == set()
    granted = {(action, arn) for one in statements for action in one["Action"] for arn in one["Resource"]}
    unused = {
        (action, pattern)
        for action, pattern in granted
        if not any(action == asked and fnmatchcase(arn, pattern) for asked, arn in watched.asked)
    }
    assert unused == set()


def test_what_is_outside_of_videos_is_out_of_reach(watched: Watched) -> None:
    """Under the role, a store of the raw bucket cannot read what does not lie under videos/, nor write anything."""
    settings = load(environ=watched.stack.environment)
    assert settings.raw is not None
    raw = settings.raw.open()
    assert isinstance(raw, S3Store)
    watched.closing.callback(raw.close)
    for forbidden in (lambda: raw.get("other/black_cup_3.mp4"), lambda: raw.put("videos/black_cup_4.mp4", b"x")):
        with pytest.raises(EdgeCaptureError) as caught:
            forbidden()
        assert caught.value.code == "CredentialsRefused"


def test_taking_messages_needs_every_right_of_the_queues_policy(server: str, aws_environment: None) -> None:
    """A worker receives, holds and deletes; that the attributes are read is Lambda's own wish, for its pollers."""
    stack = Deployed(server, Template())
    queue = Queue(stack.queue)
    asked: set[str] = set()
    queue.client.meta.events.register("before-parameter-build.sqs", lambda model, **_: asked.add(f"sqs:{model.name}"))
    letter = queue.receive(0, 30)  # the bucket's own message that it was set up
    assert letter is not None
    queue.hide(letter, 30)
    queue.delete(letter)
    queue.close()
    (statement,) = stack.template.statements("QueuePolicy")
    assert set(statement["Action"]) == asked | {"sqs:GetQueueAttributes"}


def test_policies_of_boxes_are_those_of_the_files() -> None:
    """Made by the stack or by hand, boxes get the same rights: the template says what the files in config/ say."""
    template = Template()
    config = Path(__file__).parents[2] / "config"
    role = template.resource("DeviceRole")
    text = (config / "device-role-policy.json").read_text()
    bucket = template.resource("RawBucket")["BucketName"]
    assert role["Policies"][0]["PolicyDocument"] == json.loads(text.replace("RAW-BUCKET", bucket))
    assert role["AssumeRolePolicyDocument"] == json.loads((config / "device-role-trust.json").read_text())
    text = (config / "iot-policy.json").read_text().replace("REGION:ACCOUNT", "us-east-1:123456789012")
    alias = template.resource("DeviceRoleAlias")["RoleAlias"]
    assert template.resource("DevicePolicy")["PolicyDocument"] == json.loads(text.replace("edge-uploads", alias))
    text = (config / "iot-control-policy.json").read_text().replace("REGION:ACCOUNT", "us-east-1:123456789012")
    assert template.resource("ControlPolicy")["PolicyDocument"] == json.loads(text)
