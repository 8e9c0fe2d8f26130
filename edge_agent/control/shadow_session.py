"""The shadow ``capture`` on a link that comes and goes: asked for as a whole, obeyed, and told what is in force."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.control.commands import (
    Desired,
    PauseUpload,
    ResumeUpload,
    SetBandwidth,
    SetSampling,
    TagChoice,
    in_force,
)
from edge_agent.control.desired import DesiredState
from edge_agent.control.outbox import Outbox
from edge_agent.control.reported import SET_BY, Camera, Upload, merge_patch, reported
from edge_agent.control.shadow import Box, Handled, decide
from edge_agent.control.shadow_document import Document, parse_document, parse_message
from edge_agent.control.teller import CameraStatuses
from edge_agent.errors import EventInvalid
from edge_agent.segment import ClassTag, parse_moment

log = structlog.get_logger()

SHADOW = "capture"
ANSWER_SECONDS = 15.0  # without an answer by then the shadow is asked again
RETRY_SECONDS = 60.0  # after the shadow refused what was reported
HANDLED = "handled"
NO_SHADOW = 404  # AWS IoT's code of a document that does not exist


@dataclass(frozen=True, slots=True)
class Facts:
    """What the agent does by its settings and orders, right now.

    ``cameras``: the class each records under unless ordered, and of how many packets its process keeps one.
    """

    box: Box
    cameras: Mapping[str, tuple[ClassTag | None, int]]
    statuses: CameraStatuses
    upload: Upload | None


class ShadowSession:
    """Used by one thread. ``publish(end, payload)`` sends to the shadow's topic that ends so; methods raise SpoolError.

    *retune* is called after an order that stands in place of a setting.
    """

    ENDS = ("get/accepted", "get/rejected", "update/delta", "update/rejected")
    """The topics whose messages :meth:`came` is to be given."""

    def __init__(
        self,
        desired: DesiredState,
        outbox: Outbox,
        clock: Clock,
        facts: Callable[[], Facts],
        retune: Callable[[], None],
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._desired = desired
        self._outbox = outbox
        self._clock = clock
        self._facts = facts
        self._retune = retune
        self._publish = publish
        self._handled = _handled_of_note(outbox.note(HANDLED, {}))
        self._refused: dict[str, str] = {}
        self._unread = ""  # why a message could not be read; stands in one report at least
        self._told_unread = False
        self._session = uuid.uuid4().hex[:8]
        self._asked = 0  # gets so far: only the answer to the last one counts
        self._ask_at: float | None = None
        self._version = 0
        self._base: Any = None  # what the shadow holds as reported; None until it has said so on this connection

    def linked(self, up: bool) -> None:
        """The link has come, or gone; a shadow may be deleted and begun anew: its first answer is the truth."""
        self._base, self._version, self._ask_at = None, 0, None
        if up:
            self._ask()

    def tick(self, facts: Facts) -> None:
        """With the link up, about once a second: ask again if need be, report what has changed."""
        if self._ask_at is not None and self._clock.monotonic() >= self._ask_at:
            self._ask()
        if self._base is not None:
            self._report(facts)

    def came(self, end: str, payload: bytes) -> None:
        """A message on one of ENDS. One that is none is told, and changes nothing."""
        try:
            message = parse_message(payload)
            if end == "update/delta":
                self._delta(message)
            elif message.get("clientToken") == self._token():
                self._answer(end, message)
        except EventInvalid as error:
            self._unread = str(error)
            log.warning("shadow_refused", code=error.code, error=str(error))

    def _ask(self) -> None:
        """Get the whole document; on no answer, again."""
        self._asked += 1
        self._ask_at = self._clock.monotonic() + ANSWER_SECONDS
        self._send("get", {"clientToken": self._token()})

    def _token(self) -> str:
        return f"{self._session}-{self._asked}"

    def _send(self, end: str, document: Mapping[str, Any]) -> None:
        self._publish(end, json.dumps(document).encode())

    def _delta(self, message: Mapping[str, Any]) -> None:
        """Something is wanted: look at the whole of it, unless that was seen already."""
        version = message.get("version")
        if isinstance(version, int) and version <= self._version:
            return
        self._ask()

    def _answer(self, what: str, message: Mapping[str, Any]) -> None:
        if what == "update/rejected":
            log.error("report_refused", code=str(message.get("code"))[:20], error=str(message.get("message"))[:200])
            self._base, self._ask_at = None, self._clock.monotonic() + RETRY_SECONDS
            return
        self._ask_at = None
        if what == "get/rejected":
            if message.get("code") == NO_SHADOW:  # no shadow yet: the first report makes it
                self._base = {}
                self._report(self._facts())
            else:
                log.error("shadow_unavailable", error=str(message.get("message"))[:200])
                self._ask_at = self._clock.monotonic() + RETRY_SECONDS
            return
        document = parse_document(message)
        if document.version < self._version:
            return
        self._version, self._base = document.version, document.reported
        if self._told_unread:
            self._unread, self._told_unread = "", False
        self._obey(document)
        self._report(self._facts())

    def _obey(self, document: Document) -> None:
        """Do what is new in *document*: durable before it is noted as done, so that it may be done twice, never not."""
        now = self._clock.now()
        facts = self._facts()
        changed_here = self._changed_here(facts.box.cameras)
        right = self._clock.synchronised()
        decision = decide(document, facts.box, self._handled, changed_here, now, clock_is_right=right)
        for subject, order in decision.orders.items():
            match order:
                case PauseUpload() | ResumeUpload():
                    self._desired.apply_upload(order, SET_BY, now)
                case SetSampling() | SetBandwidth():
                    self._desired.tune(order)
                    self._retune()
                case _:
                    self._desired.apply(order, SET_BY, now)
            log.info("shadow_obeyed", subject=subject, version=document.version)
        for path in decision.refused.keys() - self._refused.keys():
            log.warning("shadow_refused", subject=path, error=decision.refused[path])
        self._refused = dict(decision.refused)
        if decision.handled != self._handled:
            note = {name: [item.stamp, item.value, item.reason] for name, item in decision.handled.items()}
            self._outbox.add([], {HANDLED: note})
            self._handled = dict(decision.handled)

    def _changed_here(self, cameras: tuple[str, ...]) -> dict[str, tuple[datetime, str]]:
        """When each subject was last set by somebody at the box, and by whom."""
        found: dict[str, tuple[datetime, str]] = {}
        for name in cameras:
            desired = self._desired.of(name)
            for subject, said in (("class", desired.choice), ("recording", desired.recording)):
                if said is not None and said.set_by != SET_BY:
                    found[f"cameras.{name}.{subject}"] = (parse_moment(said.set_at), said.set_by)
        order = self._desired.upload()
        if order is not None and order.set_by != SET_BY:
            found["upload.paused"] = (parse_moment(order.set_at), order.set_by)
        return found

    def _report(self, facts: Facts) -> None:
        """Tell the shadow what has changed since it last knew."""
        now, tuning = self._clock.now(), self._desired.tuning()
        cameras = {name: _camera(facts, name, self._desired.of(name), now) for name in facts.box.cameras}
        refused = {**self._refused, "document": self._unread} if self._unread else self._refused
        state = reported(cameras, facts.upload, tuning, self._handled, refused, __version__)
        patch = merge_patch(self._base, state)
        if patch:
            self._base = state
            self._told_unread = bool(self._unread)
            self._send("update", {"state": {"reported": patch}, "clientToken": self._token()})


def _camera(facts: Facts, name: str, desired: Desired, now: datetime) -> Camera:
    default, every = facts.cameras[name]
    choice = in_force(desired, TagChoice(default) if default else None, now)
    return Camera(facts.statuses.get(name, {}), desired, choice, every)


def _handled_of_note(note: Any) -> dict[str, Handled]:
    found = {}
    for subject, item in note.items() if isinstance(note, dict) else ():
        match item:
            case [int() | float() as stamp, str(value), str(reason)]:
                found[str(subject)] = Handled(float(stamp), value, reason)
    return found
