"""``edge-agent status`` for a person: what :func:`edge_agent.status.collect` found, as wide as the terminal is."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))


def show(report: dict[str, Any]) -> None:
    """Print *report*."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(report['device'])}[/bold]  {_role(report)}")
    cameras = _table("camera", "state", "gate", "class", "take", "seconds")
    for name, camera in report["cameras"].items():
        take = str(camera.get("segment") or "").rpartition("_")[2]
        cells = [camera.get("state"), camera.get("gate"), camera.get("wanted"), take, camera.get("seconds")]
        cameras.add_row(name, *("-" if cell in (None, "") else escape(str(cell)) for cell in cells))
    console.print(cameras)
    for name, camera in report["cameras"].items():
        if camera.get("problem"):
            _say(console, name, str(camera["problem"]), "red")
    spool = _table("spool", "segments", "MB")
    for name, count in report["spool"].items():
        spool.add_row(name, str(count["segments"]), f"{count['bytes'] / 1e6:,.1f}")
    console.print(spool)
    if report["disk"]:
        _show_disk(console, report["disk"])
    if report["upload"]:
        _show_upload(console, report["upload"])
    if report["limits"]["paused"]:
        _say(console, "uploads pause", report["limits"]["paused"], "yellow")
    if report["control"]:
        _show_control(console, report["control"])
    for drop in report["foreign"]:
        waiting = "cannot be read" if drop["waiting"] is None else f"{drop['waiting']} not taken yet"
        _say(console, "foreign", f"{drop['path']}: {waiting}")
    for item in report["quarantined"]:
        _say(console, "failed", f"{item['stem']}: {item['reason'] or 'no reason was noted'}", "red")


def span(seconds: float) -> str:
    """*seconds* as a person says them: the largest unit of which there is one, with one decimal."""
    for unit, name in _STEPS:
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def _role(report: dict[str, Any]) -> str:
    if report["captures"] and report["uploads"]:
        return "agent is running"
    if report["running"]:
        return f"agent is running, {'capture' if report['captures'] else 'upload'} only"
    return "agent is not running"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _say(console: Console, what: str, text: str, style: str = "bold") -> None:
    console.print(f"[{style}]{what}:[/{style}] {escape(text)}", soft_wrap=True)


def _show_upload(console: Console, upload: dict[str, Any]) -> None:
    if upload["waiting"]:
        text = f"{upload['waiting']:,} segments, {upload['waiting_bytes'] / 1e6:,.1f} MB"
        if upload["oldest_waiting"]:
            text += f", since {upload['oldest_waiting']}"
        _say(console, "queue", text)
    else:
        _say(console, "queue", "empty")
    if upload["rate"] or upload["in_flight"]:
        text = f"{upload['rate'] / 1e3:,.0f} kB/s, {upload['in_flight']} of up to {upload['streams']} at once"
        _say(console, "sending", text + (f", about {span(upload['eta'])} to go" if upload["eta"] is not None else ""))
    if upload["link"]:
        _say(console, "waiting", f"{upload['link']} (since {upload['link_since']})", "red")
    elif upload["last_error"]:
        stem = f"{upload['last_error_stem']}: " if upload["last_error_stem"] else ""
        _say(console, "last error", f"{stem}{upload['last_error']} ({upload['last_error_at']})")
    if upload["last_uploaded"]:
        _say(console, "last upload", f"{upload['last_uploaded']['stem']} ({upload['last_uploaded']['at']})")
    counts = ", ".join(f"{number:,} {state}" for state, number in upload["counts"].items() if number)
    _say(console, "ledger", counts or "nothing yet")


def _show_control(console: Console, control: dict[str, Any]) -> None:
    """The link by which the device shadow is obeyed and told."""
    waiting = f", {control['waiting']:,} messages wait" if control["waiting"] else ""
    waiting += f", {control['dropped']:,} dropped" if control["dropped"] else ""
    if control["up"]:
        _say(console, "shadow", f"connected as {control['thing']}{waiting}")
    if control["problem"] or not control["up"]:
        text = control["problem"] or "not connected"
        _say(console, "shadow", text if control["up"] else f"{text}{waiting}", "red")


def _show_disk(console: Console, disk: dict[str, Any]) -> None:
    quota = f" of {disk['quota'] / 1e6:,.0f}" if disk["quota"] is not None else ""
    free = f"{disk['free'] / 1e6:,.0f} MB free ({disk['keep_free'] / 1e6:,.0f} to be kept free)"
    _say(console, "disk", f"{disk['used'] / 1e6:,.1f}{quota} MB used, {free}")
    if disk.get("paused"):
        _say(console, "recording pauses", disk["paused"], "red")
    if disk.get("pauses"):
        _say(console, "pauses since start", str(disk["pauses"]))
    lost = disk["dropped"]
    if lost["segments"]:
        text = f"{lost['segments']:,} segments, {lost['frames']:,} frames, {lost['bytes'] / 1e6:,.1f} MB"
        _say(console, "dropped unsent", text, "red")
        for stone in lost["last"]:
            console.print(f"  {escape(stone['stem'])} ({stone['dropped_at']})", soft_wrap=True)
