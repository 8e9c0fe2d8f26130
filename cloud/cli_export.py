"""The commands ``edge-cloud export`` and ``edge-cloud import``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloud.cli_options import Endpoint, Fields, Strict, fields_of
from cloud.labeling.formats.registry import Name, Readable
from cloud.words import counted, plain

if TYPE_CHECKING:
    from cloud.dataset.findings import Findings
    from cloud.labeling.export import Report

_What = Literal["boxes", "labels", "tags"]
_Pictures = Literal["copy", "link", "none"]


def export(
    name: Annotated[Name, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(Name)}.")],
    source: Annotated[str, typer.Argument(metavar="MANIFEST", help="A file or s3://bucket/key, labelled or not.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The directory to be made.")],
    pictures: Annotated[
        _Pictures, typer.Option("--pictures", help="Copy pictures, hard-link them where possible, or leave them out.")
    ] = "copy",
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Look for pictures here first, by the end of their name."),
    ] = None,
    what: Annotated[
        _What | None,
        typer.Option("--what", help="Boxes, labels of pictures, or class fields. (default: the first there is)"),
    ] = None,
    attribute: Annotated[
        str | None, typer.Option("--attribute", metavar="NAME", help="Label attribute. (default: last of the chain)")
    ] = None,
    fields: Fields = None,
    strict: Strict = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Make a data set for training tools of a manifest and its pictures.

    The splits are those that manifest build wrote into the lines. DIR appears when it is whole; a run that was killed
    is taken up by running it again. Beside the format's own files it holds sources.jsonl, from which import restores
    what the format cannot say, and checksums.sha256.
    """
    from cloud.dataset.findings import Findings
    from cloud.dataset.lines import local_copy
    from cloud.labeling.export import Target, check_free
    from cloud.labeling.export import export as run
    from cloud.labeling.export_plan import Source, make_plan
    from cloud.labeling.formats.registry import format_of

    form, target = format_of(name), Target(out.expanduser().absolute(), pictures, images, endpoint_url)
    check_free(target.out)
    findings = Findings()
    with local_copy(source, endpoint_url) as path:
        manifest = Source.of(path, source, attribute, fields_of(fields))
        chosen = make_plan(manifest, form, what, pictures=pictures != "none", title=target.out.name)
        if manifest.choice.said and chosen.what != "tags":
            typer.echo(manifest.choice.said, err=True)
        if not chosen.has_splits:
            typer.echo("no line has a split: everything is 'train'", err=True)
        try:
            with _bar(chosen.lines) as progress:
                report = run(manifest, form, chosen, target, findings, strict=strict, progress=progress)
        finally:
            _tell(findings)
            if target.partial.exists():
                typer.echo(f"{target.partial}: what was copied so far; the same command goes on from there", err=True)
    _summary(report, name, findings)


def import_(
    name: Annotated[Readable, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(Readable)}.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The data set's directory, or its file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MANIFEST", help="The manifest to be made.")],
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="URI", help="Where the pictures are, e.g. s3://bucket/frames; else their files."
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option("--attribute", metavar="NAME", help="Label attribute. (default: the exported one, or 'labels')"),
    ] = None,
    strict: Strict = False,
) -> None:
    """Make an augmented manifest of another tool's label files.

    Of a data set that export made, everything comes back: URIs, confidences, class fields, whatever the lines had.
    """
    from cloud.dataset.findings import Findings
    from cloud.labeling.export_import import read_back, write_manifest
    from cloud.labeling.formats.registry import format_of

    findings = Findings()
    try:
        read = read_back(format_of(name), path.expanduser(), findings, attribute=attribute, base=base)
        outcome = write_manifest(read, out.expanduser(), findings, strict=strict)
    finally:
        _tell(findings)
    known = f", {outcome.known} with all their line had" if outcome.known else ""
    typer.echo(
        f"{out}: {counted(outcome.lines, 'line')}{known}, {counted(outcome.labels, 'label')} of "
        f"{_classes(len(outcome.classes))}, {outcome.unlabelled} unlabelled{_dropped(findings)}"
    )


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar over all lines, where there is a terminal to draw it on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("lines", total=total)
        yield lambda done: bar.update(task, completed=done)


def _tell(findings: Findings) -> None:
    for line in findings.lines():
        typer.echo(line, err=True)


def _summary(report: Report, name: Name, findings: Findings) -> None:
    splits = ", ".join(f"{split} {report.pictures[split]}" for split in report.pictures)
    for label, number in sorted(report.labels.items()):
        typer.echo(f"{number:8}  {plain(label)}")
    typer.echo(
        f"{report.out}: {name}, {counted(report.pictures.total(), 'picture')} ({splits}), {report.copied} copied now, "
        f"{counted(report.labels.total(), 'label')} of {_classes(len(report.labels))}, "
        f"{report.negatives} without any{_dropped(findings)}"
    )


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


def _dropped(findings: Findings) -> str:
    return f"; {findings.dropped} left out" if findings.dropped else ""
