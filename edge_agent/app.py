"""The composition root: with upload_process, which the upload process needs alone, where concrete objects are built."""

from __future__ import annotations

import queue
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge_agent.capture.report import STATUS, Event
from edge_agent.clock import Clock
from edge_agent.config import Settings, load
from edge_agent.control import local
from edge_agent.control.journal import Journal
from edge_agent.control.nucleus import Nucleus
from edge_agent.control.onlookers import Onlookers
from edge_agent.disk_watch import DiskWatch
from edge_agent.durable import os_errors
from edge_agent.errors import ConfigInvalid, DiskFull
from edge_agent.fleet import Fleet
from edge_agent.jobs import capture_job, rules, upload_job, web_job
from edge_agent.notify import Manager
from edge_agent.redact import redact
from edge_agent.reload import FileWatch, changes, restart_faults
from edge_agent.remoting import Remoting, retune_capture, tuning_of
from edge_agent.retention import Retention
from edge_agent.service import Service
from edge_agent.spool import Spool
from edge_agent.statuses import Cameras
from edge_agent.supervisor import Worker
from edge_agent.tuning import tuned

log = structlog.get_logger()

FILE_SECONDS = 2.0  # how often the settings file is looked at; one that is being written is left to settle as long
HANG_SECONDS = 15.0  # a capture process says every second that it is alive, also while its camera is away


def _tell(name: str, **fields: Any) -> None:
    level = "warning" if "error" in fields else "info"
    getattr(log, level)(name, **fields)


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the settings again: the file has changed, or somebody asked."""


class Retune:
    """An order has come that stands in place of a setting."""


class Ended:
    """A child has ended for good, or all are to end."""


class Heard:
    """A camera's status has come."""


