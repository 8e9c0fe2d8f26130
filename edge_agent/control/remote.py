"""The box as the cloud sees it: one thread that obeys the shadow, reports to it, and sends telemetry and events.

Whatever comes from the cloud ends up in the desired state on the disk, like a word from the shell; the child processes
never know. Without a link everything goes on, and what is to be told waits on the disk.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.clock import Clock
from edge_agent.control.desired import DesiredState
from edge_agent.control.outbox import Message
from edge_agent.control.shadow_session import SHADOW, Facts, ShadowSession
from edge_agent.control.teller import Teller
from edge_agent.control.transport import Link, Transport
from edge_agent.errors import ControlRefused, EdgeCaptureError, SpoolError

log = structlog.get_logger()

TICK_SECONDS = 1.0
BATCH = 16  # messages on their way at once: a link of 100 ms takes 160 a second


@dataclass(frozen=True, slots=True)
class _Came:
    """A message on the shadow's topic that ends so."""

    end: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of *message*, None for one to the shadow; without an error it arrived."""

    message: Message | None
    error: BaseException | None


class _Stop:
    """Come to an end."""


def shadow_topic(thing: str, end: str) -> str:
    return f"$aws/things/{thing}/shadow/name/{SHADOW}/{end}"


class RemoteControl:
    """:meth:`run` until :meth:`close`. *facts* is asked once a second; *retune*: see ShadowSession.

    The *teller*'s outbox is this one's from now on, and closed by it.
    """

    def __init__(
        self,
        transport: Transport,
        desired: DesiredState,
        teller: Teller,
        clock: Clock,
        facts: Callable[[], Facts],
        retune: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._teller = teller
        self._outbox = teller.outbox
        self._clock = clock
        self._facts = facts
        self._shadow = ShadowSession(desired, teller.outbox, clock, facts, retune, self._to_shadow)
        self._inbox: queue.SimpleQueue[Link | _Came | _Sent | _Stop] = queue.SimpleQueue()
        self._link = Link(False, "not connected yet")
        self._on_way: dict[int, Message] = {}
        self._refusal = ""
        self._fault = ""

    def close(self) -> None:
        """Let :meth:`run` return. From any thread."""
        self._inbox.put(_Stop())

    def status(self) -> dict[str, Any]:
        """For ``edge-agent status`` and the local page. From any thread."""
        backlog = self._outbox.backlog()
        return {
            "thing": self._transport.thing,
            "up": self._link.up,
            "problem": self._link.problem or self._refusal or self._fault or None,
            "waiting": backlog.waiting,
            "dropped": sum(backlog.dropped.values()),
        }

    def run(self) -> None:
        """Raises nothing: a link that can never be is told once, and messages wait."""
        for end in ShadowSession.ENDS:
            self._transport.subscribe(shadow_topic(self._transport.thing, end), self._hear(end))
        try:
            self._transport.start(self._inbox.put)
        except ControlRefused as error:
            self._link = Link(False, str(error))
            log.error("control_refused", code=error.code, error=str(error))
        try:
            self._loop()
        finally:
            self._transport.close()
            self._outbox.close()

    def _loop(self) -> None:
        due = self._clock.monotonic()
        while True:
            wait = due - self._clock.monotonic()
            try:
                item = self._inbox.get(timeout=max(0.001, wait))
            except queue.Empty:
                item = None
            if isinstance(item, _Stop):
                return
            try:
                if item is not None:
                    self._take(item)
                if self._clock.monotonic() >= due:
                    due = self._clock.monotonic() + TICK_SECONDS
                    self._tick()
            except SpoolError as error:  # what the disk refuses is told once, and tried again with the next tick
                if str(error) != self._fault:
                    log.error("control_hindered", code=error.code, error=str(error))
                self._fault = str(error)

    def _tick(self) -> None:
        facts = self._facts()
        self._teller.look(facts.statuses)
        if self._link.up:
            self._shadow.tick(facts)
        self._send()
        self._fault = ""

    def _take(self, item: Link | _Came | _Sent) -> None:
        match item:
            case Link():
                self._linked(item)
            case _Came(end, payload):
                self._shadow.came(end, payload)
            case _Sent(message, error):
                self._sent(message, error)

    def _linked(self, link: Link) -> None:
        before, self._link = self._link, link
        if link.up:
            log.info("control_connected", thing=self._transport.thing)
            self._refusal = ""
        elif link.problem != before.problem:
            log.warning("control_disconnected", error=link.problem)
        self._shadow.linked(link.up)
        self._send()

    def _hear(self, end: str) -> Callable[[str, bytes], None]:
        return lambda _topic, payload: self._inbox.put(_Came(end, payload))

    def _to_shadow(self, end: str, payload: bytes) -> None:
        """What does not arrive is asked for, or reported, again after the next connect."""
        topic = shadow_topic(self._transport.thing, end)
        self._transport.publish(topic, payload).add_done_callback(self._settled(None))

    def _send(self) -> None:
        """Let the next messages go, when those before them have arrived."""
        if not self._link.up or self._on_way:
            return
        batch = self._outbox.oldest(BATCH)
        self._on_way = {message.id: message for message in batch}
        for message in batch:
            self._transport.publish(message.topic, message.payload).add_done_callback(self._settled(message))

    def _settled(self, message: Message | None) -> Callable[[Future[None]], None]:
        return lambda done: self._inbox.put(_Sent(message, done.exception()))

    def _sent(self, message: Message | None, error: BaseException | None) -> None:
        if message is not None:
            self._on_way.pop(message.id, None)
        if isinstance(error, ControlRefused):
            if str(error) != self._refusal:
                self._refusal = str(error)
                log.error("message_refused", code=error.code, error=str(error))
        elif isinstance(error, EdgeCaptureError):
            return  # it stays, and goes with a later tick
        if message is None:
            return
        self._teller.refused += isinstance(error, ControlRefused)
        self._outbox.remove([message])
        if not self._on_way:
            self._send()
