"""What workers can be asked, and what the labelling service calls it: its functions by region, its rules and prices.

Source of the functions' ARNs: the service's own model, ``HumanTaskConfig.PreHumanTaskLambdaArn`` and
``AnnotationConsolidationConfig.AnnotationConsolidationLambdaArn``, as botocore 1.44 ships it; a test compares each.
Source of the prices a public worker may be offered: ``PublicWorkforceTaskPrice``, in the same place.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from edge_agent.errors import ConfigInvalid

FUNCTION_ACCOUNTS = {
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
    "ca-central-1": "918755190332",
    "eu-central-1": "203001061592",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
}
"""Whose account holds the service's functions, in each region where the service is."""

_PUBLIC_ACCOUNT = "394669845002"  # developer guide, "Using the Amazon Mechanical Turk Workforce"
_ALGORITHM_ACCOUNT = "027400017018"  # LabelingJobAlgorithmsConfig.LabelingJobAlgorithmSpecificationArn

_DEAR = ("0.036", "0.048", "0.060", "0.072", "0.120", "0.240", "0.360", "0.480", "0.600", "0.720", "0.840", "0.960")
_BOX_PRICES = tuple(map(Decimal, (*_DEAR, "1.080", "1.200")))
_CLASS_PRICES = (Decimal("0.012"), Decimal("0.024"), *_BOX_PRICES)


class Task(enum.StrEnum):
    """What workers do with a picture. The last two look at what a former job drew."""

    BOUNDING_BOX = "bounding-box"
    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    VERIFICATION = "verification"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """``function`` ends the names of the service's functions, ``element`` is the Crowd HTML element, ``name`` its name.

    ``min_categories``: CreateLabelingJob, ``LabelCategoryConfigS3Uri``. ``algorithm`` labels by itself, where there is
    one. ``prices`` are US dollars a public worker may be offered for one object.
    """

    function: str
    element: str
    name: str
    min_categories: int
    prices: tuple[Decimal, ...]
    algorithm: str | None = None
    chained: bool = False


FACTS = {
    Task.BOUNDING_BOX: TaskFacts(
        "BoundingBox", "crowd-bounding-box", "boundingBox", 1, _BOX_PRICES, "object-detection"
    ),
    Task.CLASSIFICATION: TaskFacts(
        "ImageMultiClass",
        "crowd-image-classifier",
        "crowd-image-classifier",
        2,
        _CLASS_PRICES,
        "image-classification",
    ),
    Task.MULTI_LABEL: TaskFacts(
        "ImageMultiClassMultiLabel",
        "crowd-image-classifier-multi-select",
        "crowd-image-classifier-multi-select",
        2,
        _CLASS_PRICES,
    ),
    Task.VERIFICATION: TaskFacts(
        "VerificationBoundingBox",
        "crowd-image-classifier",
        "crowd-image-classifier",
        1,
        _CLASS_PRICES,
        chained=True,
    ),
    Task.ADJUSTMENT: TaskFacts(
        "AdjustmentBoundingBox", "crowd-bounding-box", "boundingBox", 1, _BOX_PRICES, chained=True
    ),
}


def pre_function(task: Task, region: str) -> str:
    """The ARN of the function that makes a worker's task of a manifest line. Raises ConfigInvalid."""
    return _function(f"PRE-{FACTS[task].function}", region)


def post_function(task: Task, region: str) -> str:
    """The ARN of the function that makes one label of several workers' answers. Raises ConfigInvalid."""
    return _function(f"ACS-{FACTS[task].function}", region)


def public_team(region: str) -> str:
    """The ARN of the public work force, in *region*."""
    return f"arn:aws:sagemaker:{region}:{_PUBLIC_ACCOUNT}:workteam/public-crowd/default"


def is_public_team(arn: str) -> bool:
    return f":{_PUBLIC_ACCOUNT}:workteam/public-crowd/" in arn


def algorithm(task: Task, region: str) -> str:
    """The ARN of what labels by itself. Raises ConfigInvalid where there is nothing of the kind."""
    name = FACTS[task].algorithm
    if name is None:
        raise ConfigInvalid(f"auto_label: is not there for {task}", fix="leave it out")
    return f"arn:aws:sagemaker:{region}:{_ALGORITHM_ACCOUNT}:labeling-job-algorithm-specification/{name}"


def _function(name: str, region: str) -> str:
    if region not in FUNCTION_ACCOUNTS:
        known = ", ".join(FUNCTION_ACCOUNTS)
        raise ConfigInvalid(f"region: the labelling service is not in {region!r}", fix=f"use one of {known}")
    return f"arn:aws:lambda:{region}:{FUNCTION_ACCOUNTS[region]}:function:{name}"
