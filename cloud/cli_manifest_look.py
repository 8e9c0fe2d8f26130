"""The commands ``edge-cloud manifest validate``, ``show`` and ``stats``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.cli_options import Endpoint, Fields, Strict, fields_of
from cloud.dataset.findings import Finding, Findings
from cloud.words import counted
from edge_agent.errors import ConfigInvalid
from edge_agent.store.uri import split_uri

MANIFEST = "A manifest: a file or s3://bucket/key."
Manifest = Annotated[str, typer.Argument(metavar="MANIFEST", help=MANIFEST)]
Manifests = Annotated[list[str], typer.Argument(metavar="MANIFEST...", help="Manifests: files or s3://bucket/key.")]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Look for pictures here first, by the end of their name.")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="NAME", help="The label attribute to read. [default: the newest]")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def validate(
    manifests: Manifests,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Look at every picture: is it there, readable, of the size its label says?"),
    ] = False,
    images: Images = None,
    attribute: Annotated[
        str | None, typer.Option("--attribute", metavar="NAME", help="Where the job is to write its labels.")
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Check manifests against every rule of the labelling service, before anybody pays.

    Prints each fault with its line and what to do, at most 20 of a kind, and counts all. Several manifests are taken
    for shards of one: a picture that is in two of them is found. --pictures asks for the first bytes of each picture,
    and for region and CORS of its bucket. Exits with 1 when Ground Truth would refuse the job or some of its lines;
    pictures on this machine, which it cannot read, are no fault for other tools, and told.
    """
    from cloud.dataset.validate import Rules
    from cloud.dataset.validate import validate as check
    from cloud.dataset.validate_rules import check_attribute

    if attribute is not None:
        check_attribute(attribute)
    if images is not None and not pictures:
        raise ConfigInvalid("--images is for --pictures", fix="give both, or neither")
    with ExitStack() as stack:
        reader = stack.enter_context(_pictures(manifests[0], images, endpoint_url)) if pictures else None
        checked = check(_copies(stack, manifests, endpoint_url), Rules(attribute, reader))
    findings = checked.findings
    if as_json:
        said = {"items": checked.items, "refused": checked.refused, **_as_json(findings)}
        typer.echo(json.dumps(said))
    else:
        for line in findings.lines():
            typer.echo(line)
        verdict = "Ground Truth would refuse it" if checked.refused else "Ground Truth would take it"
        if findings.counts["local_pictures"] and not checked.refused:
            verdict = "Ground Truth cannot read its pictures; other tools do not mind"
        typer.echo(f"{counted(checked.items, 'item')}, {_sum(findings)}: {verdict}")
    findings.raise_if_strict(strict)
    if checked.refused:
        raise typer.Exit(1)


