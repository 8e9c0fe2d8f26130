"""The Greengrass nucleus as a component's process talks to it: awsiotsdk's IPC client V2, its errors made ours.

Nothing is retried here. The library is loaded by :meth:`Ipc.connect`, not before.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, Self

from edge_agent.control.transport import MAX_PAYLOAD
from edge_agent.errors import ConfigInvalid, ControlError, ControlRefused, ControlUnreachable

SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN = "SVCUID"  # noqa: S105 - the name of the variable that holds it
THING = "AWS_IOT_THING_NAME"
CONNECT_SECONDS = 10.0
CALL_SECONDS = 10.0
CLOSE_SECONDS = 1.0
LITE = "aws.greengrass.NucleusLite"
LITE_PACKET = 10_000
"""Bytes of an IPC packet nucleus lite takes (GGL_IPC_MAX_MSG_LEN); with a larger one it closes the connection."""
_AROUND = 600  # headers, JSON and the longest topic around a payload, which travels as base64
LITE_PAYLOAD = (LITE_PACKET - _AROUND) * 3 // 4

Online = Callable[[bool], None]


class ComponentState(enum.StrEnum):
    """What a component may say of itself."""

    RUNNING = "RUNNING"
    ERRORED = "ERRORED"


@dataclass(frozen=True, slots=True)
class Nucleus:
    """Where the nucleus listens, what it gave this component to be known by, and which thing the box is."""

    socket: str
    token: str = field(repr=False)
    thing: str

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Self:
        """As the nucleus tells a component's process. Raises ConfigInvalid in any other."""
        missing = [name for name in (SOCKET, TOKEN, THING) if not environ.get(name)]
        if missing:
            raise ConfigInvalid(
                f"no Greengrass nucleus has started this process: {', '.join(missing)} not set",
                where="--greengrass",
                fix="deploy the component, or leave the option out",
            )
        return cls(environ[SOCKET], environ[TOKEN], environ[THING])


