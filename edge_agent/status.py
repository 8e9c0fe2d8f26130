"""What the box does and what it still holds, read from the disk and from the running agent.

The keys of :func:`collect` are the contract of ``edge-agent status --json`` (docs/operations/status.md).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent import quarantine
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Settings
from edge_agent.control import holdings, local
from edge_agent.inventory import Inventory
from edge_agent.jobs import upload_job
from edge_agent.remoting import tuning_of
from edge_agent.segment import format_moment
from edge_agent.spool import Spool
from edge_agent.tombstones import Tombstones
from edge_agent.tuning import tuned
from edge_agent.upload.remux import FORMATS
from edge_agent.upload_process import LEDGER_NAME, build_limits

LAST = 5  # tombstones and quarantined files that are shown one by one


def collect(settings: Settings, clock: Clock | None = None) -> dict[str, Any]:
    """The whole status as JSON types. Works while the agent is stopped. Raises SpoolError."""
    spool = Spool(settings.spool)
    now = (clock or SystemClock()).now().timestamp()
    agents = local.agents(settings.state_directory)
    failed = quarantine.quarantined(spool)
    return {
        "device": settings.device,
        "running": agents.captures or agents.uploads,
        "captures": agents.captures,
        "uploads": agents.uploads,
        "cameras": {name: agents.cameras.get(name, {"state": "not running"}) for name in settings.cameras},
        "spool": {
            directory.name: holdings.count(directory)
            for directory in (spool.recording, spool.ready, spool.uploaded, spool.failed)
        },
        "disk": {**_disk(settings, spool, now), **agents.disk},
        "upload": holdings.ledger(settings.state_directory / LEDGER_NAME, now),
        "limits": _limits(settings, clock or SystemClock()),
        "control": agents.link or None,
        "quarantined": [
            quarantine.as_dict(item) for item in sorted(failed, key=lambda item: item.since, reverse=True)[:LAST]
        ],
        "foreign": [{"path": str(drop.path), "waiting": _videos_in(drop.path)} for drop in settings.foreign],
    }


def _limits(settings: Settings, clock: Clock) -> dict[str, Any]:
    """What uploads may do now by settings and orders, agent or no agent; ``rate`` in bytes a second, None: no limit."""
    limits = build_limits(upload_job(tuned(settings, tuning_of(settings))), clock)
    change = limits.next_change()
    return {
        "paused": limits.paused(),
        "rate": limits.rate(),
        "next_change": None if change is None else format_moment(change),
    }


def _videos_in(directory: Path) -> int | None:
    """How many videos others have dropped that were not taken yet; None where nobody can look."""
    try:
        return sum(path.suffix.lower() in FORMATS and not path.name.startswith(".") for path in directory.iterdir())
    except OSError:
        return None


def _disk(settings: Settings, spool: Spool, now: float) -> dict[str, Any]:
    """How full the disk is, and what was lost to that; bytes. Empty before the first start."""
    if not spool.ready.exists():
        return {}
    disk = Inventory(spool).disk(now)
    stones = Tombstones(settings.state_directory)
    keep = settings.disk.keep_uploaded
    return {
        "used": disk.used,
        "quota": settings.disk.quota,
        "free": disk.free,
        "keep_free": settings.disk.free,
        "keep_uploaded": {"age": keep.age, "size": keep.size},
        "when_full": settings.disk.when_full,
        "dropped": {**asdict(stones.losses()), "last": [asdict(stone) for stone in stones.recent(LAST)]},
    }
