"""A labelling service with state, behind a real HTTP server: it holds requests to the service's own model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from botocore.model import ServiceModel
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.support.http_server import Answer, Request, http_server


@cache
def model() -> ServiceModel:
    """The service's model, as boto3 ships it."""
    return get_session().get_service_model("sagemaker")


def faults(request: Mapping[str, Any]) -> list[str]:
    """What the service would say against a CreateLabelingJob *request*: types, members, ranges, patterns, names."""
    shape: Any = model().operation_model("CreateLabelingJob").input_shape
    report = ParamValidator().validate(request, shape)
    return ([report.generate_report()] if report.has_errors() else []) + list(_patterns(request, shape, ""))


def _patterns(value: Any, shape: Any, place: str) -> Iterator[str]:
    """What botocore leaves to the service: patterns, enumerations and upper bounds."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _patterns(member, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for member in value:
            yield from _patterns(member, shape.member, place)
    size = len(value) if isinstance(value, str | list) else value
    if isinstance(size, int) and size > shape.metadata.get("max", size):
        yield f"{place}: over {shape.metadata['max']}"
    if isinstance(value, str):
        pattern = shape.metadata.get("pattern", "").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
        if pattern and not re.fullmatch(pattern, value):
            yield f"{place}: {value!r} is not {pattern}"
        if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of {shape.enum}"


@dataclass
class GroundTruth:
    """Jobs by name. ``refuse`` answers a call instead, when it returns something; ``calls`` are their names."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: Callable[[str], tuple[str, str] | None] = lambda _: None

    def finish(self, name: str, output: str | None, status: str = "Completed", **counters: int) -> None:
        """Let the job *name* end; its output manifest stands at *output*."""
        self.jobs[name] |= {"LabelingJobStatus": status, "LabelCounters": counters}
        if output is not None:
            self.jobs[name]["LabelingJobOutput"] = {"OutputDatasetS3Uri": output}

    def answer(self, request: Request) -> Answer:
        call, body = request.headers["x-amz-target"].partition(".")[2], json.loads(request.body)
        self.calls.append(call)
        if refusal := self.refuse(call):
            return _error(*refusal)
        name = body["LabelingJobName"]
        if call == "CreateLabelingJob":
            return self._create(name, body)
        if name not in self.jobs:
            return _error("ValidationException", f"Requested resource not found: labeling job {name}")
        return Answer(200, json.dumps(self.jobs[name]).encode())

    def _create(self, name: str, body: dict[str, Any]) -> Answer:
        if found := faults(body):
            return _error("ValidationException", found[0])
        if name.lower() in (each.lower() for each in self.jobs):
            return _error("ResourceInUse", f"Labeling job {name} already exists")
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{name}"
        self.jobs[name] = {
            **body,
            "LabelingJobArn": arn,
            "LabelingJobStatus": "InProgress",
            "LabelCounters": {},
            "JobReferenceCode": "abc",
            "CreationTime": 1795000000,
            "LastModifiedTime": 1795000000,
        }
        return Answer(200, json.dumps({"LabelingJobArn": arn}).encode())


def _error(code: str, message: str) -> Answer:
    return Answer(400, json.dumps({"__type": code, "message": message}).encode())


@contextmanager
def ground_truth() -> Iterator[tuple[GroundTruth, str]]:
    """A service and its URL, for as long as the block lasts."""
    service = GroundTruth()
    with http_server(service.answer) as url:
        yield service, url


def labelled(source: str, attribute: str = "bb", label: str = "box", **fields: object) -> dict[str, object]:
    """A line of an output manifest with one box, as the service writes it."""
    return {
        "source-ref": source,
        **fields,
        attribute: {
            "annotations": [{"class_id": 0, "left": 10, "top": 20, "width": 30, "height": 40}],
            "image_size": [{"width": 640, "height": 480, "depth": 3}],
        },
        f"{attribute}-metadata": {
            "job-name": "labeling-job/job-1",
            "class-map": {"0": label},
            "human-annotated": "yes",
            "objects": [{"confidence": 0.0}],
            "creation-date": "2026-11-22T20:14:59.371954",
            "type": "groundtruth/object-detection",
        },
    }