class Ipc:
    """An open connection to the nucleus; to be closed. Calls raise ControlRefused or ControlUnreachable.

    Handlers run on the library's own thread: they return at once, and raise nothing.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connect(cls, nucleus: Nucleus, on_lost: Callable[[ControlError], None]) -> Self:
        """Connect, within CONNECT_SECONDS; *on_lost* is told when an open connection ends, whoever ends it."""
        load()
        from awsiot import greengrasscoreipc
        from awsiot.eventstreamrpc import LifecycleHandler
        from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

        class Watcher(LifecycleHandler):  # type: ignore[misc, unused-ignore] # the library is untyped
            def on_disconnect(self, reason: Exception | None) -> None:
                on_lost(ControlUnreachable(f"connection lost: {_said(reason)}", where="greengrass"))

        try:
            client = greengrasscoreipc.connect(
                ipc_socket=nucleus.socket,
                authtoken=nucleus.token,
                lifecycle_handler=Watcher(),
                timeout=CONNECT_SECONDS,
            )
        except _errors() as error:
            raise _translated(error, nucleus.socket) from error
        return cls(GreengrassCoreIPCClientV2(client, executor=None))

    def close(self) -> None:
        """Say good-bye, within CLOSE_SECONDS."""
        wait([self._client.close()], CLOSE_SECONDS)

    def configuration(self) -> dict[str, Any]:
        """The component's own configuration, whole: defaults with the deployment's changes merged in.

        Scalars are strings where a YAML recipe or nucleus lite made them so.
        """
        # Without a key path the answer is the configuration itself; with ["a", "b"] it would be {"b": ...}.
        answer = self._call(self._client.get_configuration_async(), "configuration")
        value = answer.value
        if not isinstance(value, dict):
            raise ControlRefused("is no object", where="configuration", fix="correct the deployment")
        return value

    def payload_limit(self) -> int:
        """Bytes of a message's payload that this nucleus takes."""
        # Only lite has such a component.
        asked = self._client.get_configuration_async(component_name=LITE, key_path=["awsRegion"])
        return LITE_PAYLOAD if self._offered(asked) else MAX_PAYLOAD

    def report_state(self, state: ComponentState) -> None:
        """Tell the nucleus how this component is."""
        self._call(self._client.update_state_async(state=state.value), "state")

    def subscribe(
        self, topic: str, hear: Callable[[str, bytes], None], on_lost: Callable[[ControlError], None]
    ) -> None:
        """Hand every message on *topic* of AWS IoT Core to *hear*; *on_lost* when the nucleus ends that."""
        from awsiot.greengrasscoreipc.model import QOS

        def closed() -> None:
            on_lost(ControlUnreachable("the nucleus has ended the subscription, or gone", where=topic))

        def event(came: Any) -> None:
            if came.message is not None:
                hear(came.message.topic_name or topic, bytes(came.message.payload or b""))

        granted, _operation = self._client.subscribe_to_iot_core_async(
            topic_name=topic,
            qos=QOS.AT_LEAST_ONCE,
            on_stream_event=event,
            on_stream_error=lambda _: True,
            on_stream_closed=closed,
        )
        self._call(granted, topic)

    def watch_connection(self, online: Online) -> bool:
        """Tell *online* when the nucleus has found AWS IoT Core, or lost it; False where this nucleus does not tell."""
        from awsiot.greengrasscoreipc.model import ConnectionStatus

        def event(came: Any) -> None:
            if came.connection_status_event is not None:
                online(came.connection_status_event.status == ConnectionStatus.CONNECTED)

        granted, _operation = self._client.subscribe_to_iot_core_connection_status_async(on_stream_event=event)
        return self._offered(granted)

    def publish(self, topic: str, payload: bytes, settled: Callable[[ControlError | None], None]) -> None:
        """Hand a message to the nucleus, QoS 1; *settled* is told, on any thread, what became of it. Raises nothing."""
        from awsiot.greengrasscoreipc.model import QOS

        def done(answer: Future[Any]) -> None:
            error = answer.exception()
            settled(None if error is None else _translated(error, topic))

        try:
            answer = self._client.publish_to_iot_core_async(topic_name=topic, qos=QOS.AT_LEAST_ONCE, payload=payload)
        except _errors() as error:
            settled(_translated(error, topic))
            return
        answer.add_done_callback(done)

    def _call(self, asked: Future[Any], where: str) -> Any:
        try:
            return asked.result(CALL_SECONDS)
        except _errors() as error:
            raise _translated(error, where) from error

    def _offered(self, asked: Future[Any]) -> bool:
        """Whether the nucleus grants what not every nucleus has. A refusal of any kind is a no, silence is none."""
        from awsiot.eventstreamrpc import EventStreamOperationError, UnmappedDataError

        try:
            asked.result(CALL_SECONDS)
        except (EventStreamOperationError, UnmappedDataError):  # the latter: an error of a name the library lacks
            return False
        except _errors() as error:
            raise _translated(error, "greengrass") from error
        return True


def load() -> None:
    """Load the IPC library. Raises ControlRefused where there is none."""
    try:
        import awsiot.greengrasscoreipc.clientv2  # noqa: F401
    except ImportError as error:
        raise ControlRefused("awsiotsdk is not installed", where="greengrass", fix="install it") from error
    # What it would print of every failed attempt, we tell in a line of our own.
    logging.getLogger("awsiot.eventstreamrpc").setLevel(logging.CRITICAL)


def _errors() -> tuple[type[BaseException], ...]:
    """What the library raises: its protocol's errors are RuntimeErrors, its sockets' its own or the system's."""
    from awscrt.exceptions import AwsCrtError

    return AwsCrtError, RuntimeError, OSError, TimeoutError


def _translated(error: BaseException, where: str) -> ControlError:
    from awsiot.eventstreamrpc import AccessDeniedError
    from awsiot.greengrasscoreipc.model import InvalidArgumentsError, UnauthorizedError

    match error:
        case UnauthorizedError():
            return ControlRefused("not permitted", where=where, fix="permit it in the component's accessControl")
        case AccessDeniedError():
            what = "the nucleus does not know this component (any more)"
            return ControlUnreachable(what, where=where, fix="restart the component")
        case InvalidArgumentsError():
            return ControlRefused(f"the nucleus refuses it: {_said(error)}", where=where)
    return ControlUnreachable(f"no answer from the nucleus: {_said(error)}", where=where)


def _said(error: BaseException | None) -> str:
    """One line of what the library or the nucleus says; a modelled error's own message."""
    if error is None:
        return "closed"
    said = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:200]
