"""The disk under the spool: how fast it makes bytes durable, and how much room there is."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.doctor.examination import Patient
from edge_agent.doctor.finding import Finding, fault, ok, warning
from edge_agent.durable import os_errors
from edge_agent.inventory import Inventory
from edge_agent.jobs import rules
from edge_agent.quota import Disk, Plan, Policy, plan, shortage
from edge_agent.spool import Spool

SPEED, ROOM = "disk speed", "disk room"
_SYNCS = 8
_BLOCK = bytes(64 * 1024)  # about what a fragment of a second at 0.5 Mb/s is
# Each camera's writer makes a fragment of a second durable at a time: a disk that takes that long falls behind, one
# that takes a tenth of it leaves no room for a few cameras and the uploader's reading.
_SLOW_SECONDS, _TOO_SLOW_SECONDS = 0.1, 1.0
_MEDIUM = "a worn or cheap SD card does this: put the spool on an SSD, or a card made for video"


def speed(patient: Patient) -> Iterator[Finding]:
    """How long fdatasync takes. Leaves nothing behind: the file never has a name."""
    yield speed_finding(_latencies(existing(patient.settings.spool), patient.clock))


def speed_finding(seconds: Sequence[float]) -> Finding:
    """What the times of some syncs mean. Pure."""
    median, most = statistics.median(seconds), max(seconds)
    seen = f"fdatasync of 64 KiB: median {median * 1000:.1f} ms, longest {most * 1000:.1f} ms, of {len(seconds)}"
    if median >= _TOO_SLOW_SECONDS:
        return fault(SPEED, seen, _MEDIUM)
    if median >= _SLOW_SECONDS or most >= _TOO_SLOW_SECONDS:
        return warning(SPEED, seen, _MEDIUM)
    return ok(SPEED, seen)


def room(patient: Patient) -> Iterator[Finding]:
    """The spool against quota and floor, as the agent's own retention would see it."""
    settings = patient.settings
    policy = rules(settings).policy
    spool = Spool(settings.spool)
    inventory = Inventory(spool)
    if all(path.is_dir() for path in (spool.ready, spool.uploaded, spool.failed)):
        disk = inventory.disk(patient.clock.now().timestamp())
        yield room_finding(disk, policy, plan(inventory.held(settings.disk.priorities), disk, policy))
        return
    with os_errors(settings.spool):
        found = os.statvfs(existing(settings.spool))
    disk = Disk(0, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
    yield room_finding(disk, policy, plan((), disk, policy))


def room_finding(disk: Disk, policy: Policy, wanted: Plan) -> Finding:
    """What *disk* means under *policy*, where retention would do what is *wanted*. Pure."""
    of = f" of {_mb(policy.quota)}" if policy.quota is not None else ""
    seen = f"{_mb(disk.used)}{of} used, {_mb(disk.free)} free, {_mb(policy.free)} to be kept free"
    if wanted.pause:
        return fault(
            ROOM, f"{seen}: recording pauses", f"free {_mb(wanted.missing)}, or lower disk.free or raise disk.quota"
        )
    if any(not item.verified for item in wanted.evict):
        return warning(ROOM, f"{seen}: footage is dropped unsent", "free space, or see why uploads do not keep up")
    if policy.quota is not None and policy.quota > disk.used - shortage(disk, Policy(free=policy.free)):
        return warning(ROOM, f"{seen}: the quota is more than the disk has", "lower disk.quota, or use a larger disk")
    return ok(ROOM, seen)


def existing(path: Path) -> Path:
    """*path*, or where it does not exist yet the directory above it that does."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _latencies(directory: Path, clock: Clock) -> list[float]:
    """Seconds that each of some syncs took. Raises SpoolError."""
    found = []
    with os_errors(directory), tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(_SYNCS):
            file.write(_BLOCK)
            file.flush()
            before = clock.monotonic()
            os.fdatasync(file.fileno())
            found.append(clock.monotonic() - before)
    return found


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
