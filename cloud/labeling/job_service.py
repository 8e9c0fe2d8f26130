"""The labelling service, SageMaker Ground Truth, through boto3; its errors are errors of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import edge_agent
from cloud.labeling.cost import of_amount
from edge_agent.errors import (
    ConfigInvalid,
    CredentialsRefused,
    EdgeCaptureError,
    ObjectExists,
    ObjectNotFound,
    StoreError,
)
from edge_agent.store.s3_errors import clean, code_of, translated

ENDED = frozenset({"Completed", "Failed", "Stopped"})
CLOSED = "AWS takes no new Ground Truth customers since 2026-07-30; label with --to label-studio or --to cvat instead"
_CREATE_RIGHTS = "let your role do sagemaker:CreateLabelingJob, and iam:PassRole on the job's role"
_RIGHTS = "let your role do sagemaker:DescribeLabelingJob"
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


@dataclass(frozen=True, slots=True)
class Job:
    """A labelling job, as the service tells of it. ``output`` is the URI of its output manifest, once it is told.

    Counts are objects. ``price`` is what a public worker gets for one, US dollars; 0 for a private team.
    """

    name: str
    arn: str
    status: str
    attribute: str
    manifest: str
    output_path: str
    output: str | None = None
    labelled: int = 0
    by_people: int = 0
    failed: int = 0
    unlabelled: int = 0
    failure: str = ""
    workers: int = 1
    price: Decimal = Decimal(0)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def objects(self) -> int:
        return self.labelled + self.failed + self.unlabelled

    @property
    def output_manifest(self) -> str:
        """Where the output stands, or comes to stand: a job that failed or was stopped does not tell."""
        if self.output is not None:
            return self.output
        return f"{self.output_path.rstrip('/')}/{self.name}/manifests/output/output.manifest"


class LabelingService:
    """The service in *region* (that of the AWS configuration when None). *client*: boto3's, made when not given.

    Nothing is contacted yet. Methods raise CredentialsRefused, StoreUnreachable, StoreThrottled and ConfigInvalid.
    """

    def __init__(self, region: str | None = None, client: Any = None) -> None:
        self._region = region
        self._client = client

    @property
    def client(self) -> Any:
        if self._client is None:
            with _translated("labelling service"):
                self._client = _connect(self.region)
        return self._client

    @property
    def region(self) -> str:
        """Raises ConfigInvalid when nothing says it."""
        if self._client is not None:
            return str(self._client.meta.region_name)
        if self._region is None:
            import boto3

            with _translated("AWS configuration"):
                self._region = boto3.session.Session().region_name
        if self._region is None:
            raise ConfigInvalid("region: is missing", fix="give --region, or 'region' in the settings")
        return self._region

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def create(self, request: Mapping[str, Any]) -> str:
        """Start the job; its ARN. Raises ObjectExists when the name is taken."""
        where = f"labelling job {request['LabelingJobName']}"
        with _translated(where, _CREATE_RIGHTS):
            return str(self.client.create_labeling_job(**request)["LabelingJobArn"])

    def describe(self, name: str) -> Job:
        """The job *name*. Raises ObjectNotFound."""
        with _translated(f"labelling job {name}", _RIGHTS):
            return job_of(self.client.describe_labeling_job(LabelingJobName=name))


def job_of(reply: Mapping[str, Any]) -> Job:
    """The reply of DescribeLabelingJob. Pure; what a reply may lack has a default."""
    counters = reply.get("LabelCounters", {})
    human = reply.get("HumanTaskConfig", {})
    amount = human.get("PublicWorkforceTaskPrice", {}).get("AmountInUsd", {})
    return Job(
        name=reply["LabelingJobName"],
        arn=reply["LabelingJobArn"],
        status=reply["LabelingJobStatus"],
        attribute=reply.get("LabelAttributeName", ""),
        manifest=reply.get("InputConfig", {}).get("DataSource", {}).get("S3DataSource", {}).get("ManifestS3Uri", ""),
        output_path=reply.get("OutputConfig", {}).get("S3OutputPath", ""),
        output=reply.get("LabelingJobOutput", {}).get("OutputDatasetS3Uri") or None,
        labelled=counters.get("TotalLabeled", 0),
        by_people=counters.get("HumanLabeled", 0),
        failed=counters.get("FailedNonRetryableError", 0),
        unlabelled=counters.get("Unlabeled", 0),
        failure=clean(reply.get("FailureReason", "")),
        workers=human.get("NumberOfHumanWorkersPerDataObject", 1),
        price=of_amount(amount),
    )


def _connect(region: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        user_agent_extra=f"edge-capture/{edge_agent.__version__}",
    )
    return boto3.session.Session().client("sagemaker", region_name=region, config=config)


@contextmanager
def _translated(where: str, rights: str = "") -> Iterator[None]:
    """What the service says, as errors of ours. It tells a name that is taken, or unknown, by code or in words."""
    try:
        with translated(where):
            yield
    except (StoreError, ConfigInvalid) as error:
        raise _meaning(error, where, rights) from error


def _meaning(error: StoreError | ConfigInvalid, where: str, rights: str) -> EdgeCaptureError:
    """*error*, said better where the service's code or words tell more. Refusals come as status 400, too. Pure."""
    code, said = code_of(error.__cause__), error.what.lower()
    if "new customer" in said or "not available to your account" in said:
        return CredentialsRefused(error.what, where=where, fix=CLOSED)
    if code in _DENIED:
        return CredentialsRefused(error.what, where=where, fix=f"{rights}; if it may: {CLOSED}")
    for codes, words, kind, what, fix in _SAID:
        if code in codes or any(word in said for word in words):
            return kind(what or error.what, where=where, fix=fix)
    return error


# Codes, or words in the message, and the error they mean; the first that fits.
_SAID: tuple[tuple[tuple[str, ...], tuple[str, ...], type[EdgeCaptureError], str, str], ...] = (
    (("ResourceInUse",), ("already exists",), ObjectExists, "the name is taken", "choose another: none is used again"),
    (
        ("ResourceNotFound",),
        ("requested resource not found",),
        ObjectNotFound,
        "no such job",
        "check name and --region",
    ),
    (("ResourceLimitExceeded",), (), ConfigInvalid, "", "wait for a job to end, or ask AWS for a higher quota"),
    (("ValidationException",), (), ConfigInvalid, "", "correct that setting"),
)
