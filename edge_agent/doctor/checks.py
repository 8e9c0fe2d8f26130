"""Which checks there are, for which settings; the whole examination."""

from __future__ import annotations

from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.config import Settings, load
from edge_agent.control.local import agents
from edge_agent.doctor import disk, rights, system
from edge_agent.doctor.cameras import camera_check
from edge_agent.doctor.examination import Check, Patient, examine
from edge_agent.doctor.finding import Finding, fault, ok
from edge_agent.doctor.mqtt import MQTT_CHECK
from edge_agent.doctor.store import STORE, examine_store
from edge_agent.errors import ConfigInvalid

CONFIGURATION = "configuration"


def checks_of(settings: Settings) -> list[Check]:
    """The checks that *settings* give cause for, in the order in which they are shown."""
    return [
        Check((system.AGENT,), system.agent),
        *(camera_check(camera) for camera in settings.cameras),
        Check((system.CLOCK,), system.clock),
        Check((disk.SPEED,), disk.speed),
        Check((disk.ROOM,), disk.room),
        Check((rights.DIRECTORIES,), rights.directories),
        Check((rights.FILES,), rights.secrets),
        Check(STORE, examine_store, seconds=60.0),
        *([MQTT_CHECK] if settings.control.mqtt else []),
        Check((system.VERSIONS,), system.versions),
    ]


def examine_box(path: Path, clock: Clock) -> list[Finding]:
    """Everything that can be found out about the box whose settings file is *path*. Changes nothing, agent or none."""
    try:
        settings = load(path)
    except ConfigInvalid as error:
        faults = [fault(CONFIGURATION, line, "correct it; or begin anew: edge-agent init") for line in _lines(error)]
        return [*faults, system.installed()]
    seen = f"{path}: device {settings.device}, {len(settings.cameras)} camera(s), store {settings.store.url}"
    state = settings.state_directory
    patient = Patient(settings, path, clock, agents(state))
    return [ok(CONFIGURATION, seen), *examine(patient, checks_of(settings))]


def _lines(error: ConfigInvalid) -> list[str]:
    return str(error).splitlines()
