"""The newest segments in the spool, and how far each has got."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.durable import os_errors
from edge_agent.errors import EdgeCaptureError
from edge_agent.segment import Segment, format_moment
from edge_agent.spool import VIDEO_SUFFIX, Spool
from edge_agent.upload.rows import Row, State

SHOWN = 12
_SENDING = frozenset({State.UPLOADING, State.COMPLETING})


class Recent:
    """Looks into three directories, and reads sidecars, only when something has changed. Used by one thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._signature: tuple[int, ...] = ()
        self._found: list[tuple[str, str]] = []
        self._sidecars: dict[str, Segment | None] = {}

    def look(self, rows: Mapping[str, Row]) -> list[dict[str, Any]]:
        """The newest SHOWN segments, newest first; *rows*: what the ledger knows, by stem. Raises SpoolError."""
        directories = (self._spool.ready, self._spool.uploaded, self._spool.failed)
        with os_errors(self._spool.root):
            present = [directory for directory in directories if directory.exists()]
            signature = tuple(directory.stat().st_mtime_ns for directory in present)
            if signature != self._signature:
                self._found = _newest(present)
                self._sidecars = {stem: self._sidecar(stem, where) for stem, where in self._found}
                self._signature = signature
        return [describe(stem, where, self._sidecars[stem], rows.get(stem)) for stem, where in self._found]

    def _sidecar(self, stem: str, where: str) -> Segment | None:
        if known := self._sidecars.get(stem):
            return known
        try:
            return self._spool.sidecar(self._spool.root / where / (stem + VIDEO_SUFFIX))
        except EdgeCaptureError:  # malformed or just moved on: then only its name is known
            return None


def describe(stem: str, where: str, segment: Segment | None, row: Row | None) -> dict[str, Any]:
    """One segment as the page shows it. Pure."""
    return {
        "stem": stem,
        "class": stem.rpartition("_")[0],
        "camera": segment.camera if segment else None,
        "start": format_moment(segment.start) if segment else None,
        "seconds": round(segment.duration, 1) if segment else None,
        "bytes": segment.size if segment else None,
        "frames": segment.frames if segment else None,
        "state": progress(where, row),
        "problem": row.error if row and row.error and where != "uploaded" else None,
    }


def progress(where: str, row: Row | None) -> str:
    """``waiting``, ``sending``, ``uploaded`` or ``failed``; the directory it lies in is the truth. Pure."""
    if where == "ready":
        return "sending" if row is not None and row.state in _SENDING else "waiting"
    return "uploaded" if where == "uploaded" else "failed"


def _newest(directories: list[Path]) -> list[tuple[str, str]]:
    """Stems and directories' names of the newest segments by the time in their names; what has none comes last."""
    names = {}
    for directory in reversed(directories):  # one on its way from ready/ is in both: shown where it comes from
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(VIDEO_SUFFIX) and not entry.name.startswith("."):
                    names[entry.name.removesuffix(VIDEO_SUFFIX)] = directory.name
    return heapq.nlargest(SHOWN, names.items(), key=lambda item: _stamp(item[0]))


def _stamp(stem: str) -> str:
    """The UTC start in a segment's name, which sorts as text; empty for a hand-made name."""
    stamp = stem.rpartition("-")[2]
    return stamp if stamp.endswith("Z") and stamp[8:9] == "T" else ""
