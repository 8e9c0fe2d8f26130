"""What the box says of itself, in words for the person in front of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.capture.gate import GateState

_GATES = {
    GateState.OFF.value: "stopped: nothing is recorded until it is started",
    GateState.WAITING.value: "waits for something to move",
    GateState.OUTSIDE.value: "outside its schedule: nothing is recorded now",
}
_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))
_NOT_SAID = frozenset({"event", "level", "timestamp", "camera", "code", "error", "attempt", "retry_in"})


def camera_words(status: Mapping[str, Any]) -> tuple[str, str]:
    """How a camera with this *status* does: ``ok``, ``idle`` or ``bad``, and why, as ``no packet for 12 s``."""
    state, problem = str(status.get("state", "starting")), str(status.get("problem") or "")
    attempt = status.get("attempt")
    if problem:
        return "bad", f"{problem} (retry {attempt})" if attempt else problem
    if status.get("segment"):
        return "ok", "recording"
    gate = status.get("gate")
    if state == "gate closed" and gate in _GATES:
        return "idle", _GATES[str(gate)]
    if state == "no class set":
        return "idle", "nothing is recorded: choose a class"
    return ("bad" if state == "not running" else "idle"), state


def upload_words(upload: Mapping[str, Any], *, uploads: bool) -> tuple[str, str]:
    """How uploading does, from the ledger's sums; *uploads*: whether an uploader runs here."""
    waiting = f"{upload['waiting']:,} waiting, {size(upload['waiting_bytes'])}" if upload.get("waiting") else ""
    if upload.get("link"):
        return "bad", "; ".join(filter(None, (str(upload["link"]), waiting)))
    if upload.get("paused"):
        return "idle", "; ".join(filter(None, (str(upload["paused"]), waiting)))
    if not uploads:
        return "idle", "; ".join(filter(None, ("no uploader runs here", waiting)))
    if not waiting:
        return "ok", "everything is uploaded" if upload else "nothing to upload yet"
    if upload.get("rate"):
        eta = f", about {span(upload['eta'])} to go" if upload.get("eta") is not None else ""
        return "ok", f"{waiting}; {size(upload['rate'])}/s{eta}"
    return "ok", waiting


def disk_words(disk: Mapping[str, Any]) -> tuple[str, str]:
    """How full the disk is; *disk* in bytes."""
    if disk.get("paused"):
        return "bad", f"recording pauses: {disk['paused']}"
    if disk.get("problem"):
        return "bad", str(disk["problem"])
    if "free" not in disk:
        return "idle", "not looked at yet"
    quota = f" of {size(disk['quota'])}" if disk.get("quota") else ""
    return "ok", f"{size(disk['used'])}{quota} recorded, {size(disk['free'])} free"


def log_words(line: Mapping[str, Any]) -> str:
    """A log line as a sentence: ``cam1: camera lost: no packet for 12 s``."""
    said = str(line.get("event", "")).replace("_", " ")
    parts = [f"{line['camera']}: {said}" if line.get("camera") else said]
    if line.get("error"):
        parts.append(str(line["error"]))
    else:
        parts.append(", ".join(f"{key} {value}" for key, value in line.items() if key not in _NOT_SAID))
    return ": ".join(filter(None, parts))


def size(number: float) -> str:
    """Bytes as a person says them: ``1.2 GB``."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number:.0f} B"


def span(seconds: float) -> str:
    """*seconds* in the largest unit of which there is one."""
    for unit, name in _STEPS:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
