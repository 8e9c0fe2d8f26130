"""What a box still holds: its spool's directories, counted, and its uploader's ledger, summed up."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.durable import os_errors
from edge_agent.segment import format_moment
from edge_agent.spool import PART_SUFFIX, VIDEO_SUFFIX
from edge_agent.upload.rows import FRESH_SECONDS, UploadStatus, read_status


def count(directory: Path) -> dict[str, int]:
    """How many segments lie in *directory*, and their bytes. Raises SpoolError."""
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


def ledger(path: Path, now: float) -> dict[str, Any]:
    """What the uploader noted at *path*; empty before its first start. Raises SpoolError."""
    return summed(read_status(path)[0], now) if path.exists() else {}


def summed(status: UploadStatus, now: float) -> dict[str, Any]:
    """*status* at *now* (epoch seconds) in the words of ``edge-agent status --json``. Pure."""
    progress = status.progress
    fresh = progress if progress and 0 <= now - progress.at <= FRESH_SECONDS else None
    error, sent = status.last_error, status.last_success
    return {
        "counts": {state.value: number for state, number in status.counts.items()},
        "waiting": status.waiting,
        "waiting_bytes": status.waiting_bytes,
        "oldest_waiting": moment(status.oldest_waiting),
        "in_flight": fresh.in_flight if fresh else 0,
        "streams": fresh.streams if fresh else 0,
        "rate": round(fresh.rate) if fresh else 0,
        "eta": None if (seconds := status.eta(now)) is None else round(seconds),
        "paused": (fresh.paused or None) if fresh else None,
        "link": status.link.message if status.link else None,
        "link_since": moment(status.link.since) if status.link else None,
        "last_error": error.message if error else None,
        "last_error_at": moment(error.since) if error else None,
        "last_error_stem": (error.stem or None) if error else None,
        "last_uploaded": {"stem": sent.stem, "at": moment(sent.changed)} if sent else None,
    }


def moment(seconds: float | None) -> str | None:
    """ISO 8601 of *seconds* since the epoch."""
    return None if seconds is None else format_moment(datetime.fromtimestamp(seconds, UTC))
