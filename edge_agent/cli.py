"""``edge-agent``: what a person types on the box."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge_agent import __version__
from edge_agent.cli_page import commands as page_commands
from edge_agent.cli_service import commands as service_commands
from edge_agent.cli_setup import commands as setup_commands
from edge_agent.cli_upload import commands as upload_commands
from edge_agent.errors import EdgeCaptureError
from edge_agent.shell import DEFAULT_CONFIG, ConfigOption, JsonOption, run_obeying, stop_on_signals

app = typer.Typer(
    name="edge-agent",
    help="Record class-tagged video segments on a camera box and sync them to an object store.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-agent {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version_option: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


def _run_agent(config: Path, *, capture: bool, upload: bool, greengrass: bool = False) -> None:
    from edge_agent import telemetry
    from edge_agent.app import Agent
    from edge_agent.clock import SystemClock
    from edge_agent.config import load
    from edge_agent.control.journal import Journal
    from edge_agent.notify import take_manager

    manager = take_manager(os.environ)
    nucleus = None
    if greengrass:
        from edge_agent.component import settings_of_component
        from edge_agent.control.nucleus import Nucleus

        nucleus = Nucleus.of_environment(os.environ)
        telemetry.configure()
        settings = settings_of_component(nucleus, config, SystemClock())
    else:
        settings = load(config)
    journal = Journal()
    telemetry.configure(settings.log.level, settings.log.format, journal.add)
    agent = Agent(
        settings,
        SystemClock(),
        capture=capture,
        upload=upload,
        path=config,
        journal=journal,
        manager=manager,
        nucleus=nucleus,
    )
    run_obeying(agent.run, agent.stop, agent.reload)


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    greengrass: Annotated[
        bool, typer.Option("--greengrass", help="As a Greengrass component, whose configuration makes that file.")
    ] = False,
) -> None:
    """Record all cameras and upload what they record, until stopped."""
    _run_agent(config, capture=True, upload=True, greengrass=greengrass)


@app.command()
def capture(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Record all cameras into the spool; upload nothing."""
    _run_agent(config, capture=True, upload=False)


@app.command()
def upload(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Upload what is in the spool, and what comes; record nothing."""
    _run_agent(config, capture=False, upload=True)


@app.command()
def record(
    name: Annotated[str, typer.Option(help="Name of the take: class fields and a take, as in yellow_box_3.")],
    source: Annotated[str, typer.Option(help="Camera URL, as in opencv://0 or rtsp://host/path.")],
    out: Annotated[Path, typer.Option(help="Directory the video is put into.")] = Path(),
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop by itself after this long.")] = None,
    fields: Annotated[str, typer.Option(help="Class fields of the name, in order.")] = "color,object",
) -> None:
    """Record one take with a given name until q or Ctrl-C."""
    from edge_agent.take import record_take

    record_take(name, source, out, seconds, tuple(fields.split(",")), stop_on_signals())


@app.command("check-config")
def check_config(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check a settings file; every fault is named."""
    from edge_agent.config import load
    from edge_agent.identity import unseen_files

    settings = load(config)
    cameras = ", ".join(settings.cameras)
    if settings.store.iot and (unseen := unseen_files(settings.store.iot)):
        typer.echo(f"{config}: store.iot: not there for this user to look at: {', '.join(unseen)}")
    typer.echo(f"{config}: ok: device {settings.device}, cameras {cameras}, store {settings.store.url}")


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what the cameras do and what waits for upload."""
    from edge_agent.config import load
    from edge_agent.status import collect
    from edge_agent.status_table import show

    report = collect(load(config))
    typer.echo(json.dumps(report, indent=1)) if as_json else show(report)


CameraArgument = Annotated[str, typer.Argument(help="Camera, as the settings name it.")]
SpanOption = Annotated[str | None, typer.Option("--for", help="Ends by itself after 90s, 10m, 1h30m, 2d.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Ends by itself at 18:30, or at an ISO time.")]


@app.command()
def label(
    camera: CameraArgument,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE…", help="The class, as in color=yellow object=box.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Back to the configured class.")] = False,
    span: SpanOption = None,
    until: UntilOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Set the class a camera records under, from the next keyframe on; it survives a reboot. Tells what is in force."""
    from edge_agent.config import load
    from edge_agent.operate import label_command, order

    settings = load(config)
    order(settings, config, label_command(settings, camera, values or [], clear=clear, span=span, until=until))


@app.command()
def start(camera: CameraArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Start an on_demand camera, or end the pause of any other; it survives a reboot."""
    from edge_agent.config import load
    from edge_agent.control.commands import StartRecording
    from edge_agent.operate import order

    order(load(config), config, StartRecording(camera))


@app.command()
def stop(camera: CameraArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let a camera record nothing until it is started again, whatever its mode; it survives a reboot."""
    from edge_agent.config import load
    from edge_agent.control.commands import StopRecording
    from edge_agent.operate import order

    order(load(config), config, StopRecording(camera))


@app.command("pause-upload")
def pause_upload(span: SpanOption = None, until: UntilOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Upload nothing, from this second on, until resumed; it survives a reboot. Recording goes on."""
    from edge_agent.config import load
    from edge_agent.operate import order_upload

    order_upload(load(config), on=False, span=span, until=until)


@app.command("resume-upload")
def resume_upload(span: SpanOption = None, until: UntilOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a pause of uploads; with an end, also one of the timetable. Needed at all where uploads are on demand."""
    from edge_agent.config import load
    from edge_agent.operate import order_upload

    order_upload(load(config), on=True, span=span, until=until)


app.add_typer(upload_commands)
app.add_typer(page_commands)
app.add_typer(service_commands)
app.add_typer(setup_commands)


@app.command()
def demo(
    source: Annotated[str | None, typer.Option(help="Camera URL instead of the bundled clip.")] = None,
    out: Annotated[Path, typer.Option(help="Directory for everything the demo makes; emptied first.")] = Path(
        "demo-output"
    ),
    seconds: Annotated[float, typer.Option(min=2, max=600, help="How long to record a live camera.")] = 15,
) -> None:
    """Run the whole loop on this machine: a real clip as the camera, a directory as the cloud."""
    from edge_agent.demo import run_demo

    run_demo(source, out, seconds, stop_on_signals())


def main() -> NoReturn:
    """Entry point: our errors become one line each and their exit status; nobody sees a traceback."""
    try:
        app()
    except EdgeCaptureError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
