"""Was a command applied? Says so from what the camera's status tells, or says when it will be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from edge_agent.capture.gate import GateState
from edge_agent.clock import Clock
from edge_agent.control.commands import Command, Desired, StartRecording, StopRecording, TagChoice, in_force
from edge_agent.control.local import NotRunning

WAIT_SECONDS = 4.0  # a keyframe a second and a status a second are met twice within it
LOOK_SECONDS = 0.1

Statuses = Callable[[], dict[str, Any]]
"""The running agent's cameras' statuses by name; raises NotRunning."""


def await_applied(
    command: Command, desired: Desired, default: TagChoice | None, statuses: Statuses, clock: Clock
) -> str:
    """One line that tells what is in force of *command* within a few seconds. Raises nothing."""
    until = clock.monotonic() + WAIT_SECONDS
    never = threading.Event()
    while True:
        try:
            status = statuses().get(command.camera, {})
        except NotRunning:
            return "recorded; takes effect when the agent starts"
        if line := told(command, desired, default, status, clock.now()):
            return line
        if clock.monotonic() >= until:
            break
        clock.wait(never, LOOK_SECONDS)
    if not status.get("gate"):
        return f"recorded; takes effect when the camera is back ({status.get('state', 'not started')})"
    return "recorded; takes effect at the next keyframe"


def told(
    command: Command, desired: Desired, default: TagChoice | None, status: dict[str, Any], now: datetime
) -> str | None:
    """What *status* says is in force of *command*; None while it is not. Pure."""
    gate, segment = status.get("gate"), status.get("segment")
    match command:
        case StopRecording():
            return "stopped: nothing is recorded" if gate == GateState.OFF and not segment else None
        case StartRecording():
            if gate == GateState.OPEN and status.get("wanted") and not segment:
                return None  # waits for its first keyframe
            return f"started: {_doing(status)}" if gate and gate != GateState.OFF else None
    choice = in_force(desired, default, now)
    wanted = str(choice.tag) if choice else None
    set_at = choice.set_at if choice else None
    if not gate or (status.get("wanted"), status.get("wanted_at")) != (wanted, set_at):
        return None
    if status.get("tag") != wanted and (segment or gate == GateState.OPEN):
        return None  # the segment before it is still open, or its own is not yet
    end = f" until {choice.until.astimezone():%Y-%m-%d %H:%M:%S}" if choice and choice.until else ""
    return f"{wanted or 'no class'}{end}: {_doing(status)}"


def _doing(status: dict[str, Any]) -> str:
    """What the camera does now, for a person."""
    if status.get("segment"):
        return f"recording {status['segment']}"
    if status.get("gate") == GateState.OPEN:
        return "nothing is recorded without a class"
    return f"nothing is recorded now ({status.get('gate')})"
