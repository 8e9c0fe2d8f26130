"""A real broker (mosquitto) that asks for client certificates, and the cloud behind it: a shadow service of our own."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from awscrt import mqtt5
from awsiot import mqtt5_client_builder

from tests.support.certificates import Authority, Pair
from tests.support.ports import free_port, listens
from tests.support.wait import until

THING = "dock7"
ACL = f"""
user cloud
topic readwrite #
topic readwrite $aws/#

user {THING}
topic write edge/{THING}/presence
topic write edge/{THING}/telemetry
topic write edge/{THING}/events
pattern readwrite $aws/things/%u/shadow/#
"""


class Broker:
    """mosquitto on loopback, always on the same port; may be killed and started again."""

    def __init__(self, directory: Path, acl: str = ACL) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            pytest.skip("needs mosquitto: sh tests/system-packages.sh")
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(directory)
        server = self.authority.issue("localhost")
        self.port = free_port()
        (directory / "acl").write_text(acl)
        (directory / "acl").chmod(0o600)
        (directory / "mosquitto.conf").write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"cafile {self.authority.certificate}\ncertfile {server.certificate}\nkeyfile {server.private_key}\n"
            f"require_certificate true\nuse_identity_as_username true\nacl_file {directory / 'acl'}\n"
            f"log_dest file {directory / 'log'}\n"
        )
        self._command = [program, "-c", str(directory / "mosquitto.conf")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        until(lambda: listens(self.port), "the broker to listen")

    def kill(self) -> None:
        """At once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def endpoint(self) -> str:
        return f"localhost:{self.port}"


def connect(broker: Broker, pair: Pair, received: Any, topics: list[str], connected: threading.Event) -> mqtt5.Client:
    """A client of the tests' own that subscribes on each connect."""
    clients: list[mqtt5.Client] = []

    def subscribe(_: Any) -> None:
        wanted = [mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in topics]
        granted = clients[0].subscribe(mqtt5.SubscribePacket(subscriptions=wanted))
        granted.add_done_callback(lambda _: connected.set())

    client = mqtt5_client_builder.mtls_from_path(
        str(pair.certificate),
        str(pair.private_key),
        endpoint="localhost",
        port=broker.port,
        ca_filepath=str(broker.authority.certificate),
        connect_options=mqtt5.ConnectPacket(client_id=pair.certificate.stem),
        min_reconnect_delay_ms=200,
        max_reconnect_delay_ms=1000,
        on_publish_received=received,
        on_lifecycle_connection_success=subscribe,
        on_lifecycle_disconnection=lambda _: connected.clear(),
        enable_metrics_collection=False,
    )
    clients.append(client)
    client.start()
    return client


@dataclass
class Cloud:
    """AWS IoT Core's side: one thing's shadow ``capture``, as the service keeps it, and whatever else came."""

    broker: Broker
    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    gets: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)  # as they came
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _client: Any = None

    @contextmanager
    def running(self) -> Iterator[Cloud]:
        topics = ["$aws/things/+/shadow/name/capture/get", "$aws/things/+/shadow/name/capture/update", "edge/#"]
        self._client = connect(
            self.broker, self.broker.authority.issue("cloud"), self._received, topics, self.connected
        )
        until(self.connected.is_set, "the cloud's side to connect")
        try:
            yield self
        finally:
            self._client.stop()
            self._client = None

    def want(self, thing: str = THING, **desired: Any) -> None:
        """Somebody writes the shadow's desired state."""
        self.update(thing, {"desired": desired})

    def update(self, thing: str, state: dict[str, Any]) -> None:
        with self._lock:
            self.version += 1
            _merge(self.desired, state.get("desired") or {}, self.stamps, int(time.time()))
            _merge(self.reported, state.get("reported") or {}, {}, 0)
            if delta := _delta(self.desired, self.reported):
                self._say(thing, "update/delta", {"version": self.version, "state": delta})

    def send(self, topic: str, payload: bytes) -> None:
        """Anything at all, from the cloud's side."""
        self._client.publish(mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE))

    def messages(self, end: str) -> list[dict[str, Any]]:
        with self._lock:
            return [document for topic, document in self.heard if topic.endswith(end)]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [document for document in self.messages("/events") if document["event"] == name]

    def _received(self, data: Any) -> None:
        packet = data.publish_packet
        document = json.loads(packet.payload)
        with self._lock:
            if not packet.topic.startswith("$aws/"):
                self.heard.append((packet.topic, document))
                return
            thing, end = packet.topic.split("/")[2], packet.topic.rpartition("/")[2]
            token = {"clientToken": document.get("clientToken")}
            if end == "update":
                self.reports.append(document["state"]["reported"])
                self.update(thing, document["state"])
                self._say(thing, "update/accepted", {**token, "version": self.version, "state": document["state"]})
            elif self.version == 0:
                self.gets += 1
                self._say(thing, "get/rejected", {**token, "code": 404, "message": "No shadow exists"})
            else:
                self.gets += 1
                self._say(thing, "get/accepted", {**token, **self._document()})

    def _document(self) -> dict[str, Any]:
        state = {name: it for name, it in (("desired", self.desired), ("reported", self.reported)) if it}
        return {"version": self.version, "state": state, "metadata": {"desired": self.stamps}}

    def _say(self, thing: str, end: str, document: dict[str, Any]) -> None:
        self.send(f"$aws/things/{thing}/shadow/name/capture/{end}", json.dumps(document).encode())


def _merge(state: dict[str, Any], patch: dict[str, Any], stamps: dict[str, Any], now: int) -> None:
    for key, value in patch.items():
        if value is None:
            state.pop(key, None)
            stamps.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(state.get(key), dict):
                state[key], stamps[key] = {}, {}
            _merge(state[key], value, stamps.setdefault(key, {}), now)
        else:
            state[key], stamps[key] = value, {"timestamp": now}


def _delta(desired: dict[str, Any], reported: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in desired.items():
        held = reported.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            if inner := _delta(value, held):
                found[key] = inner
        elif value != held:
            found[key] = value
    return found


def control_settings(broker: Broker, thing: str = THING) -> dict[str, Any]:
    """The settings' ``control`` for an agent that is *thing* at *broker*."""
    pair = broker.authority.issue(thing)
    return {
        "mqtt": {
            "endpoint": broker.endpoint,
            "thing": thing,
            "certificate": str(pair.certificate),
            "private_key": str(pair.private_key),
            "ca": str(broker.authority.certificate),
        },
        "telemetry_seconds": 1,
    }
