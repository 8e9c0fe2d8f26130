"""MQTT 5 over mutual TLS to AWS IoT Core, or to any broker that takes the certificate: awsiotsdk's client, kept up.

The connection, its back-off and its pings are the library's (awscrt, threads of its own in C). Nothing is queued in it:
what cannot be sent now is the caller's to keep. It is loaded by :meth:`MqttControl.start`, not before.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock
from edge_agent.control.transport import MAX_PAYLOAD, Handler, Link
from edge_agent.errors import ControlRefused, ControlUnreachable, CredentialsRefused
from edge_agent.identity import check_private_key
from edge_agent.segment import format_moment

KEEP_ALIVE_SECONDS = 60
CONNACK_MS = 10_000
ACK_SECONDS = 10
MIN_RECONNECT_MS, MAX_RECONNECT_MS = 1_000, 30_000
STEADY_MS = 30_000  # a connection that held so long starts the back-off anew
SESSION_SECONDS = 3600
"""How long the broker keeps this box's subscriptions and orders for it over an outage; AWS IoT Core's own default.

After that nothing is lost either: on every connect the whole document is asked for.
"""
STOP_SECONDS = 2.0
GOODBYE_SECONDS = 0.5
_TLS_PORT = 8883
_FAILURE = 128  # MQTT 5: reason codes from here on are failures


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttIdentity:
    """Who this box is to which broker. ``endpoint`` is ``host`` or ``host:port``; files are PEM, ``ca`` may be None."""

    endpoint: str
    thing: str
    certificate: str
    private_key: str
    ca: str | None = None


def presence_topic(thing: str) -> str:
    """Where a box says ``online`` and ``offline``, and the broker, when it is gone, the latter (retained)."""
    return f"edge/{thing}/presence"


class MqttControl:
    """A :class:`Transport`. The client's id is the thing's name, as AWS IoT's policy variables want it.

    A second client of that name throws the first one out: one agent a thing.
    """

    def __init__(self, identity: MqttIdentity, clock: Clock) -> None:
        self.thing = identity.thing
        self._identity = identity
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._on_link: Callable[[Link], None] = lambda _: None
        self._client: Any = None
        self._connection = 0  # counts connects: what belongs to an earlier one is no news
        self._stopped = threading.Event()
        self._closing = False

    def subscribe(self, topic: str, handler: Handler) -> None:
        self._handlers[topic] = handler

    def start(self, on_link: Callable[[Link], None]) -> None:
        self._on_link = on_link
        self._client = self._build()
        self._client.start()

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        return self._publish(topic, payload, retain=False)

    def close(self) -> None:
        from awscrt import exceptions, mqtt5

        if self._client is None:
            return
        goodbye = self._publish(presence_topic(self.thing), self._presence("offline"), retain=True)
        done = threading.Event()
        goodbye.add_done_callback(lambda _: done.set())
        self._clock.wait(done, GOODBYE_SECONDS)
        self._closing = True
        try:
            self._client.stop(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION))
        except exceptions.AwsCrtError:  # not started: nothing to end
            return
        self._clock.wait(self._stopped, STOP_SECONDS - GOODBYE_SECONDS)
        self._client = None

    def _build(self) -> Any:
        """The client, not yet connected. Raises ControlRefused."""
        try:
            from awscrt import mqtt5
            from awscrt.exceptions import AwsCrtError
            from awsiot import mqtt5_client_builder
        except ImportError as error:
            raise ControlRefused("awsiotsdk is not installed", where="mqtt", fix="install it") from error
        identity = self._identity
        host, _, port = identity.endpoint.partition(":")
        try:
            check_private_key(Path(identity.private_key))
            return mqtt5_client_builder.mtls_from_bytes(
                Path(identity.certificate).read_bytes(),
                Path(identity.private_key).read_bytes(),
                endpoint=host,
                port=int(port or _TLS_PORT),
                ca_bytes=Path(identity.ca).read_bytes() if identity.ca else None,
                connect_options=self._hello(),
                session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_POST_SUCCESS,
                offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
                min_reconnect_delay_ms=MIN_RECONNECT_MS,
                max_reconnect_delay_ms=MAX_RECONNECT_MS,
                min_connected_time_to_reset_reconnect_delay_ms=STEADY_MS,
                connack_timeout_ms=CONNACK_MS,
                ack_timeout_sec=ACK_SECONDS,
                enable_metrics_collection=False,
                on_publish_received=self._received,
                on_lifecycle_connection_success=self._connected,
                on_lifecycle_connection_failure=self._failed,
                on_lifecycle_disconnection=self._lost,
                on_lifecycle_stopped=lambda _: self._stopped.set(),
            )
        except CredentialsRefused as error:
            raise ControlRefused(error.what, where=error.where, fix=error.fix) from error
        except OSError as error:
            what, where = f"cannot be read: {error.strerror}", error.filename or "mqtt"
            raise ControlRefused(what, where=where, fix="name a file the agent may read") from error
        except (AwsCrtError, ValueError) as error:
            what = f"certificate and key cannot be used: {error}"
            raise ControlRefused(what, where=identity.certificate, fix="give a matching pair of PEM files") from error

    def _hello(self) -> Any:
        """The connect packet, with the last will."""
        from awscrt import mqtt5

        will = mqtt5.PublishPacket(
            topic=presence_topic(self.thing),
            payload=json.dumps({"state": "offline"}).encode(),
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=True,
        )
        return mqtt5.ConnectPacket(
            client_id=self.thing,
            keep_alive_interval_sec=KEEP_ALIVE_SECONDS,
            session_expiry_interval_sec=SESSION_SECONDS,
            will=will,
        )

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> Future[None]:
        from awscrt import mqtt5
        from awscrt.exceptions import AwsCrtError

        answer: Future[None] = Future()
        if len(payload) > MAX_PAYLOAD:
            answer.set_exception(ControlRefused(f"message of {len(payload)} bytes is too large", where=topic))
            return answer
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=retain)
        try:
            sent = self._client.publish(packet)
        except AwsCrtError as error:
            answer.set_exception(_unreachable(error, self._identity.endpoint))
            return answer
        sent.add_done_callback(lambda done: _settle(answer, done, topic, self._identity.endpoint))
        return answer

    def _connected(self, _data: Any) -> None:
        """Subscribe to everything; the link counts as up when all of it is granted."""
        from awscrt import mqtt5

        self._connection += 1
        connection = self._connection
        self._publish(presence_topic(self.thing), self._presence("online"), retain=True)
        wanted = [mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in self._handlers]
        if not wanted:
            self._on_link(Link(True))
            return
        granted = self._client.subscribe(mqtt5.SubscribePacket(subscriptions=wanted))
        granted.add_done_callback(lambda done: self._subscribed(done, connection))

    def _subscribed(self, done: Any, connection: int) -> None:
        if connection != self._connection or self._closing:
            return
        if (error := done.exception()) is not None:
            self._on_link(Link(False, str(_unreachable(error, self._identity.endpoint))))
            return
        # AWS IoT closes the connection of a client that subscribes to what it may not; others answer with a code.
        codes = done.result().reason_codes
        refused = [topic for topic, code in zip(self._handlers, codes, strict=False) if code >= _FAILURE]
        problem = f"{refused[0]}: may not be subscribed to; permit it in the thing's policy" if refused else ""
        self._on_link(Link(not refused, problem))

    def _received(self, data: Any) -> None:
        packet = data.publish_packet
        handler = self._handlers.get(packet.topic)
        if handler is not None and not self._closing:
            handler(packet.topic, bytes(packet.payload or b""))

    def _failed(self, data: Any) -> None:
        code = data.connack_packet.reason_code if data.connack_packet is not None else None
        said = f"{code.name.lower().replace('_', ' ')}" if code else str(data.exception)
        self._down(f"{self._identity.endpoint}: no MQTT connection: {said}")

    def _lost(self, data: Any) -> None:
        packet = data.disconnect_packet
        said = packet.reason_code.name.lower().replace("_", " ") if packet is not None else str(data.exception)
        self._down(f"{self._identity.endpoint}: MQTT connection lost: {said}")

    def _down(self, problem: str) -> None:
        self._connection += 1
        if not self._closing:
            self._on_link(Link(False, problem))

    def _presence(self, state: str) -> bytes:
        return json.dumps({"state": state, "at": format_moment(self._clock.now())}).encode()


def _settle(answer: Future[None], done: Any, topic: str, endpoint: str) -> None:
    """End *answer* as the broker's acknowledgement, or its absence, says."""
    if (error := done.exception()) is not None:
        answer.set_exception(_unreachable(error, endpoint))
        return
    puback = done.result().puback
    if puback is not None and puback.reason_code >= _FAILURE:
        said = puback.reason_code.name.lower().replace("_", " ")
        answer.set_exception(
            ControlRefused(f"publishing is refused: {said}", where=topic, fix="permit the topic in the thing's policy")
        )
        return
    answer.set_result(None)


def _unreachable(error: BaseException, endpoint: str) -> ControlUnreachable:
    return ControlUnreachable(f"no answer: {error}", where=endpoint)
