"""The labelling service behind boto3: what it is asked, what it answers, and what it says when it will not."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from cloud.labeling.cost import usd
from cloud.labeling.job_service import CLOSED, Job, LabelingService
from cloud.labeling.status import as_json, rows, spent, wait
from edge_agent.errors import (
    ConfigInvalid,
    CredentialsRefused,
    EdgeCaptureError,
    ObjectExists,
    ObjectNotFound,
    StoreThrottled,
    StoreUnreachable,
)
from tests.support.clock import FakeClock
from tests.unit.test_label_request import PUBLIC, request_of, settings

ARN = "arn:aws:sagemaker:us-east-1:123456789012:labeling-job/job-1"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def client(aws_environment: None) -> Any:
    return boto3.client("sagemaker", region_name="us-east-1")


def described(**changes: Any) -> dict[str, Any]:
    """A reply of DescribeLabelingJob, as the service's model has it."""
    sent = request_of(settings(workers=PUBLIC))
    return {
        **sent,
        "LabelingJobArn": ARN,
        "LabelingJobStatus": "InProgress",
        "LabelCounters": {
            "TotalLabeled": 300,
            "HumanLabeled": 200,
            "MachineLabeled": 100,
            "FailedNonRetryableError": 2,
            "Unlabeled": 331,
        },
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "JobReferenceCode": "abc",
        **changes,
    }


def test_a_job_is_created_as_planned(client: Any) -> None:
    """The request goes out as it was planned, and the job's ARN comes back."""
    request = request_of(settings())
    with Stubber(client) as stub:
        stub.add_response("create_labeling_job", {"LabelingJobArn": ARN}, request)
        assert LabelingService(client=client).create(request) == ARN
        stub.assert_no_pending_responses()


def test_progress_is_counted_and_paid(client: Any) -> None:
    """Counts, what a public work force and the service have cost, and where the output comes to stand."""
    with Stubber(client) as stub:
        stub.add_response("describe_labeling_job", described(), {"LabelingJobName": "job-1"})
        job = LabelingService(client=client).describe("job-1")
    assert (job.labelled, job.by_people, job.failed, job.unlabelled, job.objects) == (300, 200, 2, 331, 633)
    assert job.output_manifest == "s3://data/datasets/job-1/labels/job-1/manifests/output/output.manifest"
    assert spent(job) == 300 * Decimal("0.08") + 200 * 3 * Decimal("0.036")
    assert usd(spent(job)) == "45.60 USD"
    assert next(rows([job])) == ("job-1", "InProgress", "300 (47 %)", "2", "331", "45.60 USD")
    assert as_json(job)["spent"] == 45.6


@pytest.mark.parametrize(
    ("code", "message", "kind", "told"),
    [
        ("ThrottlingException", "Rate exceeded", StoreThrottled, "Rate exceeded"),
        ("AccessDeniedException", "is not authorized to perform", CredentialsRefused, "sagemaker:CreateLabelingJob"),
        ("AccessDeniedException", "is not authorized to perform", CredentialsRefused, CLOSED),
        ("ValidationException", "is no longer open to new customers", CredentialsRefused, CLOSED),
        ("ValidationException", "RoleArn: no such role", ConfigInvalid, "RoleArn: no such role"),
        ("ResourceInUse", "taken", ObjectExists, "the name is taken"),
        ("ValidationException", "labeling job job-1 already exists", ObjectExists, "choose another"),
        ("ResourceLimitExceeded", "over your quota of 20 jobs", ConfigInvalid, "wait for a job to end"),
        ("ExpiredTokenException", "expired", CredentialsRefused, "check the credentials"),
        ("InternalFailure", "oops", EdgeCaptureError, "oops"),
    ],
)
def test_each_refusal_is_one_line_that_says_what_to_do(
    client: Any, code: str, message: str, kind: type[EdgeCaptureError], told: str
) -> None:
    """Whatever the service answers becomes an error of ours with the job's name."""
    request = request_of(settings())
    status = 403 if "Denied" in code or "Expired" in code else 400
    with Stubber(client) as stub:
        stub.add_client_error("create_labeling_job", code, message, status, expected_params=request)
        with pytest.raises(kind) as caught:
            LabelingService(client=client).create(request)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "job-1" in str(caught.value)


@pytest.mark.parametrize("code", ["ResourceNotFound", "ValidationException"])
def test_a_job_that_is_not_there_is_said_to_be_so(client: Any, code: str) -> None:
    """Both ways in which the service says that it knows no such job are told alike."""
    with Stubber(client) as stub:
        stub.add_client_error("describe_labeling_job", code, "Requested resource not found.", 400)
        with pytest.raises(ObjectNotFound, match="labelling job nobody: no such job"):
            LabelingService(client=client).describe("nobody")


def test_no_credentials_and_no_link_are_told(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    """Without credentials, and without a network, the error says which of the two it is."""
    for error, kind in ((NoCredentialsError(), CredentialsRefused), (_unreachable(), StoreUnreachable)):

        def fails(error: Exception = error, **_: Any) -> None:
            raise error

        monkeypatch.setattr(client, "describe_labeling_job", fails)
        with pytest.raises(kind):
            LabelingService(client=client).describe("job-1")


def _unreachable() -> Exception:
    return EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-1.amazonaws.com")


def test_without_a_region_nothing_is_asked(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither settings nor AWS configuration name a region, the error names the option."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigInvalid, match="--region"):
        _ = LabelingService().region


def test_waiting_ends_when_every_job_has(client: Any) -> None:
    """Each look asks only for jobs that still run; a service that is away is waited out, ever longer."""
    clock, looks = FakeClock(), list[list[str]]()
    plan: dict[str, list[str | Exception]] = {
        "a": ["InProgress", "Completed"],
        "b": ["Initializing", "InProgress", StoreUnreachable("away"), StoreThrottled("slow"), "Stopped"],
    }

    def describe(name: str) -> Job:
        answer = plan[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Job(name, ARN, answer, "bb", "s3://b/m", "s3://b/o")

    jobs = wait(["a", "b"], describe, clock, threading.Event(), lambda jobs: looks.append([job.status for job in jobs]))
    assert [job.status for job in jobs] == ["Completed", "Stopped"]
    assert looks == [["InProgress", "Initializing"], ["Completed", "InProgress"], ["Completed", "Stopped"]]
    assert clock.monotonic() == 60 + 60 + 120 + 240
    assert plan == {"a": [], "b": []}
