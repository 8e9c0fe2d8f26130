"""The command ``edge-cloud review``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_options import ConfigFile, Endpoint, Strict, settings_of
from cloud.words import counted
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from cloud.review.frames import FrameCatalogue

Listening = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where the page is; elsewhere than on loopback it asks for a token."
    ),
]
Reviewer = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who decides; the user of this machine when not given.")
]


def review(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A directory or s3://bucket.")],
    listen: Listening = "127.0.0.1:8765",
    by: Reviewer = None,
    static: Annotated[
        Path | None, typer.Option("--static", metavar="FILE.html", help="Write a report into one file instead.")
    ] = None,
    strict: Strict = False,
    config: ConfigFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Look at the frames of a data set in a browser, and say which are worth a label.

    Opens a page on this machine: every frame with its verdict, reasons and scores, by video or by class; sliders that
    show at once how many labels, and how much money, a threshold would save; keys to keep and drop (press ? there).
    A decision is stored under overrides/ in the data set when the page says so, and `edge-cloud manifest build` honours
    it. Several people may review at once. Ctrl-C ends it.

    --static writes counts, reasons, money and a share of the pictures into one HTML file that needs no server. With
    --strict every index, decision and picture is looked for first, and nothing is shown when one is missing or damaged.
    """
    from cloud.review.frames import FrameCatalogue

    settings = settings_of(config, None, None, None, endpoint_url, dataset=dataset)
    if static is not None and not static.absolute().parent.is_dir():
        raise ConfigInvalid("no such directory", where=str(static.parent), fix="make it, or choose another --static")
    if static is None:
        from cloud.review.web.server import Listen, reviewer, serve

        place, by = Listen.parse(listen), reviewer(by)
    store = settings.dataset.open()
    store.check()
    clock = SystemClock()
    if strict:
        _refuse_faults(FrameCatalogue(store, clock, dataset))
    catalogue = FrameCatalogue(store, clock, dataset)
    if static is not None:
        from cloud.review.web.report import write

        report = write(catalogue, static, settings.price_per_label, clock.now())
        for line in report.findings.lines():
            typer.echo(line, err=True)
        typer.echo(f"{static}: {counted(report.items, 'frame')}, {counted(report.pictures, 'picture')} of them shown")
        report.findings.raise_if_strict(strict)
        return
    typer.echo(f"reviewing {dataset}; Ctrl-C ends it")
    serve(
        catalogue,
        place,
        by=by,
        price=settings.price_per_label,
        tell=lambda line: typer.echo(line, err=not line.startswith("http")),
        stop=threading.Event(),
    )
    if total := catalogue.findings().total:
        typer.echo(f"{counted(total, 'fault')} found", err=True)


def _refuse_faults(catalogue: FrameCatalogue) -> None:
    """Raise FindingsPresent when anything is wrong with the data set."""
    for _ in catalogue.groups():
        pass
    catalogue.check_pictures()
    findings = catalogue.findings()
    for line in findings.lines():
        typer.echo(line, err=True)
    findings.raise_if_strict(strict=True)
