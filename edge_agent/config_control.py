"""The settings of what the cloud may ask of the box, and of what the box tells it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edge_agent.config_base import StrictSettings, checked
from edge_agent.errors import ConfigInvalid
from edge_agent.identity import IotIdentity, is_endpoint, is_thing


def _check_endpoint(endpoint: str) -> None:
    ask = "write what `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints"
    if not is_endpoint(endpoint):
        raise ConfigInvalid("is no host name", fix=ask)
    if ".credentials.iot." in endpoint:
        raise ConfigInvalid("is that of credentials, not of messages", fix=ask)


def _check_thing(thing: str) -> None:
    if not is_thing(thing):
        raise ConfigInvalid("cannot be a thing's name", fix="write 1 to 128 of A-Z a-z 0-9 : _ -")


_Path = Annotated[str, Field(min_length=1)]


class MqttSettings(StrictSettings):
    """A broker that takes the device's certificate: AWS IoT Core. What is not given is that of ``store.iot``."""

    endpoint: Annotated[str, checked(_check_endpoint)]
    thing: Annotated[str, checked(_check_thing)] | None = Field(
        default=None, description="default: that of store.iot, else the device's name; it is the MQTT client's id"
    )
    certificate: _Path | None = None
    private_key: _Path | None = None
    ca: _Path | None = Field(default=None, description="authorities the endpoint is checked against")


class ControlSettings(StrictSettings):
    """Device shadow, telemetry and events; nothing of it without ``mqtt``."""

    mqtt: MqttSettings | None = None
    telemetry_seconds: float = Field(default=60, ge=1, le=86400)


def mqtt_misfit(mqtt: MqttSettings, iot: IotIdentity | None, device: str) -> str:
    """Why *mqtt* is not enough to connect with; "" when it is. Pure."""
    if bool(mqtt.certificate) != bool(mqtt.private_key):
        return ": certificate and private_key go together; give both or neither"
    if not mqtt.certificate and iot is None:
        return ".certificate: is missing, and there is no store.iot to take it from; name certificate and private_key"
    if not (mqtt.thing or (iot and iot.thing)) and not is_thing(device):
        return ".thing: is not given, and the device's name cannot be a thing's; write the thing's name"
    return ""