class Agent:
    """The parent: one capture process a camera, one upload process, one for the page, the socket, the disk watch.

    :meth:`stop` and :meth:`reload` may be called from any thread and from a signal's handler.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        capture: bool,
        upload: bool,
        path: Path,
        journal: Journal | None = None,
        manager: Manager | None = None,
        nucleus: Nucleus | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._capture = capture
        self._upload = upload
        self._file = FileWatch(path)
        self._path = path
        self._inbox: queue.SimpleQueue[Reload | Retune | Ended | Heard] = queue.SimpleQueue()
        self._stopping = False
        self._cameras = Cameras(clock, self._disk_is_full)
        self._fleet = Fleet(clock, self._take, lambda: self._inbox.put(Ended()))
        self._onlookers = Onlookers(clock, journal or Journal(), self._fleet.say)
        self._disk: DiskWatch | None = None
        self._running: dict[str, Worker] = {}
        self._remote = Remoting(
            clock, self._cameras.status if capture else None, lambda: self._inbox.put(Retune()), nucleus
        )
        self._service = Service(manager or Manager(), clock, settings.spool)

    def stop(self) -> None:
        """Let every child finish what it does, and :meth:`run` return."""
        self._stopping = True
        self._inbox.put(Ended())

    def reload(self) -> None:
        """Read the settings file again, and do what has changed in it; a bad one is refused."""
        self._inbox.put(Reload())

    def run(self) -> None:
        """Run until :meth:`stop`, or, capturing only, until every source has come to its end.

        Raises SpoolError when the spool cannot be used, before anything is started.
        """
        state = self._settings.state_directory
        spool = Spool(self._settings.spool)
        with suppress(DiskFull):  # then there is all the more to do
            spool.prepare()
        with os_errors(state):
            state.mkdir(parents=True, exist_ok=True)
        socket = state / (local.SOCKET_NAME if self._capture else local.UPLOAD_SOCKET_NAME)
        local.refuse_second(socket)  # two that make room would delete twice
        with ExitStack() as stack:
            retention = Retention(spool, state, self._clock, rules(self._settings), _tell, records=self._capture)
            self._watch_disk(retention, stack)
            stack.enter_context(local.serve(socket, self._answer))
            workers = self._running = self._workers(self._settings)
            log.info("agent_started", device=self._settings.device, processes=len(workers), upload=self._upload)
            stack.callback(self._remote.end)  # last: what the children finish is told, too
            stack.callback(self._fleet.stop)
            for worker in workers.values():
                self._fleet.start(worker)
            if self._upload:  # what only captures has no network
                self._remote.begin(self._settings)
            self._wait()
            self._service.stopping()
        log.info("agent_stopped")

    def _wait(self) -> None:
        """Reload when asked to; return when there is no child any more, or none is wanted."""
        while len(self._fleet) and not self._stopping:
            self._service.turn(self._cameras.status(), unknown=self._fleet.unknown(), late=self._fleet.late())
            try:
                item = self._inbox.get(timeout=FILE_SECONDS)
            except queue.Empty:
                if self._file.look():
                    self._reload()
                continue
            if isinstance(item, Reload):
                self._file.read()
                self._reload()
            elif isinstance(item, Retune):
                self._restart()
                if not self._capture:
                    retune_capture(self._settings.state_directory)
            else:
                self._fleet.reap()

    def _watch_disk(self, retention: Retention, stack: ExitStack) -> None:
        retention.begin()
        watch = self._disk = DiskWatch(retention, self._fleet.order)
        watch.look()
        thread = threading.Thread(target=watch.run, name="disk")
        thread.start()
        stack.callback(thread.join)
        stack.callback(watch.close)

    def _take(self, event: Event) -> None:
        if not self._onlookers.hear(event):
            self._cameras.take(event)
        if event.name == STATUS and not self._service.ready:
            self._inbox.put(Heard())

    def _disk_is_full(self, camera: str) -> None:
        if self._disk is not None:
            self._disk.camera_full(camera)

    def _workers(self, settings: Settings) -> dict[str, Worker]:
        """The children *settings* want, by key, as orders have tuned them."""
        settings = tuned(settings, tuning_of(settings))
        wanted = [
            Worker(name, "capture", capture_job(settings, name).to_line(), silence=HANG_SECONDS)
            for name in (settings.cameras if self._capture else ())
        ]
        if self._upload:
            wanted.append(Worker("upload", "upload", upload_job(settings).to_line()))
        if self._upload and settings.web:  # what only captures has no network to be reached by
            wanted.append(Worker("web", "web", web_job(settings, settings.web).to_line()))
        return {worker.key: worker for worker in wanted}

    def _reload(self) -> None:
        """Take over what the settings file says now, or refuse all of it with a line for each fault."""
        self._service.reloading()
        try:
            settings = load(self._path)
        except ConfigInvalid as error:
            faults = str(error).splitlines()
        else:
            faults = [f"{self._path}: {fault}" for fault in restart_faults(self._settings, settings)]
        if faults:
            for fault in faults:
                log.error("reload_refused", error=fault)
            return
        self._settings = settings
        self._restart()
        if self._disk is not None:
            self._disk.change(rules(settings))
        if self._upload:
            self._remote.begin(settings)

    def _restart(self) -> None:
        """Replace the children whose orders have changed, by the settings or in place of them."""
        wanted = self._workers(self._settings)
        todo = changes(self._running, wanted)
        self._running = wanted
        self._fleet.stop(set(todo.stop))
        self._cameras.keep(wanted)
        for name in sorted(todo.start):
            self._fleet.start(wanted[name])
        log.info("settings_reloaded", stopped=sorted(todo.stop), started=sorted(todo.start))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("command"):
            case "ping":
                return {"ok": True}
            case local.RETUNE:
                self._inbox.put(Retune())
                return {"ok": True}
            case "status":
                disk = self._disk.status() if self._disk else {}
                roles = {"captures": self._capture, "uploads": self._upload}
                return {"cameras": self._cameras.status(), "disk": disk, "link": self._remote.status(), **roles}
        if (shown := self._onlookers.answer(request)) is not None:
            return shown
        return {"error": f"unknown command {redact(str(request.get('command')))[:40]!r}"}
