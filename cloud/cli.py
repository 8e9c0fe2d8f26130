"""The command ``edge-cloud``: the cloud side by hand, and on one machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

from cloud import (
    cli_export,
    cli_fsck,
    cli_label,
    cli_label_review,
    cli_manifest,
    cli_manifest_look,
    cli_queue,
    cli_review,
)
from cloud.cli_options import ConfigFile, Endpoint, Every, Fields, Seconds, open_dataset, settings_of, show
from cloud.words import counted
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.store import ObjectStore
from edge_agent.store.uri import split_uri

if TYPE_CHECKING:
    from cloud.dataset.index import VideoIndex
    from cloud.extract import Target
    from cloud.pipeline import Progress, Result

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
DESK_LIBRARIES = frozenset({"defusedxml", "markdown_it", "matplotlib", "starlette", "uvicorn"})
"""What only the extra ``curate`` installs: the commands for people at a desk import it where they need it."""

app = typer.Typer(
    name="edge-cloud",
    help="From uploaded videos to frames, contact sheets and labelling manifests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"edge-cloud {version('edge-capture')}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command("extract")
def extract_command(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Files, directories, s3://bucket/prefix.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Dataset: a directory or s3://bucket.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Videos at once, a process each.")] = 1,
    every: Every = None,
    seconds: Seconds = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
    config: ConfigFile = None,
) -> None:
    """Make frames, contact sheet, index and manifest lines of videos.

    A video is named <color>_<object>_<take>, for instance blue_box_1.mp4. A bad video is reported at the end and holds
    up no other. Videos that were extracted before with the same settings cost next to nothing. With --jobs, a process
    that is killed for want of memory fails its video alone; the report keeps the order of the videos.
    """
    from cloud.extract import Extractor, extract, find

    settings = settings_of(config, every, seconds, fields, endpoint_url, dataset=out)
    targets = find(videos, endpoint_url)
    dataset = open_dataset(settings)
    with _bars(len(targets)) as started:
        if jobs > 1:
            from cloud.jobs import extract_at_once

            results, failures = extract_at_once(targets, settings, min(jobs, len(targets)), started)
        else:
            results, failures = extract(targets, Extractor(settings, dataset, SystemClock()), started)
    _summary(results, dataset, settings.price_per_label)
    for failure in failures:
        show(failure.error)
    if failures:
        typer.echo(f"{len(failures)} of {counted(len(targets), 'video')} failed", err=True)
        raise typer.Exit(1)


@app.command("watch")
def watch_command(
    config: ConfigFile = None,
    raw: Annotated[str | None, typer.Option("--raw", metavar="DIR", help="Where videos land: a store.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="DIR", help="Where everything goes.")] = None,
    every: Every = None,
    seconds: Seconds = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Process what is there, then exit.")] = False,
) -> None:
    """Process videos as they land in the raw store, under videos/, until stopped.

    Stores are directories or s3://bucket. Every setting can also be given as EDGE_CLOUD_<NAME> in the environment.
    """
    from cloud import logs
    from cloud.bell import Bell, terminating
    from cloud.engine import EventHandler
    from cloud.watch import Watch

    settings = settings_of(config, every, seconds, fields, endpoint_url, dataset=dataset, raw=raw)
    if settings.raw is None:
        raise ConfigInvalid("raw: is missing", where=str(config or "settings"), fix="say where videos land: --raw")
    store = open_dataset(settings)
    results: list[Result] = []
    logs.to_people()
    clock, bell = SystemClock(), Bell()
    handler = EventHandler(settings, clock, bell.check, results.append if once else None)
    watch = Watch(handler, settings.raw.open(), clock, bell, interval)
    with terminating(bell):
        if not once:
            return watch.run()
        failures = watch.run_once()
    _summary(results, store, settings.price_per_label)
    for error in failures:
        show(error)
    if failures:
        raise typer.Exit(1)
    return None


@contextmanager
def _bars(total: int) -> Iterator[Callable[[Target], Callable[[Progress], None]]]:
    """A bar over all videos and one over the current video's frames, where there is a terminal to draw them on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        every_video, one_video = bars.add_task("videos", total=total), bars.add_task("", total=None)
        position = iter(range(total))

        def started(target: Target) -> Callable[[Progress], None]:
            bars.update(every_video, completed=next(position))
            bars.reset(one_video, description=target.label, total=None)
            return lambda done: bars.update(one_video, completed=done.decoded, total=done.expected)

        yield started


def _summary(results: Sequence[Result], dataset: ObjectStore, price_per_label: float) -> None:
    """What was made, what the judges saved, and where it lies."""
    frames = lines = 0
    manifests: dict[str, None] = {}
    for result in results:
        index = result.index
        if index is None:
            continue
        lost = f", {counted(index.decode.lost, 'frame')} lost" if index.decode.lost else ""
        damage = f"{lost} ({'; '.join(index.decode.why)})" if index.decode.why else lost
        typer.echo(
            f"{index.segment.name}: {result.outcome}, {len(index.frames)} of {index.decode.frames} frames sampled"
            f"{damage}, contact sheet {_place(dataset, index.preview)}"
        )
        frames, lines = frames + len(index.frames), lines + len(index.kept)
        manifests[index.manifest] = None
    typer.echo(f"{counted(len(results), 'video')}, {counted(frames, 'frame')}, {counted(lines, 'manifest line')}")
    _savings([result.index for result in results if result.index is not None], price_per_label)
    for key in manifests:
        typer.echo(f"manifest {_place(dataset, key)}")


def _savings(indexes: Sequence[VideoIndex], price_per_label: float) -> None:
    """What is to be labelled, at what price, and what each judge saved of it; nothing where nothing was judged."""
    from cloud.judge.savings import lines, savings, total

    whole = total(savings(index.frames, price_per_label) for index in indexes)
    if whole.frames:
        for line in lines(whole):
            typer.echo(line)


def _place(store: ObjectStore, key: str) -> str:
    uri = store.uri(key)
    return unquote(split_uri(uri).path) if uri.startswith("file://") else uri


app.command("worker")(cli_queue.worker)
app.command("backfill")(cli_queue.backfill)
app.command("fsck")(cli_fsck.fsck)
app.command("export")(cli_export.export)
app.command("import")(cli_export.import_)
app.add_typer(cli_label.label)
cli_label.label.command("review")(cli_label_review.review)
app.add_typer(cli_manifest.group)
cli_manifest.group.command("validate")(cli_manifest_look.validate)
cli_manifest.group.command("show")(cli_manifest_look.show)
cli_manifest.group.command("stats")(cli_manifest_look.stats)
app.command("review")(cli_review.review)


def main() -> None:
    """The console script: every error of this project is one ``error: …`` line (one per fault), never a traceback."""
    try:
        app()
    except EdgeCaptureError as error:
        show(error)
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        if error.name not in DESK_LIBRARIES:
            raise
        show(ConfigInvalid(f"this command needs {error.name}", fix="pip install 'edge-capture[curate]'"))
        sys.exit(ConfigInvalid.exit_status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
