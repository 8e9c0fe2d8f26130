"""What an operator wants of each camera, durable on disk: it survives a reboot without a network.

One file, replaced as a whole, and the only way by which a command takes effect: capture processes look at it several
times a second (one ``stat``), wherever the change comes from: the shell, the page, the shadow.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.control.commands import ClearClass, Command, Desired, SetClass, Switch, TagChoice, apply
from edge_agent.durable import os_errors, write_durably
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.segment import ClassTag, format_moment, parse_moment


class DesiredState:
    """The file ``desired.json`` in the state directory."""

    def __init__(self, directory: Path, fields: tuple[str, ...]) -> None:
        self.path = directory / "desired.json"
        self._fields = fields

    def apply(self, command: Command, set_by: str, now: datetime) -> Desired:
        """Note what *command* asks for; what is wanted of its camera from now on. Durable on return. Raises SpoolError.

        What the file says of other cameras, and what else it says of this one, stays.
        """
        with self._exclusive():
            document = self._document()
            camera = _section(_section(document, "cameras"), command.camera)
            desired = apply(self._read(camera), command, set_by, now)
            if isinstance(command, SetClass | ClearClass):
                _write_class(camera, desired.choice)
            else:
                _write_recording(camera, desired.recording)
            write_durably(self.path, (json.dumps(document, indent=1) + "\n").encode())
        return desired

    def of(self, camera: str) -> Desired:
        """What is wanted of *camera*; a class that does not fit the configured fields is none.

        Raises SpoolError when the file is there and cannot be read.
        """
        cameras = self._document().get("cameras")
        found = cameras.get(camera) if isinstance(cameras, dict) else None
        return self._read(found) if isinstance(found, dict) else Desired()

    def signature(self) -> tuple[int, int]:
        """Changes whenever the file does; cheap."""
        try:
            with os_errors(self.path):
                status = self.path.stat()
        except SpoolUnusable:
            return (0, 0)  # not there; whether that is well is for those to say who read it
        return (status.st_ino, status.st_mtime_ns)

    def _read(self, camera: dict[str, Any]) -> Desired:
        return Desired(_choice(camera.get("class"), self._fields), _switch(camera.get("recording")))

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


def _choice(wanted: Any, fields: tuple[str, ...]) -> TagChoice | None:
    try:
        tag = ClassTag.of(dict(wanted["values"]), fields)
        until = wanted.get("until")
        return TagChoice(
            tag, str(wanted["set_by"]), str(wanted["set_at"]), None if until is None else parse_moment(until)
        )
    except (KeyError, TypeError, ValueError, NameInvalid):
        return None


def _switch(wanted: Any) -> Switch | None:
    match wanted:
        case {"on": bool(on), "set_by": str(set_by), "set_at": str(set_at)}:
            return Switch(on, set_by, set_at)
    return None


def _write_class(camera: dict[str, Any], choice: TagChoice | None) -> None:
    if choice is None:
        camera.pop("class", None)
        return
    camera["class"] = {"values": choice.tag.as_dict(), "set_by": choice.set_by, "set_at": choice.set_at}
    if choice.until is not None:
        camera["class"]["until"] = format_moment(choice.until)


def _write_recording(camera: dict[str, Any], switch: Switch | None) -> None:
    if switch is not None:
        camera["recording"] = {"on": switch.on, "set_by": switch.set_by, "set_at": switch.set_at}


def _section(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under *key*, a new one where there is none or something else stands."""
    if not isinstance(document.get(key), dict):
        document[key] = {}
    section: dict[str, Any] = document[key]
    return section
