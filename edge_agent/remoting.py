"""The parent's side of remote control: which transport, what it is told of the agent, and the thread it runs on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from edge_agent.bandwidth import Bandwidth
from edge_agent.capture.report import Scalar
from edge_agent.clock import Clock
from edge_agent.config import Settings
from edge_agent.control import local
from edge_agent.control.commands import Tuning
from edge_agent.control.desired import DesiredState
from edge_agent.control.uploads import DesiredUploads
from edge_agent.errors import SpoolError
from edge_agent.tombstones import Tombstones
from edge_agent.tuning import sampling_fault, tuned
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.limits import Rules, allowance, in_force

if TYPE_CHECKING:
    from edge_agent.control.mqtt import MqttIdentity
    from edge_agent.control.nucleus import Nucleus
    from edge_agent.control.remote import RemoteControl
    from edge_agent.control.shadow_session import Facts
    from edge_agent.control.transport import Transport

log = structlog.get_logger()

Statuses = Mapping[str, Mapping[str, Scalar]]


def tuning_of(settings: Settings) -> Tuning:
    """What was ordered in place of *settings*; nothing where that cannot be read, which others tell."""
    with suppress(SpoolError):
        return DesiredState(settings.state_directory, settings.fields).tuning()
    return Tuning()


def retune_capture(state: Path) -> None:
    """Tell the agent that captures beside this one that :func:`tuning_of` may say something new.

    One that does not run reads it when it starts.
    """
    with suppress(local.NotRunning):
        local.ask(state / local.SOCKET_NAME, {"command": local.RETUNE})


class Remoting:
    """Remote control as *settings* want it: none, and nothing of it loaded, where they want none.

    *statuses* are the cameras' of this agent, None where another one captures; *retune* is called when what
    :func:`tuning_of` says has changed. *nucleus*: the Greengrass nucleus whose component this is. Used by one thread,
    but for :meth:`status`.
    """

    def __init__(
        self,
        clock: Clock,
        statuses: Callable[[], Statuses] | None,
        retune: Callable[[], None],
        nucleus: Nucleus | None = None,
    ) -> None:
        self._clock = clock
        self._statuses = statuses
        self._retune = retune
        self._nucleus = nucleus
        self._settings: Settings | None = None
        self._control: RemoteControl | None = None
        self._thread: threading.Thread | None = None

    def begin(self, settings: Settings) -> None:
        """Run as *settings* want it from now on; what runs already and is wanted the same goes on."""
        before, self._settings = self._settings, settings
        if before is not None and _wants(before) == _wants(settings):
            return
        self.end()
        if settings.control.mqtt is None and self._nucleus is None:
            return
        try:
            self._control = self._build(settings)
        except SpoolError as error:
            log.error("control_not_started", code=error.code, error=str(error))
            return
        self._thread = threading.Thread(target=self._control.run, name="control")
        self._thread.start()

    def end(self) -> None:
        """Say good-bye; returns when it is said."""
        if self._control is not None and self._thread is not None:
            self._control.close()
            self._thread.join()
        self._control = self._thread = None

    def status(self) -> dict[str, Any] | None:
        """How the link does; None where none is wanted."""
        control = self._control
        return None if control is None else control.status()

    def _build(self, settings: Settings) -> RemoteControl:
        """Raises SpoolError."""
        from edge_agent.control.outbox import Outbox
        from edge_agent.control.remote import RemoteControl
        from edge_agent.control.teller import Teller

        state = settings.state_directory
        desired = DesiredState(state, settings.fields)
        orders = DesiredUploads(desired)
        transport = self._transport(settings)
        teller = Teller(
            transport.thing,
            Outbox(state),
            self._clock,
            ledger=state / LEDGER_FILE,
            tombstones=Tombstones(state),
            spool=settings.spool,
            seconds=settings.control.telemetry_seconds,
        )
        return RemoteControl(transport, desired, teller, self._clock, lambda: self._facts(orders), self._retune)

    def _transport(self, settings: Settings) -> Transport:
        """In a component the nucleus's, whatever *settings* say: two connections of one thing throw each other out."""
        if self._nucleus is not None:
            from edge_agent.control.greengrass import GreengrassControl

            return GreengrassControl(self._nucleus, self._clock)
        from edge_agent.control.mqtt import MqttControl

        return MqttControl(mqtt_identity(settings), self._clock)

    def _facts(self, orders: DesiredUploads) -> Facts:
        from edge_agent.control.reported import Upload
        from edge_agent.control.shadow import Box
        from edge_agent.control.shadow_session import Facts

        settings = self._settings
        assert settings is not None  # noqa: S101 - begun
        now = self._clock.now()
        in_use = tuned(settings, tuning_of(settings))
        rules = Rules(
            Bandwidth.parse(in_use.upload.bandwidth, in_use.upload.timetable), in_use.upload.mode == "on_demand"
        )
        order = orders.current()
        allowed = allowance(rules, order, now)
        return Facts(
            Box(
                settings.device,
                settings.fields,
                tuple(settings.cameras),
                lambda name, every: sampling_fault(settings.cameras[name], every),
            ),
            {name: (settings.tag_of(name), camera.keep_every) for name, camera in in_use.cameras.items()},
            self._cameras(settings.state_directory),
            Upload(in_force(order, now), allowed.paused, allowed.rate),
        )

    def _cameras(self, state: Path) -> Statuses:
        if self._statuses is not None:
            return self._statuses()
        with suppress(local.NotRunning):
            found = local.ask(state / local.SOCKET_NAME, {"command": "status"}).get("cameras")
            return found if isinstance(found, dict) else {}
        return {}


def mqtt_identity(settings: Settings) -> MqttIdentity:
    """Who the box is to the broker. Only where ``control.mqtt`` is given."""
    from edge_agent.control.mqtt import MqttIdentity

    mqtt, iot = settings.control.mqtt, settings.store.iot
    assert mqtt is not None  # noqa: S101 - see above
    return MqttIdentity(
        endpoint=mqtt.endpoint,
        thing=mqtt.thing or (iot.thing if iot else "") or settings.device,
        certificate=mqtt.certificate or (iot.certificate if iot else ""),
        private_key=mqtt.private_key or (iot.private_key if iot else ""),
        ca=mqtt.ca or (iot.ca if iot else None),
    )


def _wants(settings: Settings) -> tuple[object, ...]:
    return settings.control, settings.store.iot, settings.state_directory
