"""The policies that ship: they permit what the agent does, and nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge_agent.control.mqtt import presence_topic
from edge_agent.control.remote import shadow_topic
from edge_agent.control.shadow_session import ShadowSession
from edge_agent.control.teller import events_topic, telemetry_topic
from edge_agent.spool import Spool
from edge_agent.store.s3 import S3Store
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.rows import State
from tests.support.clock import FakeClock
from tests.support.forwarding import forwarding
from tests.support.http_server import Answer, Request
from tests.support.template import listed
from tests.support.upload import Rig, fresh_spool, publish

IOT_POLICY_LENGTH = 2048  # AWS IoT Core quotas: policy document size
CONFIG = Path(__file__).parents[2] / "config"
DEVICE_ACTIONS = {"s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}


def statement(name: str) -> dict[str, Any]:
    """The only statement of the policy *name*."""
    document = json.loads((CONFIG / name).read_text())
    assert document["Version"] == "2012-10-17"
    (only,) = document["Statement"]
    assert only["Effect"] == "Allow"
    found: dict[str, Any] = only
    return found


def test_the_device_role_may_do_four_things_below_its_own_thing_alone() -> None:
    """No listing of the bucket, no deleting, no other device's footage."""
    found = statement("device-role-policy.json")
    assert set(found) == {"Effect", "Action", "Resource"}
    assert set(found["Action"]) == DEVICE_ACTIONS
    assert found["Resource"].endswith("/videos/${credentials-iot:ThingName}/*")


def test_a_certificate_may_only_take_the_role_alias() -> None:
    """The policy of the certificate permits the exchange for one role alias, and the role trusts only that service."""
    found = statement("iot-policy.json")
    assert found["Action"] == "iot:AssumeRoleWithCertificate"
    assert found["Resource"].endswith(":rolealias/edge-uploads")
    trust = statement("device-role-trust.json")
    assert trust["Principal"] == {"Service": "credentials.iot.amazonaws.com"}
    assert trust["Action"] == "sts:AssumeRole"


def test_control_may_use_just_the_topics_it_uses() -> None:
    """One client id, one thing's topics: exactly those the agent publishes and subscribes to, none with a wildcard."""
    thing = "${iot:Connection.Thing.ThingName}"
    document = json.loads((CONFIG / "iot-control-policy.json").read_text())
    allowed: dict[str, list[str]] = {}
    for one in document["Statement"]:
        for action in listed(one["Action"]):
            allowed.setdefault(action, []).extend(listed(one["Resource"]))
    arn = "arn:aws:iot:REGION:ACCOUNT:"
    told = [telemetry_topic(thing), events_topic(thing), presence_topic(thing)]
    told += [shadow_topic(thing, end) for end in ("get", "update")]
    heard = [shadow_topic(thing, end) for end in ShadowSession.ENDS]
    assert {action: sorted(resources) for action, resources in allowed.items()} == {
        "iot:Connect": [f"{arn}client/{thing}"],
        "iot:Publish": sorted(f"{arn}topic/{it}" for it in told),
        "iot:RetainPublish": [f"{arn}topic/{presence_topic(thing)}"],
        "iot:Subscribe": sorted(f"{arn}topicfilter/{it}" for it in heard),
        "iot:Receive": sorted(f"{arn}topic/{it}" for it in heard),
    }


@pytest.mark.parametrize("name", ["iot-policy.json", "iot-control-policy.json"])
def test_policies_of_certificates_are_short_enough_in_every_region(name: str) -> None:
    """AWS IoT takes 2048 characters without white space, also where the region's name is long."""
    text = json.dumps(json.loads((CONFIG / name).read_text()), separators=(",", ":"))
    assert len(text.replace("REGION", "ap-southeast-1").replace("ACCOUNT", "123456789012")) <= IOT_POLICY_LENGTH


def as_s3_would(store: S3Store) -> Callable[[Request], Answer | None]:
    """S3 to one who holds just the four rights: nothing is listed, and what is not there is forbidden."""

    def door(request: Request) -> Answer | None:
        path, _, query = request.path.partition("?")
        key = path.removeprefix(f"/{store.name}").lstrip("/")
        parameters = {part.partition("=")[0] for part in query.split("&") if part}
        denied = Answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        if not key.startswith("videos/dock7/") or (request.method == "DELETE" and "uploadId" not in parameters):
            return denied
        if request.method in ("HEAD", "GET") and "uploadId" not in parameters:
            return None if key in {info.key for info in store.list()} else denied
        return None

    return door


@pytest.fixture
def permitted(s3_store: S3Store, moto_endpoint: str) -> Iterator[S3Store]:
    """The bucket of ``s3_store`` as a device's role sees it."""
    with ExitStack() as stack:
        url = stack.enter_context(forwarding(moto_endpoint, as_s3_would(s3_store)))
        store = S3Store(s3_store.name, endpoint_url=url, region="us-east-1")
        stack.callback(store.close)
        yield store


@pytest.mark.parametrize("size", [1000, 22 << 20])
def test_the_four_rights_are_enough_also_after_a_lost_ledger(
    tmp_path: Path, s3_store: S3Store, permitted: S3Store, size: int
) -> None:
    """Small and large segments arrive; with the ledger gone the store is asked first, and what is missing is sent."""
    spool: Spool = fresh_spool(tmp_path / "spool")
    publish(spool, 0, bytes(size))
    with Rig(spool, permitted, FakeClock()) as rig:
        rig.run_until_empty()
    for path in spool.root.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    for path in spool.uploaded.iterdir():
        path.rename(spool.ready / path.name)
    publish(spool, 1, uuid.uuid4().bytes * (size // 16))
    with Rig(spool, permitted, FakeClock(limit=300)) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 2
    assert len(list(s3_store.list())) == 2
