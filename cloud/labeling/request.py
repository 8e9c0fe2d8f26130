"""The request that starts a labelling job, and the files it names. Pure: the same settings make the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.labeling.cost import amount
from cloud.labeling.instructions import Guide
from cloud.labeling.job import JobSettings, Stop, Workers, check_name
from cloud.labeling.tasks import FACTS, algorithm, post_function, pre_function, public_team
from cloud.labeling.template import Page, build, categories_file
from edge_agent.errors import ConfigInvalid

DATASETS = "datasets/"
_CLASSIFIERS = {
    "personal-information": "FreeOfPersonallyIdentifiableInformation",
    "adult-content": "FreeOfAdultContent",
}
# As the developer guide's own example requests have them, for each task.
_KEYWORDS = {"crowd-bounding-box": ("Bounding Box", "Object Detection"), "": ("Image Classification",)}


@dataclass(frozen=True, slots=True)
class File:
    """What is stored beside the job, under a key that changes with its bytes; a path is read when it is stored."""

    key: str
    body: bytes | Path
    content_type: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that starts a job: files to store in ``bucket`` (its name) first, then ``request``, to ``region``."""

    bucket: str
    region: str
    files: tuple[File, ...]
    request: dict[str, Any]


def plan(
    name: str, settings: JobSettings, guide: Guide, manifest: str, bucket: str, region: str, classes: Sequence[str] = ()
) -> Plan:
    """The job *name* over the ``s3://`` manifest; *classes* are those of a former job's labels.

    Raises ConfigInvalid, NameInvalid.
    """
    check_name(name)
    workers, role = settings.workers, settings.role
    if workers is None or role is None:
        missing = "workers" if workers is None else "role"
        raise ConfigInvalid(
            f"{missing}: is missing", fix="say who labels, and as which role the service reads and writes"
        )
    if not workers.is_public and f":{region}:" not in workers.team:
        raise ConfigInvalid(f"workers.team: is not of {region}", fix="team, job, data and manifest are in one region")
    stored = [File(_key(name, example.name), example.body, example.content_type) for example in guide.examples]
    page = Page(settings.task, header_of(settings), guide, settings.labels, classes)
    template = build(page, lambda picture: f"s3://{bucket}/{_key(name, picture)}").encode()
    template_file = _hashed(name, "template", ".liquid.html", template, "text/html; charset=utf-8")
    categories = categories_file(settings.categories)
    categories_of = _hashed(name, "categories", ".json", categories, "application/json")
    request = {
        "LabelingJobName": name,
        "LabelAttributeName": settings.attribute,
        "InputConfig": _input(manifest, workers),
        "OutputConfig": {"S3OutputPath": f"s3://{bucket}/{DATASETS}{name}/labels/", **_kms(settings)},
        "RoleArn": role,
        "LabelCategoryConfigS3Uri": f"s3://{bucket}/{categories_of.key}",
        "HumanTaskConfig": _human_task(settings, workers, region, f"s3://{bucket}/{template_file.key}"),
        **_stop(settings.stop),
        **_auto(settings, region),
        **({"Tags": [{"Key": key, "Value": value} for key, value in settings.tags.items()]} if settings.tags else {}),
    }
    return Plan(bucket, region, (*stored, template_file, categories_of), request)


def manifest_file(name: str, path: Path) -> File:
    """Where the local manifest *path* is stored for the job *name*."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(_key(name, f"input-{digest[:12]}.manifest"), path, "application/x-ndjson")


def header_of(settings: JobSettings) -> str:
    """What stands above the picture."""
    return settings.header or settings.title


def _human_task(settings: JobSettings, workers: Workers, region: str, template: str) -> dict[str, Any]:
    facts = FACTS[settings.task]
    task: dict[str, Any] = {
        "WorkteamArn": public_team(region) if workers.is_public else workers.team,
        "UiConfig": {"UiTemplateS3Uri": template},
        "PreHumanTaskLambdaArn": pre_function(settings.task, region),
        "TaskKeywords": list(settings.keywords or _KEYWORDS.get(facts.element, _KEYWORDS[""])),
        "TaskTitle": settings.title,
        "TaskDescription": settings.description,
        "NumberOfHumanWorkersPerDataObject": workers.per_object,
        "TaskTimeLimitInSeconds": workers.time_limit,
        "TaskAvailabilityLifetimeInSeconds": workers.lifetime,
        "MaxConcurrentTaskCount": workers.at_once,
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": post_function(settings.task, region)},
    }
    if workers.price is not None:
        task["PublicWorkforceTaskPrice"] = {"AmountInUsd": amount(workers.price)}
    return task


def _input(manifest: str, workers: Workers) -> dict[str, Any]:
    source: dict[str, Any] = {"DataSource": {"S3DataSource": {"ManifestS3Uri": manifest}}}
    if workers.free_of:
        source["DataAttributes"] = {"ContentClassifiers": [_CLASSIFIERS[each] for each in workers.free_of]}
    return source


def _kms(settings: JobSettings) -> dict[str, Any]:
    return {"KmsKeyId": settings.kms_key} if settings.kms_key is not None else {}


def _stop(stop: Stop) -> dict[str, Any]:
    limits = {"MaxHumanLabeledObjectCount": stop.objects, "MaxPercentageOfInputDatasetLabeled": stop.percent}
    given = {name: value for name, value in limits.items() if value is not None}
    return {"StoppingConditions": given} if given else {}


def _auto(settings: JobSettings, region: str) -> dict[str, Any]:
    if not settings.auto_label:
        return {}
    return {"LabelingJobAlgorithmsConfig": {"LabelingJobAlgorithmSpecificationArn": algorithm(settings.task, region)}}


def _key(name: str, file: str) -> str:
    return f"{DATASETS}{name}/job/{file}"


def _hashed(name: str, what: str, suffix: str, body: bytes, content_type: str) -> File:
    return File(_key(name, f"{what}-{hashlib.sha256(body).hexdigest()[:12]}{suffix}"), body, content_type)
