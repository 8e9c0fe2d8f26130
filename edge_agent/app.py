"""The composition root: the only place where concrete objects are built."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.clock import Clock
from edge_agent.config import Settings
from edge_agent.control import local
from edge_agent.redact import redact
from edge_agent.spool import Spool, os_errors
from edge_agent.supervisor import Worker, supervise
from edge_agent.upload.job import UploadJob

if TYPE_CHECKING:
    from edge_agent.upload.uploader import Uploader

log = structlog.get_logger()

LEDGER_NAME = "ledger.sqlite"
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


@dataclass(slots=True)
class Cameras:
    """What the capture processes last said of themselves. Safe to use from several threads."""

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

    def status(self) -> dict[str, dict[str, Scalar]]:
        with self._lock:
            return {camera: dict(fields) for camera, fields in self._status.items()}


class Agent:
    """The parent: one capture process a camera, one upload process, the local socket."""

    def __init__(self, settings: Settings, clock: Clock, *, capture: bool, upload: bool) -> None:
        self._settings = settings
        self._clock = clock
        self._capture = capture
        self._upload = upload
        self._cameras = Cameras()

    def run(self, stop: threading.Event) -> None:
        """Run until *stop*, or, capturing only, until every source has come to its end.

        Raises SpoolError when the spool cannot be used, before anything is started.
        """
        spool = Spool(self._settings.spool)
        spool.prepare()
        with os_errors(self._settings.state_directory):
            self._settings.state_directory.mkdir(parents=True, exist_ok=True)
        captures = [
            Worker(name, "capture", capture_job(self._settings, name).to_line(), silence=HANG_SECONDS)
            for name in (self._settings.cameras if self._capture else ())
        ]
        uploads = [Worker("upload", "upload", upload_job(self._settings).to_line())] if self._upload else []
        log.info("agent_started", device=self._settings.device, cameras=len(captures), upload=self._upload)
        with ExitStack() as stack:
            if self._capture:
                stack.enter_context(local.serve(self._settings.state_directory / local.SOCKET_NAME, self._answer))
            threads = [
                threading.Thread(
                    target=supervise, args=(worker, stop, self._clock, self._cameras.take), name=f"watch-{worker.name}"
                )
                for worker in (*captures, *uploads)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        log.info("agent_stopped")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("command"):
            case "ping":
                return {"ok": True}
            case "status":
                return {"cameras": self._cameras.status()}
        return {"error": f"unknown command {redact(str(request.get('command')))[:40]!r}"}


def build_uploader(job: UploadJob, clock: Clock) -> Uploader:
    """The uploader *job* describes, with its ledger in the state directory."""
    from edge_agent.store import open_store
    from edge_agent.upload.ledger import Ledger
    from edge_agent.upload.uploader import Uploader

    store = open_store(job.store, endpoint_url=job.endpoint_url, region=job.region, profile=job.profile)
    ledger = Ledger(Path(job.state) / LEDGER_NAME)
    return Uploader(
        Spool(Path(job.spool)),
        store,
        ledger,
        clock,
        device=job.device,
        fields=job.fields,
        rescan_seconds=job.rescan_seconds,
    )
