"""What an operator wants of each camera, and of uploads, durable on disk: it survives a reboot without a network.

One file, replaced as a whole, and the only way by which a command takes effect: the child processes look at it several
times a second (one ``stat``), wherever the change comes from: the shell, the page, the shadow.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.control.commands import (
    ClearClass,
    Command,
    Desired,
    ResumeUpload,
    SetBandwidth,
    SetClass,
    SetSampling,
    Switch,
    TagChoice,
    TuneCommand,
    Tuning,
    UploadCommand,
    apply,
    upload_order,
)
from edge_agent.durable import os_errors, write_durably
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.segment import ClassTag, format_moment, parse_moment
from edge_agent.upload.limits import UploadOrder


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
            self._write(document)
        return desired

    def apply_upload(self, command: UploadCommand, set_by: str, now: datetime) -> UploadOrder:
        """Note what *command* asks for; what holds for uploads from now on. Durable on return. Raises SpoolError."""
        order = upload_order(command, set_by, now)
        with self._exclusive():
            document = self._document()
            document["upload"] = _order_document(order)
            self._write(document)
        return order

    def lend_upload(self, set_by: str, began: datetime, until: datetime) -> bool:
        """Let uploads go on until then, whatever was ordered; after that it holds again, even if nobody is left to say.

        Called again it lasts longer; False, and nothing is changed, when somebody gave another order after it *began*.
        """
        with self._exclusive():
            document = self._document()
            order = _order(document.get("upload"))
            if order is not None and order.set_by == set_by:
                order = order.after
            elif order is not None and order.set_at > format_moment(began):
                return False
            lent = replace(upload_order(ResumeUpload(until), set_by, began), after=order)
            document["upload"] = _order_document(lent)
            self._write(document)
        return True

    def end_loan(self, set_by: str) -> None:
        """Let what was ordered before :meth:`lend_upload` hold again now, unless another order was given since."""
        with self._exclusive():
            document = self._document()
            order = _order(document.get("upload"))
            if order is None or order.set_by != set_by:
                return
            del document["upload"]
            if order.after is not None:
                document["upload"] = _order_document(order.after)
            self._write(document)

    def upload(self) -> UploadOrder | None:
        """What was last ordered for uploads, if anything. Raises SpoolError when the file cannot be read."""
        return _order(self._document().get("upload"))

    def tune(self, command: TuneCommand) -> Tuning:
        """Note what *command* asks for; all that holds in place of settings from now on. Durable. Raises SpoolError."""
        with self._exclusive():
            document = self._document()
            section = _section(document, "tuning")
            match command:
                case SetSampling(camera=camera, keep_every=None):
                    _section(section, "keep_every").pop(camera, None)
                case SetSampling(camera=camera, keep_every=every):
                    _section(section, "keep_every")[camera] = every
                case SetBandwidth(as_configured=True):
                    section.pop("bandwidth", None)
                case SetBandwidth(rate=rate):
                    section["bandwidth"] = {"rate": rate}
            self._write(document)
        return _tuning(section)

    def tuning(self) -> Tuning:
        """What holds in place of settings. Raises SpoolError when the file is there and cannot be read."""
        return _tuning(self._document().get("tuning"))

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

    def _write(self, document: dict[str, Any]) -> None:
        write_durably(self.path, (json.dumps(document, indent=1) + "\n").encode())

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Two shells at once lose nothing, whosever they are: the directory is the lock, for which reading it suffices.

        A lock file would belong to whoever came first, and often that is root.
        """
        with os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
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


def _tuning(wanted: Any) -> Tuning:
    if not isinstance(wanted, dict):
        return Tuning()
    kept = wanted.get("keep_every")
    every = {camera: n for camera, n in kept.items() if type(n) is int and n > 0} if isinstance(kept, dict) else {}
    match wanted.get("bandwidth"):
        case {"rate": None | int() | float() as rate}:
            return Tuning(every, SetBandwidth(False, rate))
    return Tuning(every)


def _order(wanted: Any) -> UploadOrder | None:
    switch = _switch(wanted)
    if switch is None:
        return None
    try:
        until = wanted.get("until")
        end = None if until is None else parse_moment(until)
    except (TypeError, ValueError):
        return None
    return UploadOrder(switch.on, switch.set_by, switch.set_at, end, _order(wanted.get("after")))


def _order_document(order: UploadOrder) -> dict[str, Any]:
    document: dict[str, Any] = {"on": order.on, "set_by": order.set_by, "set_at": order.set_at}
    if order.until is not None:
        document["until"] = format_moment(order.until)
    if order.after is not None:
        document["after"] = _order_document(order.after)
    return document


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
