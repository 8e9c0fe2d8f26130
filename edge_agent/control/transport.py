"""How messages reach the cloud: what every transport promises, whichever it is (MQTT of its own, Greengrass's).

A transport carries bytes on topics, nothing more: shadow and telemetry are the same above each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

MAX_PAYLOAD = 128 << 10
"""Bytes of one message: AWS IoT Core's limit (MQTT payload, 128 KB), the same in both directions."""

Handler = Callable[[str, bytes], None]
"""``handler(topic, payload)`` of a message that came. It returns at once and raises nothing."""


@dataclass(frozen=True, slots=True)
class Link:
    """Whether messages pass. *problem*: why not, one line for a person, without secrets; "" while they do."""

    up: bool
    problem: str = ""


class Transport(Protocol):
    """A connection that is kept: one thread calls these, handlers and *on_link* are called on the transport's own."""

    thing: str
    """The AWS IoT thing this box is: part of every topic."""

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Hand every message on *topic* (no wildcards) to *handler*. Before :meth:`start`; renewed on each connect."""

    def start(self, on_link: Callable[[Link], None]) -> None:
        """Connect, and again whenever the connection is lost, until :meth:`close`. Returns at once.

        ``on_link(Link(True))`` is called on each connect, once the broker has granted every subscription: what is
        published after that finds its answer. ``on_link(Link(False, why))`` on each loss and each failed attempt.
        Raises ControlRefused where it can never connect: a key or certificate that cannot be read, a library missing.
        """

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        """Send with QoS 1; at once, raising nothing. The future ends on any thread, soon, also when the link is lost:

        with None once the broker has the message, with ControlRefused (this message never will be taken: not permitted,
        too large) or ControlUnreachable (send it again when the link is up).
        """

    def close(self) -> None:
        """Say good-bye; within two seconds. No handler is called after that."""
