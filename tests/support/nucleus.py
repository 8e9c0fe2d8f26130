"""A Greengrass nucleus as far as a component sees it: the IPC socket, with a broker's topics behind it.

It speaks the real protocol, so the real client library talks to it. Its manners are nucleus lite's (as its source says,
modules/ggipcd), and with ``classic`` those of the other one: which operations there are, what they answer, how access
control is matched, and how large a packet may be.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from edge_agent.control.nucleus import LITE_PACKET, SOCKET, THING, TOKEN, Nucleus
from tests.support import eventstream as es

TOKEN_VALUE = "c3ZjdWlkLW9mLXRlc3Q="
MQTT = "aws.greengrass.ipc.mqttproxy"


class Refused(Exception):
    """An error of the model, by its short name."""


@dataclass(eq=False)
class _Client:
    """A connection, and the topics its streams are subscribed to; None: the state of the link to the cloud."""

    wire: socket.socket
    streams: dict[int, str | None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: es.Message) -> None:
        with self.lock, contextlib.suppress(OSError):
            self.wire.sendall(es.encode(message))


class FakeNucleus:
    """Serves while the block lasts (a context manager). ``topics`` has what was published, ``states`` what was told.

    ``configuration`` is the component's own; ``online`` whether the cloud is reached; ``hung``: it takes requests and
    answers none. ``on_publish(topic, payload)`` sees every message that passes.
    """

    def __init__(
        self,
        directory: Path,
        thing: str = "dock7",
        configuration: Mapping[str, Any] | None = None,
        *,
        classic: bool = False,
    ) -> None:
        self.path = directory / "ipc.socket"
        self.thing = thing
        self.configuration = dict(configuration or {})
        self.classic = classic
        self.online = True
        self.hung = False
        self.topics: list[tuple[str, bytes]] = []
        self.states: list[str] = []
        self.refused_packets = 0
        self.on_publish: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self._clients: list[_Client] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a component's process finds in its environment."""
        return {SOCKET: str(self.path), TOKEN: TOKEN_VALUE, THING: self.thing}

    @property
    def known(self) -> Nucleus:
        return Nucleus.of_environment(self.environment)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Listen, at first or again."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._spawn(self._accept, self._listener)

    def end(self) -> None:
        """As a nucleus that is killed: every connection breaks."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.path.unlink(missing_ok=True)
        self.drop()
        for thread in self._threads:
            thread.join(60)
        self._threads.clear()

    def drop(self) -> None:
        """Break every connection; new ones are taken."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            with contextlib.suppress(OSError):
                client.wire.shutdown(socket.SHUT_RDWR)

    @property
    def subscriptions(self) -> list[str]:
        with self._lock:
            return [topic for client in self._clients for topic in client.streams.values() if topic]

    @property
    def watchers(self) -> int:
        """How many streams are told whether the cloud is reached."""
        with self._lock:
            return sum(topic is None for client in self._clients for topic in client.streams.values())

    def deliver(self, topic: str, payload: bytes) -> None:
        """A message of the cloud's."""
        body = {"message": {"topicName": topic, "payload": base64.b64encode(payload).decode()}}
        self._tell(topic, "IoTCoreMessage", body)

    def go(self, *, online: bool) -> None:
        """Lose the cloud, or find it."""
        self.online = online
        status = "CONNECTED" if online else "DISCONNECTED"
        self._tell(None, "IoTCoreConnectionStatusEvent", {"connectionStatusEvent": {"status": status}})

    def _tell(self, topic: str | None, name: str, body: Mapping[str, Any]) -> None:
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            for stream, wanted in list(client.streams.items()):
                if wanted == topic:
                    client.send(_message(stream, name, body))

    def _spawn(self, work: Callable[[socket.socket], None], wire: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(wire,), name="fake-nucleus")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _ = listener.accept()
                self._spawn(self._serve, wire)

    def _serve(self, wire: socket.socket) -> None:
        client = _Client(wire)
        with self._lock:
            self._clients.append(client)
        with wire, wire.makefile("rb") as stream, contextlib.suppress(OSError):
            for message in iter(lambda: es.read(stream), None):
                if not self.classic and message.size > LITE_PACKET:
                    self.refused_packets += 1
                    break
                if not self._take(client, message):
                    break
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._clients = [other for other in self._clients if other is not client]

    def _take(self, client: _Client, message: es.Message) -> bool:
        """Whether the connection goes on."""
        if message.type == es.CONNECT:
            known: bool = json.loads(message.payload).get("authToken") == TOKEN_VALUE
            if known or self.classic:  # lite closes without a word
                client.send(es.Message(es.CONNECT_ACK, 0, es.CONNECTION_ACCEPTED if known else 0))
            return known or self.classic
        if message.flags & es.TERMINATE_STREAM:
            client.streams.pop(message.stream, None)
            client.send(es.Message(es.APPLICATION_MESSAGE, message.stream, es.TERMINATE_STREAM))
            return True
        if self.hung:
            return True
        operation = message.headers["operation"].removeprefix("aws.greengrass#")
        try:
            body = self._answer(client, operation, message.stream, json.loads(message.payload))
        except Refused as error:
            client.send(_error(message.stream, str(error)))
        else:
            client.send(_message(message.stream, f"{operation}Response", body))
        return True

    def _answer(self, client: _Client, operation: str, stream: int, request: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "GetConfiguration":
                return self._configuration_of(request)
            case "UpdateState":
                self.states.append(request["state"])
            case "PublishToIoTCore":
                self._check(operation, request["topicName"])
                if not self.online and not self.classic:  # the classic nucleus spools
                    raise Refused("ServiceError")
                payload = base64.b64decode(request.get("payload", ""))
                self.topics.append((request["topicName"], payload))
                self.on_publish(request["topicName"], payload)
            case "SubscribeToIoTCore":
                self._check(operation, request["topicName"])
                client.streams[stream] = request["topicName"]
            case "SubscribeToIoTCoreConnectionStatus" if self.classic:
                client.streams[stream] = None
            case _:
                raise Refused("ServiceError")
        return {}

    def _configuration_of(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Of lite's own component only lite has one. A path to what is no object gives its last key and the value."""
        path, value = request.get("keyPath") or [], self.configuration
        if name := request.get("componentName"):
            if self.classic:
                raise Refused("ResourceNotFoundError")
            value = {"awsRegion": "eu-central-1"} if name == "aws.greengrass.NucleusLite" else {}
        found: Any = value
        for key in path:
            if not isinstance(found, dict) or key not in found:
                raise Refused("ResourceNotFoundError")
            found = found[key]
        return {"componentName": "test", "value": found if isinstance(found, dict) else {path[-1]: found}}

    def _check(self, operation: str, topic: str) -> None:
        """As the component's accessControl allows; without one, everything."""
        policies = self.configuration.get("accessControl")
        if policies is None:
            return
        for policy in policies.get(MQTT, {}).values():
            resources = [resource.replace("{iot:thingName}", self.thing) for resource in policy["resources"]]
            if f"aws.greengrass#{operation}" in policy["operations"] and topic in resources:
                return
        raise Refused("UnauthorizedError")


def _message(stream: int, name: str, body: Mapping[str, Any]) -> es.Message:
    headers = {":content-type": "application/json", "service-model-type": f"aws.greengrass#{name}"}
    return es.Message(es.APPLICATION_MESSAGE, stream, 0, headers, json.dumps(body).encode())


def _error(stream: int, name: str) -> es.Message:
    headers = {":content-type": "application/json", "service-model-type": f"aws.greengrass#{name}"}
    body = {"_message": f"refused: {name}", "_errorCode": name}
    return es.Message(es.APPLICATION_ERROR, stream, es.TERMINATE_STREAM, headers, json.dumps(body).encode())
