"""What each part is told of the settings: the children's jobs, and the disk's rules. Pure."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.capture.job import CaptureJob
from edge_agent.config import Settings
from edge_agent.config_upload import ForeignSettings
from edge_agent.config_web import WebSettings, parse_listen
from edge_agent.control.web.job import WebJob
from edge_agent.quota import Keep, Policy
from edge_agent.retention import Rules
from edge_agent.segment import ClassTag
from edge_agent.upload.drop import Drop
from edge_agent.upload.job import UploadJob


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
        checksum=store.checksum,
        iot=store.iot and replace(store.iot, thing=store.iot.thing or settings.device),
        rescan_seconds=settings.upload.rescan_seconds,
        priorities=settings.disk.priorities,
        on_demand=settings.upload.mode == "on_demand",
        bandwidth=settings.upload.bandwidth,
        timetable=settings.upload.timetable,
        foreign=tuple(drop_of(drop, settings.fields) for drop in settings.foreign),
        log_level=settings.log.level,
        log_format=settings.log.format,
    )


def web_job(settings: Settings, web: WebSettings) -> WebJob:
    """What the page's process needs to know."""
    host, port = parse_listen(web.listen)
    return WebJob(
        device=settings.device,
        fields=settings.fields,
        cameras={name: camera.class_ for name, camera in settings.cameras.items()},
        classes=(*web.classes, *settings.disk.priorities),
        spool=str(settings.spool),
        state=str(settings.state_directory),
        host=host,
        port=port,
        names=web.hosts,
        quota=settings.disk.quota,
        keep_free=settings.disk.free,
    )


def drop_of(drop: ForeignSettings, fields: tuple[str, ...]) -> Drop:
    """A foreign directory as the upload process is told of it."""
    return Drop(str(drop.path), ClassTag.of(drop.class_, fields).values, drop.camera, drop.settle_seconds)


def rules(settings: Settings) -> Rules:
    """How much of the disk segments may take."""
    disk = settings.disk
    keep = Keep(disk.keep_uploaded.age, disk.keep_uploaded.size)
    return Rules(Policy(disk.quota, disk.free, disk.when_full == "drop_oldest"), disk.priorities, keep)
