"""The commands ``edge-cloud label create | status | fetch``."""

from __future__ import annotations

import enum
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_options import Endpoint, Strict
from cloud.dataset.findings import Findings
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from cloud.labeling.job_create import Prepared
    from cloud.labeling.job_service import Job, LabelingService
    from cloud.labeling.request import Plan

label = typer.Typer(
    name="label",
    help="Have pictures labelled, and get the labels back: SageMaker Ground Truth, Label Studio, CVAT.",
    no_args_is_help=True,
)


class Tool(enum.StrEnum):
    """Who draws the labels when AWS does not."""

    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"


Manifest = Annotated[
    str | None, typer.Option("--manifest", "-m", metavar="FILE", help="What to label: a file or s3://bucket/key.")
]
Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="AWS region. [default: as configured]")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name, never used before in the account.")]
JobConfig = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The job's settings, see config/labelling.yaml.")
]


@label.command("create")
def create(
    name: Name,
    config: JobConfig,
    manifest: Manifest = None,
    from_job: Annotated[
        str | None, typer.Option("--from-job", metavar="NAME", help="Label, verify or adjust the output of that job.")
    ] = None,
    region: Region = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="s3://BUCKET", help="Where the job's files and results go.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the request as JSON; store and start nothing.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show in a browser what workers will see; store and start nothing.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Look for pictures here first, with --preview and --to."),
    ] = None,
    to: Annotated[Tool | None, typer.Option("--to", help="Write tasks for a tool of your own, into --out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="With --to: a new directory.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Start without asking; the estimate is still shown.")
    ] = False,
    strict: Strict = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Start a labelling job over a manifest, after a look at its faults and its price.

    The manifest is checked by every rule of the service first, then the estimate is shown and asked about. Template,
    categories and example pictures are stored under datasets/NAME/job/ in the bucket; results come under
    datasets/NAME/labels/. Nobody is paid before you say yes; where there is nobody to ask, --yes is needed.

    AWS takes no new Ground Truth customers since 2026-07-30. Without an older account, --to label-studio or --to cvat
    writes a task set to import there, with the boxes of a former job as a start, and `label fetch --from` reads the
    labels back into a manifest.
    """
    from cloud.labeling import instructions, job, job_create
    from cloud.labeling.job_service import LabelingService

    if (manifest is None) == (from_job is None):
        raise ConfigInvalid("give --manifest or --from-job, one of them")
    settings = job.load(config, {"region": region, "bucket": bucket})
    job.check_name(name)
    guide = instructions.read(settings.instructions, config.parent)
    with closing(LabelingService(settings.region)) as service:
        place = manifest or ""
        if from_job is not None:
            place, settings = job_create.former(service, from_job, settings)
        sent = to is None and not preview  # what goes nowhere may have its pictures on this machine
        with job_create.prepare(name, settings, guide, place, endpoint_url, for_service=sent) as prepared:
            _report(prepared.input.findings, strict)
            if to is not None:
                return _write_tasks(prepared, to, out, images, endpoint_url, strict=strict)
            if preview:
                return _preview(prepared, images, endpoint_url)
            made = job_create.planned(prepared, *job_create.place(prepared, service))
            if dry_run:
                return _show_request(prepared, made)
            _start(prepared, made, service, endpoint_url, yes=yes)
    return None


@label.command("status")
def status(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Labelling jobs.")],
    wait: Annotated[bool, typer.Option("--wait", help="Look every minute until all of them have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a job and line.")] = False,
    region: Region = None,
) -> None:
    """Show how far labelling jobs are: labelled, failed, unlabelled, and what they have cost so far.

    Exits with 1 when one of them failed or was stopped. What a private team or a vendor earns is not in the cost.
    """
    from rich.console import Console

    from cloud.labeling import status as progress
    from cloud.labeling.job_service import LabelingService

    console = Console(stderr=True)
    stop = threading.Event()

    def told(jobs: Sequence[Job]) -> None:
        if wait and not all(job.ended for job in jobs):
            done, objects = sum(job.labelled for job in jobs), sum(job.objects for job in jobs)
            console.print(f"{done:,} of {objects:,} labelled", highlight=False)

    with closing(LabelingService(region)) as service:
        if wait:
            jobs = progress.wait(names, service.describe, SystemClock(), stop, told)
        else:
            jobs = [service.describe(name) for name in names]
    for job in jobs if as_json else ():
        typer.echo(json.dumps(progress.as_json(job)))
    if not as_json:
        _table(jobs)
    if any(job.status in ("Failed", "Stopped") for job in jobs):
        raise typer.Exit(1)


@label.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A labelling job; with --from, what the labels are of.")],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="A file or s3://bucket/key. [default: NAME.manifest]"),
    ] = None,
    source: Annotated[Tool | None, typer.Option("--from", help="Read the export of a tool of your own.")] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="PATH", help="With --from: what the tool exported.")
    ] = None,
    manifest: Annotated[
        str | None, typer.Option("--manifest", "-m", metavar="FILE", help="What was sent. [default: the job's input]")
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option("--attribute", metavar="KEY", help="With --from: under which key labels go. [default: labels]"),
    ] = None,
    strict: Strict = False,
    region: Region = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Fetch labels: the output manifest of a job, held line by line against what was sent.

    Lines that did not come back, came twice, have no label or failed are named and counted; with --strict nothing is
    written then. What a job wrote before it
    failed or was stopped is fetched too. Nothing that exists is overwritten. Then: edge-cloud label review.
    """
    from cloud.labeling import fetching

    target, findings = out or f"{name}.manifest", Findings()
    if source is not None:
        if export is None or manifest is None:
            raise ConfigInvalid(
                "--from: needs --export and --manifest", fix="name the tool's export, and what was sent"
            )
        from cloud.labeling.tasks_import import Origin, read_back

        origin = Origin(name, attribute or "labels", SystemClock().now())
        with _reported(findings):
            tally, is_new = read_back(
                source.value, export, manifest, origin, target, findings, endpoint_url, strict=strict
            )
    else:
        if export is not None or attribute is not None:
            raise ConfigInvalid("--export and --attribute go with --from")
        with closing(_service(region)) as service, _reported(findings):
            job = service.describe(name)
            tally, is_new = fetching.fetch(job, manifest, target, findings, endpoint_url, strict=strict)
    typer.echo(f"{target}: {tally}" + ("" if is_new else "; it was there already, the same"))


def _service(region: str | None) -> LabelingService:
    from cloud.labeling.job_service import LabelingService

    return LabelingService(region)


@contextmanager
def _reported(findings: Findings) -> Iterator[None]:
    """Whatever comes of the block, what was found in it is told."""
    try:
        yield
    finally:
        _report(findings, strict=False)


def _report(findings: Findings, strict: bool) -> None:
    for line in findings.lines():
        typer.echo(line, err=True)
    findings.raise_if_strict(strict)


def _show_request(prepared: Prepared, made: Plan) -> None:
    from cloud.labeling.job_create import estimate

    for line in estimate(prepared).lines():
        typer.echo(line, err=True)
    for file in made.files:
        typer.echo(f"would be stored: s3://{made.bucket}/{file.key}", err=True)
    typer.echo("dry run: nothing was stored or started; regions and CORS of the buckets were not asked for", err=True)
    typer.echo(json.dumps(made.request, indent=2, ensure_ascii=False))


def _start(prepared: Prepared, made: Plan, service: LabelingService, endpoint_url: str | None, *, yes: bool) -> None:
    from cloud.labeling import job_create

    job_create.check_places(prepared, made, endpoint_url)
    for line in job_create.estimate(prepared).lines():
        typer.echo(line, err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigInvalid("nobody is there to confirm the price", fix="give --yes, or run it at a terminal")
        typer.confirm(f"Start labelling job {prepared.name}?", abort=True, err=True)
    typer.echo(job_create.start(made, service, endpoint_url))
    typer.echo(f"next: edge-cloud label status {prepared.name} --wait", err=True)


def _preview(prepared: Prepared, images: Path | None, endpoint_url: str | None) -> None:
    from cloud.labeling import job_create
    from cloud.labeling.request import header_of
    from cloud.labeling.template import Page, build
    from cloud.labeling.template_preview import CSS, Preview, page
    from cloud.review.web.server import Listen, serve_app

    settings, guide = prepared.settings, prepared.guide
    header = header_of(settings)
    template = build(
        Page(settings.task, header, guide, settings.labels, prepared.input.classes), lambda name: f"s3://BUCKET/{name}"
    )
    shown = job_create.sample(prepared, images, endpoint_url)
    facts = [f"{settings.task}, {prepared.input.items:,} objects", *job_create.estimate(prepared).lines()]
    preview = Preview(prepared.name, header, guide, settings.categories, shown, template, facts)
    serve_app(page(preview), Listen(), frozenset({CSS}), tell=typer.echo, stop=threading.Event())


def _write_tasks(
    prepared: Prepared, to: Tool, out: Path | None, images: Path | None, endpoint_url: str | None, *, strict: bool
) -> None:
    from cloud.labeling.tasks_export import write_tasks

    if out is None:
        raise ConfigInvalid("--to: needs --out", fix="name a new directory for the task set")
    findings = Findings()
    with _reported(findings):
        lines = write_tasks(prepared, to.value, out, findings, images, endpoint_url, strict=strict)
    for line in lines:
        typer.echo(line)


def _table(jobs: Sequence[Job]) -> None:
    from rich.console import Console
    from rich.table import Table

    from cloud.labeling.status import rows

    table = Table(box=None, pad_edge=False)
    for position, title in enumerate(("job", "state", "labelled", "failed", "unlabelled", "cost so far")):
        table.add_column(title, justify="right" if position > 1 else "left", overflow="fold")
    for row in rows(jobs):
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
    for job in jobs:
        if job.failure:
            typer.echo(f"{job.name}: {job.failure}")
        typer.echo(f"{job.name}: output {job.output_manifest}")
