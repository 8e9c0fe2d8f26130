"""The machine: its clock, what is installed, whether an agent runs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import edge_agent
from edge_agent.clock import BUILD_YEAR
from edge_agent.doctor.examination import Patient
from edge_agent.doctor.finding import Finding, fault, ok, warning

CLOCK = "clock"
VERSIONS = "versions"
AGENT = "agent"
_NEEDED = {"av": "nothing is recorded without it", "boto3": "nothing is uploaded without it"}
_OPTIONAL = ("awscrt", "opencv-python-headless")
_SET_CLOCK = "let a time service run (systemd-timesyncd, chrony), or set the clock"


def clock(patient: Patient) -> Iterator[Finding]:
    """Whether times in names can be believed, and requests are signed with the right one."""
    now = patient.clock.now()
    seen = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < BUILD_YEAR:
        yield fault(CLOCK, f"{seen}, which cannot be", _SET_CLOCK)
    elif patient.clock.synchronised():
        yield ok(CLOCK, f"{seen}, synchronised")
    elif patient.clock.setting_expected():
        yield warning(CLOCK, f"{seen}, not synchronised yet", "wait for the time service; `timedatectl` shows it")
    else:
        yield warning(CLOCK, f"{seen}, not synchronised, and no time service runs", _SET_CLOCK)


def agent(patient: Patient) -> Iterator[Finding]:
    """Whether an agent runs on this spool, and what it says of the disk."""
    running = patient.agents
    if running.disk.get("paused"):
        yield fault(AGENT, f"recording pauses: {running.disk['paused']}", "make room; see docs/operations/disk.md")
    elif running.captures or running.uploads:
        roles = " and ".join(
            word for word, does in (("captures", running.captures), ("uploads", running.uploads)) if does
        )
        yield ok(AGENT, f"is running: {roles}")
    else:
        yield ok(AGENT, "is not running")


def versions(_patient: Patient) -> Iterator[Finding]:
    """What this agent is made of, for a report."""
    yield installed()


def installed() -> Finding:
    """The versions, or the fault that something is missing."""
    found = {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)}
    parts = [f"edge-agent {edge_agent.__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {number}" for name, number in found.items() if number]
    if found["av"]:
        import av

        parts.insert(2, "libav " + ".".join(map(str, av.library_versions["libavformat"])))
    parts += [f"{platform.system()} {platform.release()} {platform.machine()}"]
    for name, why in _NEEDED.items():
        if not found[name]:
            return fault(VERSIONS, f"{name} is missing: {why}", f"pip install {name}")
    return ok(VERSIONS, ", ".join(parts))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
