"""Settings of a labelling job: a YAML file, then the command line on top, checked as one whole.

The file is config/labelling.yaml, commented. Limits come from the service's model (CreateLabelingJob in botocore 1.44)
unless said otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from cloud.labeling.tasks import FACTS, FUNCTION_ACCOUNTS, Task
from cloud.settings import Count, Price
from cloud.words import quoted
from edge_agent.errors import ConfigInvalid, NameInvalid
from edge_agent.settings_file import read_mapping

MAX_CATEGORIES, MAX_CATEGORY = 50, 256  # the service's quotas for image tasks; characters of one category
MAX_NAME, MAX_ATTRIBUTE = 63, 127
PUBLIC_LIFETIME, PRIVATE_LIFETIME = 43_200, 2_592_000  # seconds: 12 hours, 30 days
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_TAG = re.compile(r"[\w\s.:/=+\-@]*")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Arn = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^arn:aws[a-z-]*:")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def check_attribute(name: str) -> str:
    """*name*, if labels may stand under it. Raises ValueError."""
    if not _NAME.fullmatch(name) or len(name) > MAX_ATTRIBUTE:
        raise ValueError(f"letters, digits and single hyphens between them, at most {MAX_ATTRIBUTE}")
    for ending, why in (("-metadata", "the service adds that itself"), ("-ref", "that is for labels that are files")):
        if name.endswith(ending):
            raise ValueError(f"must not end in '{ending}': {why}")
    return name


def check_name(name: str) -> str:
    """*name*, if a job can be called so. Raises NameInvalid."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise NameInvalid(
            f"{quoted(name)} is no name of a job", fix=f"use letters, digits and hyphens, at most {MAX_NAME}"
        )
    return name


def _category(value: str) -> str:
    if len(value) > MAX_CATEGORY:
        raise ValueError(f"a category has at most {MAX_CATEGORY} characters")
    return value


class Picture(_Model):
    """An example of what is right or wrong: a file beside the settings, and what there is to see."""

    picture: Text
    text: str = ""


class Instructions(_Model):
    """What workers read: Markdown, or the name of a ``.md`` file beside the settings. ``good`` and ``bad`` follow."""

    short: Text
    full: Text
    good: tuple[Picture, ...] = ()
    bad: tuple[Picture, ...] = ()


class Workers(_Model):
    """Who labels. ``team`` is ``public`` (Mechanical Turk) or the ARN of a private or vendor's team.

    ``price`` (US dollars an object and worker) and ``free_of`` go with the public one alone. Times are seconds.
    """

    team: Literal["public"] | Arn
    per_object: Count = Field(default=1, ge=1, le=9)
    price: Decimal | None = None
    free_of: tuple[Literal["personal-information", "adult-content"], ...] = ()
    time_limit: Count = Field(default=300, ge=30, le=28_800)
    lifetime: Count = Field(default=21_600, ge=60)
    at_once: Count = Field(default=1000, ge=1, le=5000)

    @property
    def is_public(self) -> bool:
        return self.team == "public"

    @model_validator(mode="after")
    def _consistent(self) -> Workers:
        if self.is_public and (self.price is None or "personal-information" not in self.free_of):
            raise ValueError("'public' needs a 'price', and 'free_of: [personal-information]', which you answer for")
        if not self.is_public and (self.price is not None or self.free_of):
            raise ValueError("'price' and 'free_of' go with 'team: public' alone; your own team is paid by you")
        longest = PUBLIC_LIFETIME if self.is_public else PRIVATE_LIFETIME
        if not self.time_limit <= self.lifetime <= longest:
            raise ValueError(f"'lifetime' is from 'time_limit' to {longest:,} seconds")
        return self


class Stop(_Model):
    """When a job ends before everything is labelled: so many ``objects`` by people, or so many ``percent`` of all."""

    objects: Count | None = Field(default=None, ge=1)
    percent: Count | None = Field(default=None, ge=1, le=100)


class Prices(_Model):
    """Overrides what a label is estimated at: US dollars for each object, to the service."""

    service: Price | None = None


