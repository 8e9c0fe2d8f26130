"""What the commands of ``edge-cloud`` share: options, settings, stores, words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer

from cloud.dataset.findings import printable
from cloud.settings import Settings, StoreSettings, load
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.segment import DEFAULT_FIELDS, check_fields
from edge_agent.store import ObjectStore
from edge_agent.store.uri import split_uri

Every = Annotated[int | None, typer.Option("--every", min=1, metavar="N", help="Sample every Nth frame.")]
Seconds = Annotated[float | None, typer.Option("--seconds", metavar="T", help="Sample one frame per T seconds.")]
Fields = Annotated[
    str | None, typer.Option("--fields", metavar="A,B", help="Class fields in names, in order. [default: color,object]")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", metavar="URL", help="S3-compatible server; AWS when not given.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Anything found wrong is an error: nothing is written, exit with 1.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings in YAML, see config/cloud.yaml.")
]


def settings_of(
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


def open_dataset(settings: Settings) -> ObjectStore:
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
    parts = split_uri(store.url)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else store.url).expanduser()


def fields_of(text: str | None) -> tuple[str, ...]:
    """The class fields that ``--fields`` names, or the usual ones. Raises ConfigInvalid."""
    return check_fields([name.strip() for name in text.split(",")]) if text is not None else DEFAULT_FIELDS


def show(error: EdgeCaptureError) -> None:
    for line in str(error).splitlines():
        typer.echo(printable(f"error: {line}"), err=True)
