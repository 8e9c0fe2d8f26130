"""What the box does and what it still holds, read from the disk and from the running agent."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.app import LEDGER_NAME
from edge_agent.clock import SystemClock
from edge_agent.config import Settings
from edge_agent.control import local
from edge_agent.durable import os_errors
from edge_agent.inventory import Inventory
from edge_agent.spool import PART_SUFFIX, VIDEO_SUFFIX, Spool
from edge_agent.tombstones import Tombstones

if TYPE_CHECKING:
    from rich.console import Console


def collect(settings: Settings) -> dict[str, Any]:
    """The whole status as JSON types. Works while the agent is stopped. Raises SpoolError."""
    spool = Spool(settings.spool)
    try:
        answer = local.ask(settings.state_directory / local.SOCKET_NAME, {"command": "status"})
        cameras, disk = answer.get("cameras", {}), answer.get("disk", {})
        running = True
    except local.NotRunning:
        cameras, disk, running = {}, {}, False
    return {
        "device": settings.device,
        "running": running,
        "cameras": {name: cameras.get(name, {"state": "not running"}) for name in settings.cameras},
        "spool": {
            directory.name: _count(directory)
            for directory in (spool.recording, spool.ready, spool.uploaded, spool.failed)
        },
        "disk": {**_disk(settings, spool), **disk},
        "upload": _ledger(settings.state_directory / LEDGER_NAME),
    }


def _count(directory: Path) -> dict[str, int]:
    totals: Counter[str] = Counter(segments=0, bytes=0)
    with os_errors(directory):
        if not directory.exists():  # the agent never ran
            return dict(totals)
        for path in directory.iterdir():
            if path.name.endswith((VIDEO_SUFFIX, PART_SUFFIX)):
                with contextlib.suppress(FileNotFoundError):  # it has moved on in this moment
                    totals["bytes"] += path.stat().st_size
                    totals["segments"] += 1
    return dict(totals)


def _disk(settings: Settings, spool: Spool) -> dict[str, Any]:
    """How full the disk is, and what was lost to that; bytes. Empty before the first start."""
    if not spool.ready.exists():
        return {}
    disk = Inventory(spool).disk(SystemClock().now().timestamp())
    losses = Tombstones(settings.state_directory).losses()
    return {
        "used": disk.used,
        "quota": settings.disk.quota,
        "free": disk.free,
        "keep_free": settings.disk.free,
        "when_full": settings.disk.when_full,
        "dropped": {"segments": losses.segments, "frames": losses.frames, "bytes": losses.bytes},
    }


def _ledger(path: Path) -> dict[str, Any]:
    """What the uploader noted; empty before its first start."""
    from edge_agent.upload.rows import read_status

    if not path.exists():
        return {}
    status, _ = read_status(path)
    return {
        "counts": {state.value: number for state, number in status.counts.items()},
        "waiting": status.waiting,
        "waiting_bytes": status.waiting_bytes,
        "link": status.link.message if status.link else None,
        "last_error": status.last_error.message if status.last_error else None,
    }


def show(report: dict[str, Any]) -> None:
    """Print *report* as tables."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{report['device']}[/bold]  agent {'is running' if report['running'] else 'is not running'}")
    cameras = Table("camera", "state", "gate", "class", "segment", "seconds", "problem", box=None, pad_edge=False)
    for name, camera in report["cameras"].items():
        cells = [camera.get(key) for key in ("state", "gate", "wanted", "segment", "seconds", "problem")]
        cameras.add_row(name, *("-" if cell in (None, "") else escape(str(cell)) for cell in cells))
    console.print(cameras)
    spool = Table("spool", "segments", "MB", box=None, pad_edge=False)
    for name, count in report["spool"].items():
        spool.add_row(name, str(count["segments"]), f"{count['bytes'] / 1e6:.1f}")
    console.print(spool)
    if report.get("disk"):
        _show_disk(console, report["disk"])
    upload = report["upload"]
    if upload:
        counts = ", ".join(f"{number} {state}" for state, number in upload["counts"].items() if number)
        console.print(f"upload: {counts or 'nothing yet'}")
        if upload["link"]:
            console.print(f"[red]waiting:[/red] {escape(upload['link'])}", highlight=False)
        elif upload["last_error"]:
            console.print(f"last error: {escape(upload['last_error'])}", highlight=False)


def _show_disk(console: Console, disk: dict[str, Any]) -> None:
    from rich.markup import escape

    quota = f" of {disk['quota'] / 1e6:,.0f}" if disk["quota"] is not None else ""
    console.print(
        f"disk: {disk['used'] / 1e6:,.1f}{quota} MB used, {disk['free'] / 1e6:,.0f} MB free"
        f" ({disk['keep_free'] / 1e6:,.0f} to be kept free)",
        highlight=False,
    )
    if disk.get("paused"):
        console.print(f"[red]recording pauses:[/red] {escape(disk['paused'])}", highlight=False)
    if disk.get("pauses"):
        console.print(f"pauses since start: {disk['pauses']}", highlight=False)
    if disk["dropped"]["segments"]:
        lost = disk["dropped"]
        console.print(
            f"[red]dropped unsent:[/red] {lost['segments']} segments, {lost['frames']} frames,"
            f" {lost['bytes'] / 1e6:,.1f} MB",
            highlight=False,
        )
