"""The request that starts a labelling job: complete, by the service's own model, and nothing where it must not be."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.labeling import instructions, job
from cloud.labeling.cost import Estimate, amount, limited, of_amount, service_cost
from cloud.labeling.job import JobSettings
from cloud.labeling.request import plan
from cloud.labeling.tasks import FACTS, FUNCTION_ACCOUNTS, Task, algorithm, post_function, pre_function
from edge_agent.errors import ConfigInvalid, NameInvalid
from tests.support.ground_truth import faults, model

EXAMPLE = Path(__file__).parents[2] / "config/labelling.yaml"
TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/team"
PUBLIC = {"team": "public", "per_object": 3, "price": "0.036", "free_of": ["personal-information", "adult-content"]}
GUIDE = instructions.Guide("<p>short</p>", "<p>full</p>", ())


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "task": "bounding-box",
        "attribute": "bb",
        "categories": ["box", "bag"],
        "title": "Draw boxes",
        "description": "Draw boxes around boxes.",
        "instructions": {"short": "Draw.", "full": "Draw well."},
        "workers": {"team": TEAM},
        "role": "arn:aws:iam::123456789012:role/labelling",
    }
    return {**base, **changes}


def settings(**changes: Any) -> JobSettings:
    return JobSettings.model_validate(document(**changes))


def request_of(chosen: JobSettings) -> dict[str, Any]:
    return plan("job-1", chosen, GUIDE, "s3://data/in.manifest", "data", "us-east-1", ("box",)).request


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("workers", [{"team": TEAM}, PUBLIC], ids=["private", "public"])
def test_every_task_makes_a_request_the_service_takes(task: Task, workers: dict[str, Any]) -> None:
    """Each task, for the public and for a team, passes every rule of the service's own model."""
    chained = {"labels": "former"} if FACTS[task].chained else {}
    made = request_of(settings(task=task.value, workers=workers, **chained))
    assert faults(made) == []
    public = workers["team"] == "public"
    assert ("PublicWorkforceTaskPrice" in made["HumanTaskConfig"]) is public
    assert ("DataAttributes" in made["InputConfig"]) is public
    assert "LabelingJobAlgorithmsConfig" not in made
    assert made["HumanTaskConfig"]["PreHumanTaskLambdaArn"].endswith(f"PRE-{FACTS[task].function}")


def test_everything_that_can_be_set_arrives_in_the_request() -> None:
    """Keys, tags, stopping conditions, encryption, times and auto-labelling stand where the service looks for them."""
    workers = {**PUBLIC, "time_limit": 60, "lifetime": 3600, "at_once": 50}
    made = request_of(
        settings(
            workers=workers,
            keywords=["boxes"],
            kms_key="1234abcd-12ab",
            tags={"project": "x y"},
            stop={"objects": 10, "percent": 50},
            auto_label=True,
        )
    )
    assert faults(made) == []
    assert made["StoppingConditions"] == {"MaxHumanLabeledObjectCount": 10, "MaxPercentageOfInputDatasetLabeled": 50}
    assert made["OutputConfig"] == {"S3OutputPath": "s3://data/datasets/job-1/labels/", "KmsKeyId": "1234abcd-12ab"}
    assert made["Tags"] == [{"Key": "project", "Value": "x y"}]
    human = made["HumanTaskConfig"]
    assert human["PublicWorkforceTaskPrice"]["AmountInUsd"] == {"Dollars": 0, "Cents": 3, "TenthFractionsOfACent": 6}
    assert (human["TaskTimeLimitInSeconds"], human["TaskAvailabilityLifetimeInSeconds"]) == (60, 3600)
    assert human["MaxConcurrentTaskCount"] == 50
    assert made["LabelingJobAlgorithmsConfig"]["LabelingJobAlgorithmSpecificationArn"] == algorithm(
        Task.BOUNDING_BOX, "us-east-1"
    )
    assert made["InputConfig"]["DataAttributes"]["ContentClassifiers"] == [
        "FreeOfPersonallyIdentifiableInformation",
        "FreeOfAdultContent",
    ]


def test_every_function_is_one_the_service_documents() -> None:
    """Each function's ARN, of each task and region, stands in the documentation of the service's own model."""
    human: Any = model().shape_for("HumanTaskConfig")
    consolidation: Any = model().shape_for("AnnotationConsolidationConfig")
    before = human.members["PreHumanTaskLambdaArn"].documentation
    after = consolidation.members["AnnotationConsolidationLambdaArn"].documentation
    documented = set(re.findall(r"arn:aws:lambda:[^<\s]+", before + after))
    for region in FUNCTION_ACCOUNTS:
        for task in Task:
            assert {pre_function(task, region), post_function(task, region)} <= documented
    assert {arn.split(":")[3] for arn in documented} == set(FUNCTION_ACCOUNTS)
    with pytest.raises(ConfigInvalid, match="not in 'mars-1'"):
        pre_function(Task.BOUNDING_BOX, "mars-1")