def show(
    manifest: Manifest,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the sheets go.")] = Path("sheets"),
    images: Images = None,
    per_page: Annotated[int, typer.Option("--per-page", min=1, metavar="N", help="Pictures on a sheet.")] = 200,
    columns: Annotated[int, typer.Option("--columns", min=1, metavar="N", help="Pictures in a row.")] = 8,
    tile_width: Annotated[
        int, typer.Option("--tile-width", min=64, max=2048, metavar="PX", help="Of a picture.")
    ] = 240,
    label: Label = None,
    fields: Fields = None,
    strict: Strict = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Draw contact sheets of all pictures of a manifest, with class and labelled boxes.

    Writes DIR/<manifest>-0001.jpg and so on. Pictures are taken from --images where they are, else from their store.
    What is missing or broken is a tile that says so. Memory is that of one sheet.
    """
    from cloud.review.pages_of import Look, pages

    look, findings, written, shown = Look(tile_width, columns, per_page), Findings(), 0, 0
    with ExitStack() as stack:
        [(path, where)] = _copies(stack, [manifest], endpoint_url)
        reader = stack.enter_context(_pictures(manifest, images, endpoint_url))
        records = _records(path, where, label, fields_of(fields), findings)
        title, stem = Path(split_uri(where).path or where).name, Path(where).stem
        _directory(out)
        with closing(pages(records, reader, title, findings, look)) as drawn:
            for page in drawn:
                target = out / f"{stem}-{page.number:04d}.jpg"
                _write(target, page.jpeg)
                typer.echo(f"{target}: lines {page.first} to {page.last}")
                written, shown = page.number, shown + page.pictures
    _nothing(shown, where, findings)
    _tell(findings)
    typer.echo(f"{counted(shown, 'picture')} on {counted(written, 'sheet')}, {_sum(findings)}")
    findings.raise_if_strict(strict)


def stats(
    manifest: Manifest,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the distributions: a .png or .svg.")
    ] = None,
    label: Label = None,
    fields: Fields = None,
    strict: Strict = False,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Count what a manifest holds: by class, split, device, camera, day and video; labels, size and place of boxes."""
    from cloud.dataset import stats_plot, stats_table
    from cloud.dataset.stats import collect

    if plot is not None:
        stats_plot.check_target(plot)
    findings, names = Findings(), fields_of(fields)
    with ExitStack() as stack:
        [(path, where)] = _copies(stack, [manifest], endpoint_url)
        found = collect(_records(path, where, label, names, findings))
        _nothing(found.lines, where, findings)
    if as_json:
        typer.echo(json.dumps({**found.as_json(), **_as_json(findings)}))
    else:
        typer.echo(f"{counted(found.lines, 'line')}, {_sum(findings)}")
        for line in stats_table.lines(found):
            typer.echo(line)
        _tell(findings)
    if plot is not None:
        stats_plot.draw(found, Path(split_uri(where).path or where).name, plot)
        typer.echo(f"plot {plot}", err=as_json)
    findings.raise_if_strict(strict)


def _records(path: Path, where: str, label: str | None, fields: Sequence[str], findings: Findings) -> Iterator[Any]:
    from cloud.labeling.output import choose, read_labels, survey

    choice = choose(survey(path, where), label)
    if choice.said and label is None and choice.attribute is not None:
        typer.echo(choice.said, err=True)
    yield from read_labels(path, choice, findings, where, fields)


def _nothing(lines: int, where: str, findings: Findings) -> None:
    if not lines:
        findings.add(Finding("empty", where, None, "has no line that can be used", "is it the right file?"))


def _copies(stack: ExitStack, manifests: Sequence[str], endpoint_url: str | None) -> list[tuple[Path, str]]:
    from cloud.dataset.lines import local_copy

    return [(stack.enter_context(local_copy(manifest, endpoint_url)), manifest) for manifest in manifests]


@contextmanager
def _pictures(manifest: str, images: Path | None, endpoint_url: str | None) -> Iterator[Any]:
    """Reads pictures; relative names are relative to the manifest."""
    from cloud.dataset.pictures import Pictures

    if images is not None and not images.is_dir():
        raise ConfigInvalid("is no directory", where=str(images), fix="say where the pictures are: --images DIR")
    base = None if split_uri(manifest).scheme == "s3" else Path(manifest).expanduser().parent
    reader = Pictures(images, base, endpoint_url)
    try:
        yield reader
    finally:
        reader.close()


def _directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigInvalid(f"cannot be made a directory: {error.strerror}", where=str(path)) from error


def _write(path: Path, body: bytes) -> None:
    try:
        path.write_bytes(body)
    except OSError as error:
        raise ConfigInvalid(f"cannot be written: {error.strerror}", where=str(path)) from error


def _tell(findings: Findings) -> None:
    for line in findings.lines():
        typer.echo(line, err=True)


def _sum(findings: Findings) -> str:
    return f"{counted(findings.total, 'finding')} ({findings.kinds})" if findings.total else "nothing wrong"


def _as_json(findings: Findings) -> dict[str, Any]:
    from dataclasses import asdict

    return {"findings": dict(findings.counts), "first": [asdict(finding) for finding in findings]}
