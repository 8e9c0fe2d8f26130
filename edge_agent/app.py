"""The composition root: the only place where concrete objects are built."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Container
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.clock import Clock
from edge_agent.config import Settings, load
from edge_agent.control import local
from edge_agent.disk_watch import DiskWatch
from edge_agent.durable import os_errors
from edge_agent.errors import ConfigInvalid, DiskFull
from edge_agent.fleet import Fleet
from edge_agent.quota import Policy
from edge_agent.redact import redact
from edge_agent.reload import FileWatch, changes, restart_faults
from edge_agent.retention import Retention, Rules
from edge_agent.spool import Spool
from edge_agent.supervisor import Worker
from edge_agent.tombstones import Tombstones
from edge_agent.upload.job import UploadJob

if TYPE_CHECKING:
    from edge_agent.upload.uploader import Uploader

log = structlog.get_logger()

LEDGER_NAME = "ledger.sqlite"
FILE_SECONDS = 2.0  # how often the settings file is looked at; one that is being written is left to settle as long
HANG_SECONDS = 15.0  # a capture process says every second that it is alive, also while its camera is away


def capture_job(settings: Settings, camera: str) -> CaptureJob:
    """What the capture process of *camera* needs to know."""
    chosen = settings.cameras[camera]
    return CaptureJob(
        device=settings.device,
        camera=camera,
        fields=settings.fields,
        source=chosen.source.get_secret_value(),
        tag=chosen.class_,
        spool=str(settings.spool),
        state=str(settings.state_directory),
        segment_seconds=chosen.segment_seconds,
        stall_seconds=chosen.stall_seconds,
        transport=chosen.transport,
        audio=chosen.audio,
        keep_every=chosen.keep_every,
        encode=chosen.encode,
        gate=chosen.gate,
        health=chosen.health,
    )


def upload_job(settings: Settings) -> UploadJob:
    """What the upload process needs to know."""
    store = settings.store
    return UploadJob(
        device=settings.device,
        fields=settings.fields,
        spool=str(settings.spool),
        state=str(settings.state_directory),
        store=store.url,
        endpoint_url=store.endpoint_url,
        region=store.region,
        profile=store.profile,
        rescan_seconds=settings.upload.rescan_seconds,
        log_level=settings.log.level,
        log_format=settings.log.format,
    )


def rules(settings: Settings) -> Rules:
    """How much of the disk segments may take."""
    disk = settings.disk
    return Rules(Policy(disk.quota, disk.free, disk.when_full == "drop_oldest"), disk.priorities)


def _tell(name: str, **fields: Any) -> None:
    level = "warning" if "error" in fields else "info"
    getattr(log, level)(name, **fields)


@dataclass(slots=True)
class Cameras:
    """What the capture processes last said of themselves. Safe to use from several threads.

    ``on_full`` is called with a camera's name when that camera has found the disk full.
    """

    on_full: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _status: dict[str, dict[str, Scalar]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Log a fact, keep a status."""
        if event.name == STATUS:
            with self._lock:
                self._status[event.camera] = event.fields
        else:
            level = "warning" if "error" in event.fields else "info"
            getattr(log, level)(event.name, camera=event.camera, **event.fields)
            if event.fields.get("code") == DiskFull.__name__:
                self.on_full(event.camera)

    def keep(self, names: Container[str]) -> None:
        """Forget what cameras said that are no more."""
        with self._lock:
            self._status = {name: fields for name, fields in self._status.items() if name in names}

    def status(self) -> dict[str, dict[str, Scalar]]:
        with self._lock:
            return {camera: dict(fields) for camera, fields in self._status.items()}


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the settings again: the file has changed, or somebody asked."""


class Ended:
    """A child has ended for good, or all are to end."""


class Agent:
    """The parent: one capture process a camera, one upload process, the local socket, the watch over the disk.

    :meth:`stop` and :meth:`reload` may be called from any thread and from a signal's handler.
    """

    def __init__(self, settings: Settings, clock: Clock, *, capture: bool, upload: bool, path: Path) -> None:
        self._settings = settings
        self._clock = clock
        self._capture = capture
        self._upload = upload
        self._file = FileWatch(path)
        self._path = path
        self._inbox: queue.SimpleQueue[Reload | Ended] = queue.SimpleQueue()
        self._stopping = False
        self._cameras = Cameras(self._disk_is_full)
        self._fleet = Fleet(clock, self._cameras.take, lambda: self._inbox.put(Ended()))
        self._disk: DiskWatch | None = None

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
        if self._capture:
            local.refuse_second(state / local.SOCKET_NAME)  # two that make room would delete twice
        with ExitStack() as stack:
            if self._capture:
                self._watch_disk(Retention(spool, state, self._clock, rules(self._settings), _tell), stack)
                stack.enter_context(local.serve(state / local.SOCKET_NAME, self._answer))
            workers = self._workers(self._settings)
            log.info("agent_started", device=self._settings.device, processes=len(workers), upload=self._upload)
            stack.callback(self._fleet.stop)
            for worker in workers.values():
                self._fleet.start(worker)
            self._wait()
        log.info("agent_stopped")

    def _wait(self) -> None:
        """Reload when asked to; return when there is no child any more, or none is wanted."""
        while len(self._fleet) and not self._stopping:
            try:
                item = self._inbox.get(timeout=FILE_SECONDS)
            except queue.Empty:
                if self._file.look():
                    self._reload()
                continue
            if isinstance(item, Reload):
                self._file.read()
                self._reload()
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

    def _disk_is_full(self, camera: str) -> None:
        if self._disk is not None:
            self._disk.camera_full(camera)

    def _workers(self, settings: Settings) -> dict[str, Worker]:
        """The children *settings* want, by key."""
        wanted = [
            Worker(name, "capture", capture_job(settings, name).to_line(), silence=HANG_SECONDS)
            for name in (settings.cameras if self._capture else ())
        ]
        if self._upload:
            wanted.append(Worker("upload", "upload", upload_job(settings).to_line()))
        return {worker.key: worker for worker in wanted}

    def _reload(self) -> None:
        """Take over what the settings file says now, or refuse all of it with a line for each fault."""
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
        wanted = self._workers(settings)
        todo = changes(self._workers(self._settings), wanted)
        self._settings = settings
        self._fleet.stop(set(todo.stop))
        self._cameras.keep(wanted)
        for name in sorted(todo.start):
            self._fleet.start(wanted[name])
        if self._disk is not None:
            self._disk.change(rules(settings))
        log.info("settings_reloaded", stopped=sorted(todo.stop), started=sorted(todo.start))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("command"):
            case "ping":
                return {"ok": True}
            case "status":
                disk = self._disk.status() if self._disk else {}
                return {"cameras": self._cameras.status(), "disk": disk}
        return {"error": f"unknown command {redact(str(request.get('command')))[:40]!r}"}


def build_uploader(job: UploadJob, clock: Clock) -> Uploader:
    """The uploader *job* describes, with its ledger in the state directory."""
    from edge_agent.store import open_store
    from edge_agent.upload.ledger import Ledger
    from edge_agent.upload.uploader import Uploader

    store = open_store(job.store, endpoint_url=job.endpoint_url, region=job.region, profile=job.profile)
    state = Path(job.state)
    ledger = Ledger(state / LEDGER_NAME)
    return Uploader(
        Spool(Path(job.spool)),
        store,
        ledger,
        clock,
        device=job.device,
        fields=job.fields,
        rescan_seconds=job.rescan_seconds,
        tombstones=Tombstones(state),
    )