def test_every_price_is_one_the_service_documents() -> None:
    """The prices a public worker may be offered are those of the service's own model, for boxes and for classes."""
    text = model().shape_for("PublicWorkforceTaskPrice").documentation
    boxes, classes = text.split("Use one of the following prices")[1:3]
    for task, part in ((Task.BOUNDING_BOX, boxes), (Task.CLASSIFICATION, classes)):
        assert list(FACTS[task].prices) == [Decimal(found) for found in re.findall(r"\d\.\d{3}", part)]


def test_the_commented_example_is_whole() -> None:
    """config/labelling.yaml loads, and with every commented line taken in names no unknown setting."""
    chosen = job.load(EXAMPLE)
    assert faults(request_of(chosen)) == []
    names = set(re.findall(r"^# ?([a-z_]+):", EXAMPLE.read_text(), re.MULTILINE))
    assert names <= set(JobSettings.model_fields)
    assert set(JobSettings.model_fields) <= names | chosen.model_fields_set


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"attribute": "bb-metadata"}, "attribute: must not end in '-metadata'"),
        ({"attribute": "bb-ref"}, "attribute: must not end in '-ref'"),
        ({"attribute": "$bb"}, "attribute: letters"),
        ({"task": "classification", "categories": ["one"]}, "at least 2"),
        ({"categories": ["a", "a"]}, "has 'a' twice"),
        ({"categories": [f"c{n}" for n in range(51)]}, "categories"),
        ({"categories": ["x" * 257]}, "at most 256"),
        ({"workers": {"team": TEAM, "price": "0.036"}}, "'team: public' alone"),
        ({"workers": {"team": TEAM, "free_of": ["adult-content"]}}, "'team: public' alone"),
        ({"workers": {"team": "public", "price": "0.036"}}, "free_of"),
        ({"workers": {**PUBLIC, "price": "0.012"}}, "'workers.price' of bounding-box is one of 0.036"),
        ({"workers": {**PUBLIC, "lifetime": 50_000}}, "43,200"),
        ({"workers": {"team": TEAM, "time_limit": 600, "lifetime": 300}}, "'lifetime' is from"),
        ({"workers": {"team": "nobody"}}, "workers.team"),
        ({"labels": "former"}, "'labels' goes with"),
        ({"task": "adjustment", "labels": "bb"}, "must differ"),
        ({"task": "multi-label", "auto_label": True}, "'auto_label' is not there"),
        ({"region": "eu-north-1"}, "'region' is one of"),
        ({"tags": {"aws:x": "y"}}, "'tags' has"),
        ({"colour": "red"}, "colour: unknown setting"),
    ],
)
def test_what_the_service_would_refuse_is_refused_before(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """Each wrong setting is told in one line with its path, and no job is made of it."""
    file = tmp_path / "labelling.yaml"
    file.write_text(json.dumps(document(**changes)))  # JSON is YAML
    with pytest.raises(ConfigInvalid) as caught:
        job.load(file)
    assert told in str(caught.value)
    assert all(line.startswith(str(file)) for line in str(caught.value).splitlines())


def test_a_team_of_another_region_and_a_bad_name_are_refused() -> None:
    """A team must be of the job's region, and a name one that the service takes."""
    with pytest.raises(ConfigInvalid, match=r"workers\.team: is not of eu-west-1"):
        plan("job", settings(), GUIDE, "s3://b/m", "b", "eu-west-1")
    with pytest.raises(NameInvalid):
        plan("no_underscore", settings(), GUIDE, "s3://b/m", "b", "us-east-1")


def test_an_estimate_names_every_factor() -> None:
    """Objects, workers and prices, tier by tier, with the source of the prices; a price of one's own wins."""
    estimate = Estimate(60_000, 3, Decimal("0.036"))
    assert (estimate.service, estimate.work) == (Decimal("4400.00"), Decimal("6480.000"))
    told = "\n".join(estimate.lines())
    assert "60,000 objects × 3 workers at 0.036 USD = 6,480.00 USD" in told
    assert "https://aws.amazon.com/sagemaker/groundtruth/pricing" in told
    assert "estimate: 10,880.00 USD" in told
    own = Estimate(100, 1, service_price=Decimal("0.5"))
    assert own.total == 50
    assert "0.5 USD, as set" in "\n".join(own.lines())


def test_stopping_conditions_limit_the_estimate() -> None:
    """Whichever condition comes first counts, a percentage rounded up."""
    assert [limited(101, None, None), limited(101, 40, None), limited(101, 90, 50)] == [101, 40, 51]


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000))
def test_more_objects_never_cost_less(one: int, more: int) -> None:
    """The price by tiers rises with the number, and is between the cheapest and the dearest tier."""
    assert service_cost(one) <= service_cost(one + more)
    assert one * Decimal("0.02") <= service_cost(one) <= one * Decimal("0.08")


@pytest.mark.parametrize("price", sorted({price for facts in FACTS.values() for price in facts.prices}))
def test_amounts_survive_the_services_three_parts(price: Decimal) -> None:
    """Dollars, cents and tenths of a cent add up to the price again."""
    assert of_amount(amount(price)) == price
