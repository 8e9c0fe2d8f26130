"""The AWS template, the image, the code and docs/deploy.md say the same."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.backfill import job_request
from cloud.dataset import layout
from cloud.engine import VIDEOS
from cloud.settings import PREFIX, Settings, load
from edge_agent.segment import DEFAULT_FIELDS
from tests.support.template import Template, listed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/deploy.md"
LAMBDA_SECONDS = 900  # AWS Lambda quotas: the longest timeout


@pytest.fixture(scope="module")
def template() -> Template:
    return Template()


def policies(template: Template) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The statements of every policy in the template, whatever it hangs on, but for who may take a role."""
    for name, found in template.document["Resources"].items():
        properties = template.resource(name)
        inline = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        own = [properties["PolicyDocument"]] if found["Type"].endswith("Policy") else []
        for document in inline + own:
            yield name, document["Statement"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, in order, each as one line."""
    text = (ROOT / "cloud/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_functions_environment_is_settings(template: Template) -> None:
    """Every variable is a setting of ours; what they make is valid, and differs in nothing from the defaults."""
    assert all(name.startswith(PREFIX) for name in template.variables)
    settings = load(environ=template.variables)
    assert settings.raw is not None
    assert settings.raw.url == f"s3://{template.resource('RawBucket')['BucketName']}"
    assert settings.dataset.url == f"s3://{template.resource('DatasetBucket')['BucketName']}"
    assert settings.fingerprint == Settings(dataset=settings.dataset).fingerprint
    assert settings.fields == DEFAULT_FIELDS


def test_the_handlers_named_are_there(template: Template) -> None:
    """What the image starts by itself, and what the template starts in its stead, can be imported and called."""
    (command,) = [rest for word, rest in instructions() if word == "CMD"]
    named = [re.fullmatch(r'\["([\w.]+)"\]', command)]
    named += [re.fullmatch(r"([\w.]+)", template.resource("BackfillFunction")["ImageConfig"]["Command"][0])]
    for match in named:
        assert match is not None
        module, _, function = match[1].rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))


def test_prefixes_are_those_of_the_code(template: Template) -> None:
    """S3 tells of what lands where the engines look, and the role writes where the layout puts things."""
    for one in template.resource("RawBucket")["NotificationConfiguration"]["QueueConfigurations"]:
        assert one["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": VIDEOS}]
        assert one["Queue"].endswith(":edge-capture-videos")
    by_id = {one["Sid"]: one for one in template.statements("ProcessPolicy")}
    assert by_id["ReadVideos"]["Resource"] == [f"{arn(template, 'RawBucket')}/{VIDEOS}*"]
    written = {layout.FRAMES, layout.PREVIEWS, layout.INDEX, layout.FAILED, layout.MANIFESTS}
    assert set(by_id["WriteDataset"]["Resource"]) == {f"{arn(template, 'DatasetBucket')}/{one}*" for one in written}


def test_a_job_may_write_its_report_where_it_is_asked_to(template: Template) -> None:
    """The role for S3 Batch Operations lets it put reports under the prefix that edge-cloud asks for, nowhere else."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:backfill"
    report = job_request("raw", "videos/", function, "role", "dataset")["Report"]
    (policy,) = template.resource("BackfillRole")["Policies"]
    puts = [one for one in policy["PolicyDocument"]["Statement"] if one["Action"] == "s3:PutObject"]
    assert [one["Resource"] for one in puts] == [f"{arn(template, 'DatasetBucket')}/{report['Prefix']}/*"]


def test_no_message_is_taken_twice_while_it_is_worked_on(template: Template) -> None:
    """A message stays hidden six times the function's timeout, and is tried at least five times before it is dead."""
    function, queue = template.resource("ExtractFunction"), template.resource("VideoQueue")
    source = function["Events"]["Videos"]["Properties"]
    assert function["Timeout"] <= LAMBDA_SECONDS
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == arn(template, "DeadLetterQueue")
    dead = template.resource("DeadLetterQueue")
    assert dead["RedriveAllowPolicy"]["sourceQueueArns"] == [arn(template, "VideoQueue")]
    assert dead["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] == 1
    assert source["ScalingConfig"]["MaximumConcurrency"] == function["ReservedConcurrentExecutions"]


@pytest.mark.parametrize(("chosen", "enabled"), [("true", True), ("false", False)])
def test_workers_can_have_the_queue_for_themselves(chosen: str, enabled: bool) -> None:
    """With FunctionTakes=false the function leaves the queue alone."""
    function = Template({"FunctionTakes": chosen}).resource("ExtractFunction")
    assert function["Events"]["Videos"]["Properties"]["Enabled"] is enabled


def test_buckets_are_private_encrypted_and_versioned(template: Template) -> None:
    """Also: kept when the stack goes, read over TLS alone, and rid of uploads that nobody finished."""
    for name in template.of_type("AWS::S3::Bucket"):
        bucket, written = template.resource(name), template.document["Resources"][name]
        assert (written["DeletionPolicy"], written["UpdateReplacePolicy"]) == ("Retain", "Retain")
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
        assert refuses_plain_http(template, name, [arn(template, name), f"{arn(template, name)}/*"])


def test_videos_are_kept_unless_asked_otherwise() -> None:
    """No rule deletes videos by default; RawDays adds one for videos alone."""
    rules = Template().resource("RawBucket")["LifecycleConfiguration"]["Rules"]
    assert not any("ExpirationInDays" in rule for rule in rules)
    rules = Template({"RawDays": "90"}).resource("RawBucket")["LifecycleConfiguration"]["Rules"]
    ending = [(rule["Prefix"], rule["ExpirationInDays"]) for rule in rules if "ExpirationInDays" in rule]
    assert ending == [(VIDEOS, "90")]


def test_only_the_raw_bucket_of_this_account_may_fill_the_queue(template: Template) -> None:
    """S3 may send for that bucket alone, and the ARN its policy spells out is the bucket's own."""
    (allowed,) = [one for one in template.statements("VideoQueuePolicy") if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allowed["Action"] == ["sqs:SendMessage"]
    assert allowed["Condition"] == {
        "ArnEquals": {"aws:SourceArn": arn(template, "RawBucket")},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    for name in template.of_type("AWS::SQS::Queue"):
        assert template.resource(name)["SqsManagedSseEnabled"] is True
        assert refuses_plain_http(template, name, [arn(template, name)])


def test_nothing_is_allowed_by_a_wildcard(template: Template) -> None:
    """No statement allows a service's every action, or anything on every resource."""
    for name, statements in policies(template):
        for one in statements:
            if one["Effect"] == "Allow":
                assert not [action for action in listed(one["Action"]) if "*" in action], name
                assert "*" not in listed(one["Resource"]), name


def test_every_alarm_watches_something_and_tells_the_topic_if_there_is_one() -> None:
    """Queue age, dead letters and errors; without a topic they are only shown, with one it hears start and end."""
    topic = "arn:aws:sns:us-east-1:123456789012:people"
    silent, heard = Template(), Template({"AlarmTopic": topic})
    watched = {silent.resource(name)["MetricName"] for name in silent.of_type("AWS::CloudWatch::Alarm")}
    assert watched == {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "Errors"}
    for name in silent.of_type("AWS::CloudWatch::Alarm"):
        assert "AlarmActions" not in silent.resource(name)
        assert (heard.resource(name)["AlarmActions"], heard.resource(name)["OKActions"]) == ([topic], [topic])


def test_the_guide_names_every_parameter_and_output(template: Template) -> None:
    """docs/deploy.md has a row for each parameter, with its default, and for each output and alarm."""
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    for name, facts in template.document["Parameters"].items():
        (row,) = [row for row in rows if row.startswith(f"| `{name}` |")]
        assert row.split(" | ")[1] == ("none" if facts["Default"] == "" else str(facts["Default"]))
    for name in template.document["Outputs"]:
        assert any(row.startswith(f"| `{name}` |") for row in rows), name
    for name in template.of_type("AWS::CloudWatch::Alarm"):
        assert any(row.startswith(f"| `{template.resource(name)['AlarmName']}` |") for row in rows), name


def test_the_image_is_made_of_named_and_pinned_things_only() -> None:
    """A pinned base, packages by hash, files that exist and that the build may see, no secrets, not root."""
    found = instructions()
    assert [word for word, _ in found] == ["FROM", "COPY", "RUN", "COPY", "COPY", "USER", "CMD"]
    words = dict(found)
    assert re.fullmatch(r"public\.ecr\.aws/lambda/python:3\.\d+(@sha256:[0-9a-f]{64})?", words["FROM"])
    assert "--require-hashes" in words["RUN"]
    assert not re.search(r"curl|wget|https?://|secret|password|token", " ".join(rest for _, rest in found))
    assert not words["USER"].startswith(("0", "root"))
    seen = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {rest.split()[0] for word, rest in found if word == "COPY"}
    assert sources == seen == {"cloud", "edge_agent", "config/requirements-cloud.txt"}
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_has_every_package_by_hash() -> None:
    """The list the image installs from pins what the cloud side requires, each with hashes."""
    text = (ROOT / "config/requirements-cloud.txt").read_text()
    blocks = re.findall(r"^([a-z0-9-]+)==\S+.*?(?=^[a-z0-9-]+==|\Z)", text, re.MULTILINE | re.DOTALL)
    assert {"av", "aws-lambda-powertools", "boto3", "numpy", "opencv-python-headless", "pydantic"} <= set(blocks)
    assert text.count("--hash=sha256:") >= len(blocks)


def arn(template: Template, name: str) -> str:
    found: str = template.resolved({"Fn::GetAtt": [name, "Arn"]})
    return found


def refuses_plain_http(template: Template, name: str, resources: list[str]) -> bool:
    """Whether a policy denies everything on *resources* to whoever comes without TLS."""
    denied = {"Effect": "Deny", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    return any(
        listed(one["Resource"]) == resources and denied.items() <= one.items() and str(one["Action"]).endswith(":*")
        for _, statements in policies(template)
        for one in statements
    )
