"""``edge-agent label | start | stop | pause-upload | resume-upload``: kept durably, and what of it is in force."""

from __future__ import annotations

import getpass
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Settings
from edge_agent.control import local
from edge_agent.control.applied import await_applied
from edge_agent.control.commands import (
    ClearClass,
    Command,
    PauseUpload,
    ResumeUpload,
    SetClass,
    TagChoice,
    parse_for,
    parse_until,
)
from edge_agent.control.desired import DesiredState
from edge_agent.errors import ConfigInvalid
from edge_agent.jobs import upload_job
from edge_agent.segment import ClassTag, check_name_length
from edge_agent.tuning import tuned
from edge_agent.upload.limits import Allowance, UploadOrder, allowance, until_end


def label_command(
    settings: Settings,
    camera: str,
    values: list[str],
    *,
    clear: bool,
    span: str | None,
    until: str | None,
    clock: Clock | None = None,
) -> Command:
    """What ``label`` was asked for. Raises InvalidInput."""
    if clear:
        if values or span or until:
            raise ConfigInvalid("a class cannot be set and cleared at once", where="--clear", fix="write it alone")
        return ClearClass(camera)
    now = (clock or SystemClock()).now()
    end = _end(span, until, now)
    pairs = [value.partition("=") for value in values]
    wanted = {field: value for field, _, value in pairs}
    if not pairs or len(wanted) < len(pairs) or any(not mark for _, mark, _ in pairs):
        raise ConfigInvalid(
            f"cannot read {' '.join(values)!r}",
            fix="write each FIELD=VALUE once, as in color=yellow object=box, or --clear",
        )
    tag = ClassTag.of(wanted, settings.fields)
    check_name_length(tag, settings.device, camera if camera in settings.cameras else "x")
    return SetClass(camera, tag, end)


def order(settings: Settings, config: Path, command: Command) -> None:
    """Keep *command*, wait a few seconds until it is in force, and print what is.

    The durable file is the only way by which it takes effect, agent or no agent. Raises ConfigInvalid for a camera that
    is not configured, and SpoolError when the command could not be kept.
    """
    camera = command.camera
    if camera not in settings.cameras:
        known = ", ".join(settings.cameras)
        raise ConfigInvalid(f"no camera is called '{camera}'", where=str(config), fix=f"there is: {known}")
    clock = SystemClock()
    state = DesiredState(settings.state_directory, settings.fields)
    desired = state.apply(command, f"shell:{_user()}", clock.now())
    configured = settings.tag_of(camera)

    def statuses() -> dict[str, Any]:
        cameras = local.ask(settings.state_directory / local.SOCKET_NAME, {"command": "status"}).get("cameras")
        return cameras if isinstance(cameras, dict) else {}

    default = TagChoice(configured) if configured else None
    line = await_applied(command, desired, default, statuses, clock)
    if isinstance(command, SetClass) and line.startswith("recorded"):
        line = f"{command.tag}{until_end(command.until)} {line}"
    print(f"{camera}: {line}")


def order_upload(settings: Settings, *, on: bool, span: str | None, until: str | None) -> None:
    """Pause uploads or let them go on, and print what is in force: within a second, where an agent runs.

    Raises ConfigInvalid for a span or an end that is none, and SpoolError when the order could not be kept.
    """
    now = SystemClock().now()
    end = _end(span, until, now)
    state = DesiredState(settings.state_directory, settings.fields)
    order = state.apply_upload(ResumeUpload(end) if on else PauseUpload(end), f"shell:{_user()}", now)
    rules = upload_job(tuned(settings, state.tuning())).rules()
    print(f"upload: {told_upload(allowance(rules, order, now), order)}")


def told_upload(allowed: Allowance, order: UploadOrder) -> str:
    """What holds after *order*, for a person. Pure."""
    if allowed.paused is not None:
        return allowed.paused
    rate = "no limit" if allowed.rate is None else f"at most {allowed.rate / 1024:.0f} KiB a second"
    return f"allowed{until_end(order.until)}, {rate}"


def _end(span: str | None, until: str | None, now: datetime) -> datetime | None:
    """When an order of *now* ends by itself. Raises ConfigInvalid."""
    if span and until:
        raise ConfigInvalid("an order ends once", where="--for and --until", fix="write one of them")
    return parse_for(span, now) if span else parse_until(until, now) if until else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return str(os.getuid())