class JobSettings(_Model):
    """A labelling job, but for its name and its manifest.

    ``attribute``: under which key labels stand in the output. ``labels``: the key of a former job's labels that
    verification and adjustment are about. ``bucket``: where template, categories and results go; the manifest's when
    not given.
    """

    task: Task
    attribute: Annotated[str, AfterValidator(check_attribute)]
    categories: tuple[Annotated[Text, AfterValidator(_category)], ...] = Field(max_length=MAX_CATEGORIES)
    title: Annotated[Text, StringConstraints(max_length=128)]
    description: Annotated[Text, StringConstraints(max_length=255, pattern=r"^[^\n\r]+$")]
    keywords: tuple[
        Annotated[str, StringConstraints(max_length=30, pattern=r"^[A-Za-z0-9]+( [A-Za-z0-9]+)*$")], ...
    ] = Field(default=(), max_length=5)
    header: str = ""
    instructions: Instructions
    workers: Workers | None = None
    role: Annotated[Arn, StringConstraints(pattern=r":iam::\d{12}:role/")] | None = None
    labels: Annotated[str, AfterValidator(check_attribute)] | None = None
    region: str | None = None
    bucket: Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9.-]{3,63}/?$")] | None = None
    kms_key: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9:/_-]+$")] | None = None
    tags: Mapping[str, str] = Field(default_factory=dict, max_length=50)
    stop: Stop = Field(default_factory=Stop)
    auto_label: bool = False
    prices: Prices = Field(default_factory=Prices)

    @model_validator(mode="after")
    def _consistent(self) -> JobSettings:
        facts = FACTS[self.task]
        if len(set(self.categories)) != len(self.categories):
            twice = next(each for each in self.categories if self.categories.count(each) > 1)
            raise ValueError(f"'categories' has {twice!a} twice")
        if len(self.categories) < facts.min_categories:
            raise ValueError(f"'categories' of {self.task} are at least {facts.min_categories}")
        if self.labels is not None and not facts.chained:
            raise ValueError("'labels' goes with 'task: verification' or 'adjustment' alone")
        if self.labels == self.attribute:
            raise ValueError("'attribute' must differ from 'labels', or the former labels would be lost")
        if self.auto_label and facts.algorithm is None:
            raise ValueError(f"'auto_label' is not there for {self.task}")
        if self.region is not None and self.region not in FUNCTION_ACCOUNTS:
            raise ValueError(
                f"'region' is one of {', '.join(FUNCTION_ACCOUNTS)}: the labelling service is not elsewhere"
            )
        self._check_price()
        self._check_tags()
        return self

    def _check_price(self) -> None:
        price = self.workers.price if self.workers is not None else None
        allowed = FACTS[self.task].prices
        if price is not None and price not in allowed:
            raise ValueError(f"'workers.price' of {self.task} is one of {', '.join(map(str, allowed))}")

    def _check_tags(self) -> None:
        for key, value in self.tags.items():
            whole = _TAG.fullmatch(key) and _TAG.fullmatch(value)
            if not whole or not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
                raise ValueError(f"'tags' has {quoted(key)}, which is none")


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> JobSettings:
    """The settings of the YAML file *path*, then *overrides*; those that are None say nothing.

    Raises ConfigInvalid with all faults, one line each, with the setting's path.
    """
    document = read_mapping(path, "config/labelling.yaml")
    document.update({name: value for name, value in (overrides or {}).items() if value is not None})
    try:
        return JobSettings.model_validate(document)
    except ValidationError as error:
        raise ConfigInvalid("\n".join(_faults(error, str(path)))) from error


def about(settings: JobSettings, labels: str) -> JobSettings:
    """*settings* of a job about what a former one left under *labels*. Raises ConfigInvalid."""
    try:
        return JobSettings.model_validate({**settings.model_dump(), "labels": labels})
    except ValidationError as error:
        raise ConfigInvalid("\n".join(_faults(error, f"labels of '{labels}'"))) from error


def _faults(error: ValidationError, origin: str) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown setting"
        elif fault["type"] == "missing":
            message = "is missing"
        lines.append(": ".join(part for part in (origin, place, message) if part))
    return lines
