"""What an operator wants of each camera, durable on disk: it survives a reboot without a network.

One file, replaced as a whole. Capture processes look at it several times a second (one ``stat``), so that a change
takes effect wherever it comes from: the shell, the page, the shadow.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.errors import NameInvalid, SpoolUnusable
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
            cameras = _section(document, "cameras")
            _section(cameras, camera)["class"] = {
                "values": tag.as_dict(),
                "set_by": set_by,
                "set_at": format_moment(now),
            }
            write_durably(self.path, (json.dumps(document, indent=1) + "\n").encode())

    def class_of(self, camera: str) -> TagChoice | None:
        """The class wanted for *camera*; None when nobody set one, or it does not fit the configured fields.

        Raises SpoolError when the file is there and cannot be read.
        """
        try:
            wanted = self._document()["cameras"][camera]["class"]
            tag = ClassTag.of(dict(wanted["values"]), self._fields)
            return TagChoice(tag, str(wanted["set_by"]), str(wanted["set_at"]))
        except (KeyError, TypeError, ValueError, NameInvalid):
            return None

    def signature(self) -> tuple[int, int]:
        """Changes whenever the file does; cheap."""
        try:
            with os_errors(self.path):
                status = self.path.stat()
        except SpoolUnusable:
            return (0, 0)  # not there; whether that is well is for those to say who read it
        return (status.st_ino, status.st_mtime_ns)

    def _document(self) -> dict[str, Any]:
        with os_errors(self.path):
            try:
                document = json.loads(self.path.read_bytes())
            except (FileNotFoundError, ValueError, RecursionError):
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


def _section(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under *key*, a new one where there is none or something else stands."""
    if not isinstance(document.get(key), dict):
        document[key] = {}
    section: dict[str, Any] = document[key]
    return section
