"""What an operator wants of each camera, durable on disk: it survives a reboot without a network.

One file, replaced as a whole. Capture processes look at it several times a second (one ``stat``), so that a change
takes effect wherever it comes from: the shell, the page, the shadow.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.segment import ClassTag, format_moment
from edge_agent.spool import os_errors, write_durably


@dataclass(frozen=True, slots=True)
class TagChoice:
    """A class, who set it and when (ISO 8601, empty for the configured default)."""

    tag: ClassTag
    set_by: str = "config"
    set_at: str = ""


class DesiredState:
    """The file ``desired.json`` in the state directory."""

    def __init__(self, directory: Path, fields: tuple[str, ...]) -> None:
        self.path = directory / "desired.json"
        self._fields = fields

    def set_class(self, camera: str, tag: ClassTag, set_by: str, now: datetime) -> None:
        """Record *camera* under *tag* from the next cut on. Durable on return. Raises SpoolError."""
        with self._exclusive():
            document = self._document()
            cameras = document.setdefault("cameras", {})
            cameras.setdefault(camera, {})["class"] = {
                "values": tag.as_dict(),
                "set_by": set_by,
                "set_at": format_moment(now),
            }
            write_durably(self.path, (json.dumps(document, indent=1) + "\n").encode())

    def class_of(self, camera: str) -> TagChoice | None:
        """The class wanted for *camera*; None when nobody set one, or it does not fit the configured fields."""
        wanted = self._document().get("cameras", {}).get(camera, {}).get("class")
        if not isinstance(wanted, Mapping) or tuple(wanted.get("values", ())) != self._fields:
            return None
        return TagChoice(ClassTag.of(wanted["values"], self._fields), str(wanted["set_by"]), str(wanted["set_at"]))

    def signature(self) -> tuple[int, int]:
        """Changes whenever the file does; cheap."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}  # never written, or damaged by hand: the configured classes hold
        return document if isinstance(document, dict) else {}

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Two shells at once lose nothing."""
        with os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
