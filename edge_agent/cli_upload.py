"""``edge-agent drain | retry | quarantine``: what a person does about uploads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.errors import ConfigInvalid
from edge_agent.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config import Settings

commands = typer.Typer()
quarantine = typer.Typer(no_args_is_help=True, help="What was set aside because it needs a person.")
commands.add_typer(quarantine, name="quarantine")

StemsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="STEM…", help="Segments, as the log, status or the list names them.")
]


@commands.command()
def drain(
    timeout: Annotated[str | None, typer.Option(help="Give up after 90s, 10m, 2h; default: never.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Upload everything, even where uploads are paused; exit 0 only when nothing is left, else 1 with what and why."""
    from edge_agent import telemetry
    from edge_agent.clock import SystemClock
    from edge_agent.config import load
    from edge_agent.drain import Drain, progress_line
    from edge_agent.span import parse_span

    settings = load(config)
    telemetry.configure("error", settings.log.format)
    seconds = parse_span(timeout, "--timeout") if timeout else None
    outcome = Drain(settings, SystemClock(), progress_line).run(stop_on_signals(), seconds)
    progress_line("")
    if as_json:
        typer.echo(json.dumps(outcome.as_dict(), indent=1))
    else:
        typer.echo("\n  ".join(["nothing is left" if outcome.drained else "left:", *outcome.why]))
    raise typer.Exit(0 if outcome.drained else 1)


@commands.command()
def retry(
    stems: StemsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that waits.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Put what was set aside back, too.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Try segments again now instead of at their next time; also the link, when that is what they wait for."""
    from edge_agent.config import load
    from edge_agent.upload.requests import Requests

    settings, wanted = load(config), _chosen(stems, every)
    if failed:
        _release(settings, wanted)
    Requests(settings.state_directory).retry(wanted)
    typer.echo("asked: the uploader tries within a second, or when it starts")


@quarantine.command("list")
def list_quarantined(as_json: JsonOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show what was set aside, and why."""
    from edge_agent.config import load
    from edge_agent.quarantine import as_dict, quarantined, show
    from edge_agent.spool import Spool

    items = quarantined(Spool(load(config).spool))
    typer.echo(json.dumps([as_dict(item) for item in items], indent=1)) if as_json else show(items)


@quarantine.command()
def release(
    stems: StemsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that was set aside.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put segments back into ready/ once they were mended; the uploader begins anew with them."""
    from edge_agent.config import load

    _release(load(config), _chosen(stems, every))


def _chosen(stems: list[str] | None, every: bool) -> list[str] | None:
    """The stems that are meant, None for all. Raises ConfigInvalid when neither or both were said."""
    if bool(stems) == every:
        raise ConfigInvalid("which segments is not clear", where="STEM", fix="name some, or write --all")
    return None if every else stems


def _release(settings: Settings, stems: list[str] | None) -> None:
    from edge_agent.quarantine import chosen, quarantined, release
    from edge_agent.spool import Spool

    spool = Spool(settings.spool)
    for item in chosen(quarantined(spool), stems):
        back: Path = release(spool, item)
        typer.echo(f"released: {back.name}")
