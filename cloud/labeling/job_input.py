"""The manifest of a labelling job, looked at before anybody pays: what the service would refuse, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line, read_lines
from cloud.dataset.pictures import Pictures
from cloud.dataset.validate import Checked, Rules, validate
from cloud.dataset.validate_pictures import lacks_cors, region_of
from cloud.labeling.job import JobSettings
from cloud.labeling.output import METADATA, Choice, Kind, kind_of, parse
from cloud.labeling.tasks import Task
from cloud.words import quoted
from edge_agent.errors import ConfigInvalid
from edge_agent.store.uri import split_uri

MIN_AUTO = 1250  # objects; developer guide, "Automate Data Labeling"
_ELSEWHERE = frozenset({"local_pictures", "mixed_regions", "bad_bucket"})
"""Findings that matter to the service alone: label tools of one's own take pictures from anywhere."""
_FATAL = frozenset({"overwritten_attribute", "local_pictures", "other_labels"})
"""What would start a job that is worth nothing, beside what the service refuses itself."""


@dataclass(frozen=True, slots=True)
class Input:
    """What is to be labelled. ``classes`` are those of the labels a chained job is about, ``first`` is one line."""

    items: int
    buckets: tuple[str, ...]
    classes: tuple[str, ...]
    first: Line
    findings: Findings


def examine(path: Path, where: str, settings: JobSettings, *, for_service: bool) -> tuple[Checked, Input]:
    """Every rule on the manifest *path*, and what is in it; without *for_service* those of label tools of one's own.

    Raises ConfigInvalid when there is nothing to label.
    """
    checked = validate([(path, where)], Rules(settings.attribute))
    if not for_service:
        checked.findings.forget(_ELSEWHERE)
    buckets, classes, first = dict[str, None](), dict[str, None](), None
    for line in read_lines(path, Findings(), where):
        first = first or line
        if line.source.startswith("s3://"):
            buckets[split_uri(line.source).netloc] = None
        if settings.labels is not None:
            classes.update(dict.fromkeys(_former(line, settings.labels, checked.findings)))
    if first is None:
        raise ConfigInvalid(
            "has no line that can be labelled", where=where, fix="build it anew: edge-cloud manifest build"
        )
    return checked, Input(checked.items, tuple(buckets), tuple(classes), first, checked.findings)


def fatal(checked: Checked, settings: JobSettings, *, for_service: bool) -> Iterator[str]:
    """Why no job can be made of what was *checked*, a line each. Pure."""
    if checked.refused or checked.findings.counts.keys() & _FATAL:
        yield "nothing was sent: mend the manifest first (edge-cloud manifest validate shows all)"
    if for_service and settings.auto_label and checked.items < MIN_AUTO:
        yield f"auto_label: needs at least {MIN_AUTO:,} objects, and here are {checked.items:,}; leave it out"


def check_classes(settings: JobSettings, classes: Sequence[str]) -> None:
    """Raise ConfigInvalid when an adjustment could not keep the labels it is to adjust. Pure."""
    if settings.labels is None:
        return
    if not classes:
        raise ConfigInvalid(
            f"labels: no line has boxes under '{settings.labels}'", fix="name the former job's attribute"
        )
    missing = [name for name in classes if name not in settings.categories]
    if settings.task is Task.ADJUSTMENT and missing:
        shown = ", ".join(map(quoted, missing[:10]))
        raise ConfigInvalid(
            f"categories: lack {shown}, which the former labels have", fix="add them; new ones are allowed"
        )


def check_places(buckets: Sequence[str], region: str, pictures: Pictures) -> Iterator[str]:
    """Why the service could not read or show what is in *buckets*, a line each; asks S3."""
    for bucket in buckets:
        at = region_of(pictures, bucket)
        if at is not None and at != region:
            yield f"s3://{bucket}: is in {at}, the job in {region}; job, data and manifest must be in one region"
        if lacks_cors(pictures, bucket):
            yield (
                f"s3://{bucket}: lets no labelling page load its pictures (CORS); allow GET from any origin: "
                f"docs/labelling.md has the command"
            )


def _former(line: Line, attribute: str, findings: Findings) -> Iterator[str]:
    """The classes of the boxes under *attribute*. Findings: when there are none, and those of :func:`parse`."""
    metadata = line.fields.get(attribute + METADATA)
    if attribute not in line.fields or not isinstance(metadata, dict):
        what, fix = f"has no labels under '{attribute}'", "take it out, or label it first"
        findings.add(Finding("no_former_labels", line.where, line.number, what, fix))
        return
    if kind_of(metadata) is not Kind.BOXES:
        what, fix = f"'{attribute}' holds no boxes ({metadata.get('type')!r:.60})", "name another attribute in 'labels'"
        findings.add(Finding("other_labels", line.where, line.number, what, fix))
        return
    parse(line, Choice(attribute, Kind.BOXES), findings)
    classes = metadata.get("class-map")
    yield from (str(name) for name in classes.values()) if isinstance(classes, dict) else ()
