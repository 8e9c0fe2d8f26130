"""The link to the cloud that a Greengrass nucleus lends its components: IPC, through the nucleus's MQTT proxy.

The nucleus keeps the connection to AWS IoT Core, and the client id; a component that connected by itself would throw it
out. Both nuclei are served alike; what only one of them has is asked for, and done without where it is refused. The
IPC library (awsiotsdk) is loaded by :meth:`GreengrassControl.start`, not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from edge_agent.backoff import backoff
from edge_agent.clock import Clock
from edge_agent.control.nucleus import ComponentState, Ipc, Nucleus, load
from edge_agent.control.transport import MAX_PAYLOAD, Handler, Link
from edge_agent.errors import ControlError, ControlRefused, ControlUnreachable

ANSWER_SECONDS = 10.0
"""A publish that is not answered for so long: the nucleus hangs, and the session is begun anew."""
STOP_SECONDS = 1.8  # less than the two seconds that closing may take
STEADY_SECONDS = 60.0  # a session that held this long starts its back-off anew
OFFLINE = "the nucleus has no connection to AWS IoT Core"


@dataclass(slots=True)
class _Session:
    """One connection to the nucleus. ``over``: it has ended, or is to; ``why``, unless it is simply to.

    ``most``: bytes of a payload. ``waiting``: who waits for the nucleus's answer, since when.
    """

    over: threading.Event = field(default_factory=threading.Event)
    why: ControlError | None = None
    most: int = MAX_PAYLOAD
    waiting: dict[Future[None], float] = field(default_factory=dict)

    def end(self, why: ControlError) -> None:
        """The first reason stands."""
        self.why = self.why or why
        self.over.set()


class GreengrassControl:
    """A :class:`~edge_agent.control.transport.Transport` through the nucleus that started this component.

    The link is up from the moment all subscriptions are granted. A nucleus that tells when it is offline takes it down;
    with one that does not (nucleus lite), the first message that does not pass ends the session, and the next is begun.
    """

    def __init__(self, nucleus: Nucleus, clock: Clock) -> None:
        self.thing = nucleus.thing
        self._nucleus = nucleus
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._on_link: Callable[[Link], None] = lambda _: None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._open: tuple[Ipc, _Session] | None = None

    def subscribe(self, topic: str, handler: Handler) -> None:
        self._handlers[topic] = handler

    def start(self, on_link: Callable[[Link], None]) -> None:
        load()
        self._on_link = on_link
        # A daemon: a connect that hangs may outlast what closing may take.
        self._thread = threading.Thread(target=self._run, name="greengrass", daemon=True)
        self._thread.start()

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        answer: Future[None] = Future()
        with self._lock:
            if self._open is None:
                answer.set_exception(ControlUnreachable("no session with the nucleus", where="greengrass"))
                return answer
            ipc, session = self._open
            if len(payload) <= session.most:
                session.waiting[answer] = self._clock.monotonic()
        if len(payload) > session.most:
            what = f"message of {len(payload)} bytes is too large; this nucleus takes {session.most}"
            answer.set_exception(ControlRefused(what, where=topic))
        else:
            ipc.publish(topic, payload, lambda error: self._answered(session, answer, error))
        return answer

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            if self._open is not None:
                self._open[1].over.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            began = self._clock.monotonic()
            try:
                self._run_once()
            except ControlError as error:
                self._say(Link(False, str(error)))
            attempt = 1 if self._clock.monotonic() - began > STEADY_SECONDS else attempt + 1
            self._clock.wait(self._closing, backoff(attempt))

    def _run_once(self) -> None:
        """One session, to its end. Raises ControlError, unless it ends because this one is closed."""
        session = _Session()
        ipc = Ipc.connect(self._nucleus, session.end)
        try:
            session.most = ipc.payload_limit()
            for topic in self._handlers:
                ipc.subscribe(topic, self._hear, session.end)
            ipc.report_state(ComponentState.RUNNING)
            with self._lock:
                self._open = ipc, session
            self._say(Link(True))
            ipc.watch_connection(self._online)
            self._wait(session)
        finally:
            self._forget(session)
            ipc.close()
        if session.why is not None and not self._closing.is_set():
            raise session.why

    def _wait(self, session: _Session) -> None:
        """Until the session is over; one whose nucleus does not answer is."""
        while not self._closing.is_set() and not self._clock.wait(session.over, ANSWER_SECONDS):
            with self._lock:
                oldest = min(session.waiting.values(), default=None)
            if oldest is not None and self._clock.monotonic() - oldest > ANSWER_SECONDS:
                session.end(ControlUnreachable("the nucleus does not answer", where="greengrass"))

    def _forget(self, session: _Session) -> None:
        """Nobody is left waiting for an answer of a session that is over."""
        with self._lock:
            self._open = None
            left, session.waiting = session.waiting, {}
        for answer in left:
            answer.set_exception(ControlUnreachable("the session with the nucleus has ended", where="greengrass"))

    def _answered(self, session: _Session, answer: Future[None], error: ControlError | None) -> None:
        with self._lock:
            given_up = session.waiting.pop(answer, None) is None
        if given_up:
            return
        if error is None:
            answer.set_result(None)
            return
        answer.set_exception(error)
        if isinstance(error, ControlUnreachable):
            session.end(error)

    def _hear(self, topic: str, payload: bytes) -> None:
        handler = self._handlers.get(topic)
        if handler is not None and not self._closing.is_set():
            handler(topic, payload)

    def _online(self, online: bool) -> None:
        self._say(Link(True) if online else Link(False, f"greengrass: {OFFLINE}"))

    def _say(self, link: Link) -> None:
        if not self._closing.is_set():
            self._on_link(link)
