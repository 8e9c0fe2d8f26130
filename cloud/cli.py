"""The command ``edge-cloud``: the cloud side by hand, and on one machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console

from cloud import logs
from cloud.extract import Target, extract, find
from cloud.pipeline import Progress, Result
from cloud.settings import Settings, StoreSettings, load
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.store import ObjectStore

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="edge-cloud",
    help="From uploaded videos to frames, contact sheets and labelling manifests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Every = Annotated[int | None, typer.Option("--every", min=1, metavar="N", help="Sample every Nth frame.")]
Seconds = Annotated[float | None, typer.Option("--seconds", metavar="T", help="Sample one frame per T seconds.")]
Fields = Annotated[
    str | None, typer.Option("--fields", metavar="A,B", help="Class fields in names, in order. [default: color,object]")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", metavar="URL", help="S3-compatible server; AWS when not given.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings in YAML, see config/cloud.yaml.")
]


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
    every: Every = None,
    seconds: Seconds = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
    config: ConfigFile = None,
) -> None:
    """Make frames, contact sheet, index and manifest lines of videos.

    A video is named <color>_<object>_<take>, for instance blue_box_1.mp4. A bad video is reported at the end and holds
    up no other. Videos that were extracted before with the same settings cost next to nothing.
    """
    settings = _settings(config, every, seconds, fields, endpoint_url, dataset=out)
    targets = find(videos, endpoint_url)
    dataset = _dataset(settings)
    with _bars(len(targets)) as started:
        results, failures = extract(targets, dataset, settings, SystemClock(), started)
    _summary(results, dataset)
    for failure in failures:
        _error(failure.error)
    if failures:
        typer.echo(f"{len(failures)} of {_count(len(targets), 'video')} failed", err=True)
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
    from cloud.handler import EventHandler
    from cloud.watch import Bell, Watch, terminating

    settings = _settings(config, every, seconds, fields, endpoint_url, dataset=dataset, raw=raw)
    if settings.raw is None:
        raise ConfigInvalid("raw: is missing", where=str(config or "settings"), fix="say where videos land: --raw")
    store, results = _dataset(settings), list[Result]()
    logs.to_people()
    clock, bell = SystemClock(), Bell()
    handler = EventHandler(settings, clock, bell.check, results.append if once else None)
    watch = Watch(handler, settings.raw.open(), clock, bell, interval)
    with terminating(bell):
        if not once:
            return watch.run()
        failures = watch.run_once()
    _summary(results, store)
    for error in failures:
        _error(error)
    if failures:
        raise typer.Exit(1)
    return None


def _settings(
    config: Path | None,
    every: int | None,
    seconds: float | None,
    fields: str | None,
    endpoint_url: str | None,
    **stores: str | None,
) -> Settings:
    """Settings of file, environment and command line; the last wins."""
    if every is not None and seconds is not None:
        raise ConfigInvalid("--every and --seconds exclude each other", fix="give one of them")
    overrides: dict[str, Any] = {"fields": fields} if fields is not None else {}
    if every is not None or seconds is not None:
        overrides["sampling"] = {"every": every} if every is not None else {"seconds": seconds}
    for name, url in stores.items():
        if url is not None:
            overrides[name] = {"url": url}
    settings = load(config, os.environ, overrides)
    if endpoint_url is None:
        return settings
    update = {"endpoint_url": endpoint_url}
    raw = settings.raw.model_copy(update=update) if settings.raw else None
    return settings.model_copy(update={"raw": raw, "dataset": settings.dataset.model_copy(update=update)})


def _dataset(settings: Settings) -> ObjectStore:
    """The dataset store, reachable; a directory is made when it is not there."""
    directory = _directory(settings.dataset)
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigInvalid(f"cannot be made a directory: {error.strerror}", where=str(directory)) from error
    store = settings.dataset.open()
    store.check()
    return store


def _directory(store: StoreSettings) -> Path | None:
    parts = urlsplit(store.url)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else store.url).expanduser()


@contextmanager
def _bars(total: int) -> Iterator[Callable[[Target], Callable[[Progress], None]]]:
    """A bar over all videos and one over the current video's frames, where there is a terminal to draw them on."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        every_video, one_video = bars.add_task("videos", total=total), bars.add_task("", total=None)
        count = iter(range(total))

        def started(target: Target) -> Callable[[Progress], None]:
            bars.update(every_video, completed=next(count))
            bars.reset(one_video, description=target.label, total=None)
            return lambda done: bars.update(one_video, completed=done.decoded, total=done.expected)

        yield started


def _summary(results: Sequence[Result], dataset: ObjectStore) -> None:
    """What was made, and where it lies."""
    frames = lines = 0
    manifests: dict[str, None] = {}
    for result in results:
        index = result.index
        if index is None:
            continue
        damage = f", {index.decode.lost} frames lost" if index.decode.lost else ""
        typer.echo(
            f"{index.segment.name}: {result.outcome}, {len(index.frames)} of {index.decode.frames} frames sampled"
            f"{damage}, contact sheet {_place(dataset, index.preview)}"
        )
        frames, lines = frames + len(index.frames), lines + len(index.kept)
        manifests[index.manifest] = None
    typer.echo(f"{_count(len(results), 'video')}, {_count(frames, 'frame')}, {_count(lines, 'manifest line')}")
    for key in manifests:
        typer.echo(f"manifest {_place(dataset, key)}")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _place(store: ObjectStore, key: str) -> str:
    uri = store.uri(key)
    return unquote(urlsplit(uri).path) if uri.startswith("file://") else uri


def _error(error: EdgeCaptureError) -> None:
    for line in str(error).splitlines():
        typer.echo(f"error: {line}", err=True)


def main() -> None:
    """The console script: every error of this project is one ``error: …`` line (one per fault), never a traceback."""
    try:
        app()
    except EdgeCaptureError as error:
        _error(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
