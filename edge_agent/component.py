"""The agent as a Greengrass component: its settings come with the deployment, and bad ones are told the nucleus.

The component's configuration holds the whole settings file under ``Agent``, or names one of the box in ``ConfigFile``.
Either way the file in force stands at one path, in the component's work directory, so that every other command, and a
start while the nucleus is away, find it: a file of its own, or a link.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
import yaml

from edge_agent.backoff import backoff
from edge_agent.clock import Clock
from edge_agent.config import Settings, load
from edge_agent.control.nucleus import ComponentState, Ipc, Nucleus
from edge_agent.durable import fsync_directory, os_errors, write_durably
from edge_agent.errors import ConfigInvalid, ControlError, ControlUnreachable, EdgeCaptureError
from edge_agent.redact import safe

log = structlog.get_logger()

AGENT, CONFIG_FILE = "Agent", "ConfigFile"
_NUCLEUS_S_OWN = "accessControl"
PATIENCE_SECONDS = 30.0
"""How long a nucleus that does not answer is waited for where the settings of an earlier start are at hand."""
PRIVATE = 0o077  # as the systemd unit's UMask: settings and footage are for the component's user alone


def settings_of_component(nucleus: Nucleus, path: Path, clock: Clock) -> Settings:
    """The settings in force, which stand at *path* from now on.

    Waits for a nucleus that does not answer: for ever, unless an earlier start has left settings. Raises ConfigInvalid,
    ControlRefused or a SpoolError for *path*; the nucleus has then been told that the component is in error.
    """
    os.umask(PRIVATE)
    try:
        configuration = _configuration(nucleus, clock, patience=PATIENCE_SECONDS if path.exists() else None)
        if configuration is not None:
            place(chosen(configuration), path)
        settings = load(path)
        if settings.control.mqtt is not None:
            raise ConfigInvalid(
                "the nucleus holds the connection of this thing, and a second one would throw it out",
                where=f"{path}: control.mqtt",
                fix="remove it; a component's link goes through the nucleus",
            )
    except EdgeCaptureError:
        _report_error(nucleus)
        raise
    log.info("component_configured", settings=str(path), fresh=configuration is not None)
    return settings


def chosen(configuration: Mapping[str, Any]) -> Mapping[str, Any] | Path:
    """The settings in the component's *configuration*, or the file it names. Pure. Raises ConfigInvalid."""
    where = "component configuration"
    for key in configuration:
        if key not in (AGENT, CONFIG_FILE, _NUCLEUS_S_OWN):
            raise ConfigInvalid("is unknown", where=f"{where}: {safe(str(key))[:40]}", fix=f"{AGENT} or {CONFIG_FILE}")
    agent, file = configuration.get(AGENT), configuration.get(CONFIG_FILE)
    if agent:
        if not isinstance(agent, dict):
            raise ConfigInvalid("is no object", where=f"{where}: {AGENT}", fix="put the settings into it")
        return agent
    if not isinstance(file, str) or not file.startswith("/"):
        raise ConfigInvalid("is no absolute path", where=f"{where}: {CONFIG_FILE}", fix=f"name a file, or give {AGENT}")
    return Path(file)


def place(settings: Mapping[str, Any] | Path, path: Path) -> None:
    """Let *path* be these settings, durably and at once. Scalars stay as they are: the schema says what they mean.

    Raises SpoolError.
    """
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(settings, Path):
            scratch = path.with_name(f".{path.name}.link")
            scratch.unlink(missing_ok=True)
            scratch.symlink_to(settings)
            scratch.replace(path)
            fsync_directory(path.parent)
        else:
            text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
            write_durably(path, f"# Written from the component's configuration; change that.\n{text}".encode())


def _configuration(nucleus: Nucleus, clock: Clock, patience: float | None) -> dict[str, Any] | None:
    """The component's configuration; None when the nucleus has not answered for *patience* seconds."""
    began, never, attempt = clock.monotonic(), threading.Event(), 0
    while True:
        try:
            return _asked(nucleus)
        except ControlUnreachable as error:
            attempt += 1
            left = None if patience is None else began + patience - clock.monotonic()
            if left is not None and left <= 0:
                log.warning("nucleus_unreachable", error=str(error), settings="as at the last start")
                return None
            wait = backoff(attempt) if left is None else min(backoff(attempt), left)
            log.warning("nucleus_unreachable", error=str(error), retry_in=round(wait, 1))
        clock.wait(never, wait)


def _asked(nucleus: Nucleus) -> dict[str, Any]:
    ipc = Ipc.connect(nucleus, lambda _: None)
    try:
        return ipc.configuration()
    finally:
        ipc.close()


def _report_error(nucleus: Nucleus) -> None:
    """A nucleus that cannot be told finds out by the exit status."""
    with suppress(ControlError):
        ipc = Ipc.connect(nucleus, lambda _: None)
        try:
            ipc.report_state(ComponentState.ERRORED)
        finally:
            ipc.close()
