"""``edge-agent install | uninstall``: the agent as a service of this machine, or of an image."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()

RootOption = Annotated[Path, typer.Option(help="Root directory of an image to change instead of this machine.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the steps and do none of them.")]


@commands.command()
def install(
    split: Annotated[
        bool,
        typer.Option("--split", help="Two units: cameras without network, network without cameras."),
    ] = False,
    prefix: Annotated[
        Path | None, typer.Option(help="Virtual environment the units start the agent from; default: this one.")
    ] = None,
    root: RootOption = Path("/"),
    dry_run: DryRunOption = False,
) -> None:
    """Make the agent a service: user, directory, settings, units. Settings that are there stay. Can be run again."""
    from edge_agent.installation import check_prefix, install_plan, look, outside, require_root
    from edge_agent.steps import take

    if not dry_run:
        require_root(os.geteuid())
    home = Path(sys.prefix) if prefix is None else prefix
    place = root.resolve()
    check_prefix(home, place)
    places = outside(place)
    take(install_plan(look(place), home, split=split, places=places), place, dry_run=dry_run)


@commands.command()
def uninstall(
    purge: Annotated[
        bool, typer.Option("--purge", help="Settings, user and footage, too, also what was not uploaded.")
    ] = False,
    root: RootOption = Path("/"),
    dry_run: DryRunOption = False,
) -> None:
    """Stop the service and remove its units. Settings and footage stay, unless --purge; says where they lie."""
    from edge_agent.installation import find_footage, look, require_root, uninstall_plan
    from edge_agent.steps import take

    if not dry_run:
        require_root(os.geteuid())
    place = root.resolve()
    take(uninstall_plan(look(place), find_footage(place), purge=purge), place, dry_run=dry_run)
