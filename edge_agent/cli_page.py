"""``edge-agent web-link | snapshot | logs``: what a person looks at."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.errors import ConfigInvalid, SourceUnreachable
from edge_agent.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, stop_on_signals

if TYPE_CHECKING:
    from edge_agent.config import Settings

commands = typer.Typer()
FOLLOW_SECONDS = 0.5
ANSWER_SECONDS = 8.0  # the agent waits up to five seconds for a picture


@commands.command("web-link")
def web_link(
    new: Annotated[bool, typer.Option("--new", help="Make another token: every browser must be let in again.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the link that opens the page on a phone, also as a QR code. Whoever has it may do what the page can."""
    from edge_agent.config import load
    from edge_agent.web_link import link, terminal_code

    settings = load(config)
    if settings.web is None:
        raise ConfigInvalid("there is no page", where=str(config), fix="add 'web: {listen: 0.0.0.0:8080}'")
    url = link(settings.web, settings.state_directory, new=new)
    if "#" in url:
        typer.echo(terminal_code(url))
        typer.echo(url)
    else:
        typer.echo(f"{url}  for this box alone; with web.listen 0.0.0.0:8080 there is a link for a phone")


@commands.command()
def snapshot(
    camera: Annotated[str, typer.Argument(help="Camera, as the settings name it.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: <camera>.jpg here.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Save what a camera shows now, from the running agent, as a JPEG."""
    from edge_agent.config import load
    from edge_agent.durable import os_errors

    settings = load(config)
    if camera not in settings.cameras:
        known = ", ".join(settings.cameras)
        raise ConfigInvalid(f"no camera is called '{camera}'", where=str(config), fix=f"there is: {known}")
    answer = _ask(settings, {"command": "snapshot", "camera": camera})
    if "jpeg" not in answer:
        raise SourceUnreachable("gives no picture now", where=camera, fix="see 'edge-agent status'")
    path = out or Path(f"{camera}.jpg")
    with os_errors(path):
        path.write_bytes(base64.b64decode(answer["jpeg"]))
    typer.echo(f"{path}: {answer['age']:.1f} s old")


@commands.command()
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=500, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
    trouble: Annotated[bool, typer.Option("--trouble", help="Only warnings and errors.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the last lines of the running agent's log; all of it is where standard error goes, as in the journal."""
    from edge_agent.clock import SystemClock
    from edge_agent.config import load

    settings = load(config)
    stop = stop_on_signals()
    request = {"command": "logs", "limit": lines, "trouble": trouble}
    while True:
        answer = _ask(settings, request)
        for line in answer.get("lines", []):
            typer.echo(json.dumps(line) if as_json else _told(line))
        if not follow or SystemClock().wait(stop, FOLLOW_SECONDS):
            return
        request |= {"after": answer.get("number", 0), "limit": 500}


def _ask(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    """The agent that captures, or else the one that uploads. Raises NotRunning."""
    from edge_agent.control import local

    state = settings.state_directory
    name = local.SOCKET_NAME if (state / local.SOCKET_NAME).exists() else local.UPLOAD_SOCKET_NAME
    if not (state / name).exists():
        name = local.SOCKET_NAME
    return local.ask(state / name, request, ANSWER_SECONDS)


def _told(line: dict[str, Any]) -> str:
    """``20:31:07 warning camera_lost camera=cam1 error=…``."""
    rest = {key: value for key, value in line.items() if key not in ("event", "level", "timestamp")}
    said = " ".join(f"{key}={value}" for key, value in rest.items())
    return f"{line.get('timestamp', '')} {line.get('level', ''):<7} {line.get('event', '')} {said}".rstrip()
