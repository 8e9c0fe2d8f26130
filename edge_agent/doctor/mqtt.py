"""The device shadow's connection, where one is configured: certificate, broker, and the policy of the topics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

from edge_agent.control.mqtt import CONNACK_MS, MqttControl
from edge_agent.control.remote import shadow_topic
from edge_agent.control.shadow_session import ShadowSession
from edge_agent.control.transport import Link
from edge_agent.doctor.examination import Check, Patient
from edge_agent.doctor.finding import Finding, fault, ok, warning
from edge_agent.remoting import mqtt_identity

MQTT = "mqtt"
_SECONDS = CONNACK_MS / 1000 + 2
_FIX = "check control.mqtt.endpoint and its port, that the certificate is active and the thing's, and its policy"


def mqtt(patient: Patient) -> Iterator[Finding]:
    """Connect as this thing and subscribe to its shadow. Raises ControlRefused.

    A second client of the same name throws the first one out: while an agent runs, it is asked instead.
    """
    agents = patient.agents
    if agents.captures or agents.uploads:
        yield told(agents.link)
        return
    identity = mqtt_identity(patient.settings)
    transport = MqttControl(identity, patient.clock)
    heard: list[Link] = []
    answered = threading.Event()

    def on_link(link: Link) -> None:
        heard.append(link)
        answered.set()

    for end in ShadowSession.ENDS:
        transport.subscribe(shadow_topic(identity.thing, end), lambda _topic, _payload: None)
    with closing(transport):
        transport.start(on_link)
        patient.clock.wait(answered, _SECONDS)
    if not heard:
        yield fault(MQTT, f"{identity.endpoint}: no answer within {_SECONDS:.0f} s", _FIX)
    elif heard[0].up:
        yield ok(MQTT, f"{identity.endpoint} takes thing {identity.thing} and grants its shadow")
    else:
        yield fault(MQTT, heard[0].problem, _FIX)


def told(link: dict[str, object]) -> Finding:
    """What the running agent says of the connection it holds. Pure."""
    if link.get("up"):
        return ok(MQTT, f"the agent is connected as thing {link.get('thing')}")
    if link.get("problem"):
        return fault(MQTT, f"the agent is not connected: {link['problem']}", _FIX)
    return warning(MQTT, "the agent is not connected yet", "look again in some seconds")


MQTT_CHECK = Check((MQTT,), mqtt, _SECONDS + 5)
