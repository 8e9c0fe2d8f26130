"""From settings and a manifest to a running labelling job, one step at a time: prepare, check, store, start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cloud.dataset.findings import Findings, FindingsPresent
from cloud.dataset.lines import local_copy
from cloud.dataset.pictures import Pictures, header_of
from cloud.labeling import job_input
from cloud.labeling.cost import Estimate, limited
from cloud.labeling.instructions import Guide
from cloud.labeling.job import JobSettings, about
from cloud.labeling.job_input import Input
from cloud.labeling.job_service import Job, LabelingService
from cloud.labeling.output import Choice, Kind, parse
from cloud.labeling.request import Plan, manifest_file, plan
from cloud.labeling.tasks import FACTS
from cloud.labeling.template_preview import Sample
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, ObjectExists
from edge_agent.store import open_store
from edge_agent.store.uri import split_uri


@dataclass(frozen=True, slots=True)
class Prepared:
    """A manifest at hand: ``path`` is readable while the block of :func:`prepare` lasts, ``manifest`` is its name."""

    name: str
    settings: JobSettings
    guide: Guide
    manifest: str
    path: Path
    input: Input

    @property
    def is_stored(self) -> bool:
        """Whether the service can read the manifest where it is."""
        return self.manifest.startswith("s3://")


@contextmanager
def prepare(
    name: str, settings: JobSettings, guide: Guide, manifest: str, endpoint_url: str | None, *, for_service: bool
) -> Iterator[Prepared]:
    """The manifest, checked by every rule, for as long as the block lasts.

    Raises FindingsPresent when no job can be made of it, ConfigInvalid, and what a store raises.
    """
    with local_copy(manifest, endpoint_url) as path:
        checked, found = job_input.examine(path, manifest, settings, for_service=for_service)
        faults = list(job_input.fatal(checked, settings, for_service=for_service))
        if faults:
            raise FindingsPresent("\n".join([*found.findings.lines(), *faults]))
        job_input.check_classes(settings, found.classes)
        yield Prepared(name, settings, guide, manifest, path, found)


def former(service: LabelingService, name: str, settings: JobSettings) -> tuple[str, JobSettings]:
    """The output manifest of the job *name*, and *settings* that are about its labels where they are chained.

    Raises ConfigInvalid when it has not ended, ObjectNotFound.
    """
    job: Job = service.describe(name)
    if not job.ended:
        raise ConfigInvalid(
            f"is {job.status}", where=f"labelling job {name}", fix="wait for its end: label status --wait"
        )
    if FACTS[settings.task].chained and settings.labels is None:
        settings = about(settings, job.attribute)
    return job.output_manifest, settings


def place(prepared: Prepared, service: LabelingService) -> tuple[str, str]:
    """Bucket and region of the job. Raises ConfigInvalid with a line for each of them that nothing says."""
    settings = prepared.settings
    bucket = (settings.bucket or "").removeprefix("s3://").rstrip("/")
    if not bucket and prepared.is_stored:
        bucket = split_uri(prepared.manifest).netloc
    faults = [] if bucket else ["bucket: is missing; say where the job's files go: bucket: s3://BUCKET, or --bucket"]
    try:
        region = service.region
    except ConfigInvalid as error:
        raise ConfigInvalid("\n".join([*faults, str(error)])) from error
    if faults:
        raise ConfigInvalid(*faults)
    return bucket, region


def planned(prepared: Prepared, bucket: str, region: str) -> Plan:
    """Everything that would be stored and sent. Raises ConfigInvalid, NameInvalid."""
    settings = prepared.settings
    stored = None if prepared.is_stored else manifest_file(prepared.name, prepared.path)
    uri = prepared.manifest if stored is None else f"s3://{bucket}/{stored.key}"
    made = plan(prepared.name, settings, prepared.guide, uri, bucket, region, prepared.input.classes)
    if stored is None:
        return made
    return Plan(made.bucket, made.region, (*made.files, stored), made.request)


def estimate(prepared: Prepared) -> Estimate:
    """What the job costs at most. Pure."""
    settings = prepared.settings
    objects = limited(prepared.input.items, settings.stop.objects, settings.stop.percent)
    price = settings.prices.service
    workers = settings.workers
    return Estimate(
        objects,
        workers.per_object if workers is not None else 1,
        (workers.price if workers is not None else None) or Decimal(0),
        Decimal(str(price)) if price is not None else None,
    )


def check_places(prepared: Prepared, made: Plan, endpoint_url: str | None) -> None:
    """Raise ConfigInvalid, a line each, when the service could not read or show the pictures where they are.

    Raises what a store raises when the job's own bucket cannot be reached: then nobody needs to look at a price.
    """
    open_store(f"s3://{made.bucket}", endpoint_url=endpoint_url).check()
    own = {made.bucket, *([split_uri(prepared.manifest).netloc] if prepared.is_stored else [])}
    buckets = [*prepared.input.buckets, *sorted(own - set(prepared.input.buckets))]
    with closing(Pictures(endpoint_url=endpoint_url)) as pictures:
        faults = list(job_input.check_places(buckets, made.region, pictures))
    if faults:
        raise ConfigInvalid("\n".join(faults))


def start(made: Plan, service: LabelingService, endpoint_url: str | None) -> str:
    """Store the job's files, then start it; its ARN. What is there already has the same bytes: its key says so."""
    store = open_store(f"s3://{made.bucket}", endpoint_url=endpoint_url)
    for file in made.files:
        try:
            store.put_if_absent(file.key, file.body, content_type=file.content_type)
        except ObjectExists:
            continue
    return service.create(made.request)


def sample(prepared: Prepared, images: Path | None, endpoint_url: str | None) -> Sample:
    """The first picture and its former boxes; without its bytes when it cannot be read from here."""
    line = prepared.input.first
    base = None if prepared.is_stored else prepared.path.parent
    try:
        with closing(Pictures(images=images, base=base, endpoint_url=endpoint_url)) as pictures:
            body = pictures.read(line.source)
    except EdgeCaptureError:
        return Sample(line.source, None)
    header = header_of(body, len(body))
    if header is None:
        return Sample(line.source, None)
    former = parse(line, Choice(prepared.settings.labels, Kind.BOXES), Findings()).example
    width, height = former.width or header.width, former.height or header.height  # as what the boxes are told in
    return Sample(line.source, body, f"image/{header.kind}", width, height, former.boxes or ())
