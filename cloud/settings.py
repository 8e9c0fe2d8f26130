"""Settings of the cloud side: a YAML file, then the environment on top, checked as one whole.

Every setting can be given as ``EDGE_CLOUD_<NAME>``, with ``__`` between levels: ``EDGE_CLOUD_SAMPLING__EVERY=15``,
``EDGE_CLOUD_DATASET=s3://bucket`` (short for ``EDGE_CLOUD_DATASET__URL``), ``EDGE_CLOUD_FIELDS=color,object``.
``EDGE_CLOUD_CONFIG`` names the YAML file itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from cloud.judge.rules import JudgeRules
from edge_agent.errors import ConfigInvalid, NameInvalid
from edge_agent.segment import DEFAULT_FIELDS, check_fields
from edge_agent.settings_file import read_mapping
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.base import ChecksumName

PREFIX = "EDGE_CLOUD_"
CONFIG_VARIABLE = "EDGE_CLOUD_CONFIG"

OUTPUTS = 3
"""Raised whenever the same video and settings would give other bytes; then every video counts as not yet processed."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _store_from_url(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


def _split_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_fields(names)
    except NameInvalid as error:
        raise ValueError(str(error)) from error


Count = Annotated[int, BeforeValidator(_no_boolean)]
Seconds = Annotated[float, BeforeValidator(_no_boolean)]
Fraction = Annotated[float, BeforeValidator(_no_boolean)]
Price = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StoreSettings(_Model):
    """Where objects live. ``url`` is ``s3://bucket``, ``file:///directory`` or a plain directory path."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    endpoint_url: str | None = Field(default=None, description="S3-compatible server; AWS when absent")
    region: str | None = None
    profile: str | None = Field(default=None, description="profile of the AWS configuration files")
    checksum: ChecksumName = Field(
        default="crc64nvme", description="what the server verifies; the others are for those that lack newer ones"
    )

    def open(self) -> ObjectStore:
        """The store. Nothing is contacted yet. Raises ConfigInvalid."""
        return open_store(
            self.url,
            endpoint_url=self.endpoint_url,
            region=self.region,
            profile=self.profile,
            checksum=self.checksum,
        )

    def beside(self, url: str) -> StoreSettings:
        """Another store at the same provider."""
        return self.model_copy(update={"url": url})


Store = Annotated[StoreSettings, BeforeValidator(_store_from_url)]


class Sampling(_Model):
    """Which frames become pictures, by exactly one rule.

    ``every`` Nth from ordinal ``phase`` on; the first in each stretch of ``seconds``; each that differs from the one
    sampled before by ``scene`` (mean difference of brightness, of 1); up to ``count`` of them spread evenly.
    """

    every: Count | None = Field(default=None, ge=1)
    phase: Count = Field(default=0, ge=0)
    seconds: Seconds | None = Field(default=None, gt=0)
    scene: Fraction | None = Field(default=None, gt=0, le=1)
    count: Count | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Sampling:
        rules = [rule for rule in (self.every, self.seconds, self.scene, self.count) if rule is not None]
        if len(rules) != 1:
            raise ValueError("give exactly one of 'every', 'seconds', 'scene' and 'count'")
        if self.phase and (self.every is None or self.phase >= self.every):
            raise ValueError("'phase' goes with 'every' and is smaller than it")
        return self


class PictureSettings(_Model):
    """What is done to a sampled frame before it is stored, after it was turned upright.

    ``crop`` is left, top, width and height as fractions of the upright frame; ``max_side`` shrinks what is longer, in
    pixels. JPEG packets of a video are stored bit by bit when there is nothing to be done.
    """

    crop: Annotated[tuple[Fraction, Fraction, Fraction, Fraction], BeforeValidator(_split_list)] | None = None
    max_side: Count | None = Field(default=None, ge=16)
    format: Literal["jpeg", "png"] = "jpeg"

    @model_validator(mode="after")
    def _inside(self) -> PictureSettings:
        if self.crop is not None:
            left, top, width, height = self.crop
            if min(left, top) < 0 or min(width, height) <= 0 or max(left + width, top + height) > 1 + 1e-9:
                raise ValueError("'crop' is left, top, width, height, as fractions of the frame and inside of it")
        return self


Extra = Literal["captured", "camera", "device", "frame", "scores"]


class Lines(_Model):
    """What a manifest line has beside ``source-ref`` and the class: ``extra`` keys, where their values are known.

    ``captured`` is the frame's UTC moment, ``frame`` its ordinal, ``scores`` those of the judges. Changing this decodes
    nothing: lines are written anew when a video is asked for again, or by `edge-cloud fsck --repair`.
    """

    extra: Annotated[tuple[Extra, ...], BeforeValidator(_split_list)] = ()


class Sheet(_Model):
    """The contact sheet: ``tile_width`` in pixels, ``columns``, and at most ``max_tiles`` frames drawn."""

    tile_width: Count = Field(default=256, ge=64, le=1024)
    columns: Count = Field(default=5, ge=1, le=20)
    max_tiles: Count = Field(default=60, ge=1, le=1000)


class Settings(_Model):
    """Everything the cloud side can be told. ``raw`` absent: the bucket an event names is the raw store.

    ``price_per_label`` in USD tells what the judges saved; the default is Ground Truth's for one object.
    """

    fields: Annotated[tuple[str, ...], BeforeValidator(_split_list), AfterValidator(_checked_names)] = DEFAULT_FIELDS
    sampling: Sampling = Field(default_factory=lambda: Sampling(every=30))
    jpeg_quality: Count = Field(default=95, ge=1, le=100)
    picture: PictureSettings = Field(default_factory=PictureSettings)
    judges: JudgeRules = Field(default_factory=JudgeRules)
    price_per_label: Price = 0.04
    lines: Lines = Field(default_factory=Lines)
    sheet: Sheet = Field(default_factory=Sheet)
    raw: Store | None = None
    dataset: Store

    @model_validator(mode="after")
    def _keys_differ(self) -> Settings:
        if twice := sorted(set(self.fields) & set(self.lines.extra)):
            raise ValueError(f"'lines.extra' and 'fields' both have {', '.join(twice)}")
        return self

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with whatever changes the outputs, and with nothing else."""
        included = {"fields", "sampling", "jpeg_quality", "picture", "judges", "sheet"}
        affecting = self.model_dump(mode="json", include=included)
        canonical = json.dumps({"outputs": OUTPUTS, **affecting}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings of the YAML file *path* (or the one ``EDGE_CLOUD_CONFIG`` names), *environ*, then *overrides*.

    Later ones win, level by level; a sampling rule replaces the former rule whole.
    Raises ConfigInvalid with all faults, one line each, with the setting's path.
    """
    environ = environ or {}
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    document = read_mapping(path, "config/cloud.yaml") if path is not None else {}
    document = _overlay(_overlay(document, from_environment(environ)), overrides or {})
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        origin = str(path) if path is not None else "settings"
        raise ConfigInvalid("\n".join(_faults(error, origin, environ))) from error


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that *environ* spells, as a tree."""
    tree: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        *parents, leaf = variable.removeprefix(PREFIX).lower().split("__")
        node = tree
        for parent in parents:
            below = _store_from_url(node.get(parent, {}))
            node[parent] = below if isinstance(below, dict) else {}
            node = node[parent]
        node[leaf] = environ[variable]
    return tree


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old, new = merged.get(name), value
        if name in ("raw", "dataset"):
            old, new = _store_from_url(old), _store_from_url(new)
        if isinstance(old, dict) and isinstance(new, Mapping) and name != "sampling":
            merged[name] = _overlay(old, new)
        else:
            merged[name] = new
    return merged


def _faults(error: ValidationError, origin: str, environ: Mapping[str, str]) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        path = [str(part) for part in fault["loc"]]
        variables = [PREFIX + "__".join(path[:depth]).upper() for depth in range(len(path), 0, -1)]
        where = next((variable for variable in variables if variable in environ), origin)
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown setting"
        elif fault["type"] == "missing":
            message = "is missing"
        shown = fault["input"]
        if isinstance(shown, int) and shown.bit_length() > 256:  # has no decimals when it is large beyond reason
            shown = None
        if isinstance(shown, str | int | float) and fault["type"] not in ("extra_forbidden", "missing"):
            message = f"{message}, not {ascii(shown)[:80]}"
        lines.append(f"{where}: {'.'.join(path)}: {message}")
    return lines
