"""``edge-agent init | doctor``: a box is set up, and looked over."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from edge_agent.shell import DEFAULT_CONFIG, ConfigOption, JsonOption

commands = typer.Typer()


@commands.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Look the box over: cameras, clock, disk, rights, network, credentials, a write; exit 1 when there is a fault."""
    from edge_agent.clock import SystemClock
    from edge_agent.doctor.checks import examine_box
    from edge_agent.doctor.finding import report
    from edge_agent.doctor.table import show

    findings = examine_box(config, SystemClock())
    found = report(findings)
    typer.echo(json.dumps(found, indent=1)) if as_json else show(findings)
    raise typer.Exit(0 if found["ok"] else 1)


@commands.command()
def init(
    config: ConfigOption = DEFAULT_CONFIG,
    device: Annotated[str | None, typer.Option(help="Name of this box; default: the host's.")] = None,
    store: Annotated[str | None, typer.Option(help="s3://bucket, or a directory.")] = None,
    region: Annotated[str | None, typer.Option(help="AWS region of the bucket.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="S3-compatible server; default: AWS.")] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URL", help="A camera, as in cam1=rtsp://user@host/path; may be repeated."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--class", help="Class until somebody sets another: 'color=yellow object=box'.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: what no option says is the default.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a settings file that is there.")] = False,
) -> None:
    """Ask a few questions, try the cameras, and write a commented settings file that passes check-config."""
    from edge_agent.init.flow import Given, initialise

    given = Given(device, store, region, endpoint_url, tuple(camera or ()), tag)
    initialise(config, given, ask=not yes, force=force)
