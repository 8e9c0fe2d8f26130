"""The agent's settings: read, checked whole, and refused with every fault at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edge_agent.camera import Encoding, GateSettings, HealthSettings, Transport
from edge_agent.config_base import Span, StrictSettings, checked
from edge_agent.config_control import ControlSettings, mqtt_misfit
from edge_agent.config_upload import ForeignSettings, StoreSettings, UploadSettings
from edge_agent.config_web import WebSettings
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.identity import misfit
from edge_agent.redact import safe
from edge_agent.segment import (
    DEFAULT_FIELDS,
    ClassTag,
    check_camera,
    check_device,
    check_fields,
    check_name_length,
)
from edge_agent.settings_file import read_mapping
from edge_agent.source_url import check_settings, check_source
from edge_agent.telemetry import LogFormat
from edge_agent.timetable import Timetable


def _check_gate(gate: GateSettings) -> None:
    """Refuse here what would end the capture process: a window that is none, an area that leaves the picture."""
    Timetable.parse(gate.schedule)
    for x, y, width, height in gate.ignore:
        if not width or not height or x + width > 1.000001 or y + height > 1.000001:
            raise ConfigInvalid(
                f"area {[x, y, width, height]} leaves the picture or is empty",
                where="ignore",
                fix="write [x, y, width, height] as fractions of the picture",
            )


class CameraSettings(StrictSettings):
    """One camera. ``source`` may hold a password and is therefore never shown."""

    source: Annotated[SecretStr, checked(lambda source: check_source(source.get_secret_value()))]
    class_: dict[str, str] | None = Field(default=None, alias="class", description="class until someone sets another")
    segment_seconds: float = Field(default=60, ge=0.2, le=3600, description="cut at the first keyframe after this")
    stall_seconds: float = Field(default=10, ge=1, le=600, description="no packet for this long: reconnect")
    transport: Transport = Field(default="tcp", description="how RTSP carries its packets")
    audio: bool = Field(default=False, description="record the camera's sound too")
    keep_every: int = Field(default=1, ge=1, le=1000, description="of a stream of keyframes only, keep 1 packet in N")
    encode: Encoding = Encoding()
    gate: Annotated[GateSettings, checked(_check_gate)] = GateSettings()
    health: HealthSettings = HealthSettings()

    @model_validator(mode="after")
    def _fits_source(self) -> Self:
        """Nothing is asked of a source that its kind can never do."""
        try:
            check_settings(
                check_source(self.source.get_secret_value()),
                transport=self.transport,
                audio=self.audio,
                keep_every=self.keep_every,
            )
        except EdgeCaptureError as error:
            raise ValueError(safe(str(error))) from error
        return self


class KeepSettings(StrictSettings):
    """How long, or how many bytes of, verified copies are kept at all; without both, until room is needed."""

    age: Span | None = Field(default=None, ge=0, description="since the upload")
    size: ByteSize | None = Field(default=None, description="all copies together; the first uploaded goes first")


class DiskSettings(StrictSettings):
    """How much of the disk segments may take. Sizes in bytes, or as ``20GB``, ``512MiB``."""

    quota: ByteSize | None = Field(default=None, description="what the spool may hold; default: no bound of its own")
    free: ByteSize = Field(default=ByteSize(1 << 30), description="what stays free on the spool's file system")
    when_full: Literal["pause", "drop_oldest"] = "pause"
    priorities: dict[str, int] = Field(default={}, description="class tag to priority; the highest is sent first")
    keep_uploaded: KeepSettings = KeepSettings()


def _tag_faults(where: str, tags: Iterable[str], fields: tuple[str, ...]) -> list[str]:
    """A fault for each class tag that no segment can have."""
    faults = []
    for text in tags:
        try:
            ClassTag.parse(text, fields)
        except EdgeCaptureError as error:
            faults.append(f"{where}: {error}")
    return faults


class LogSettings(StrictSettings):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = "auto"


class Settings(StrictSettings):
    """Everything in ``edge-agent.yaml``."""

    device: Annotated[str, checked(check_device)]
    fields: Annotated[tuple[str, ...], checked(check_fields)] = DEFAULT_FIELDS
    spool: Path
    state: Path | None = Field(default=None, description="ledger and desired state; default: state/ in the spool")
    store: StoreSettings
    cameras: dict[Annotated[str, checked(lambda name: check_camera(safe(name)))], CameraSettings] = Field(min_length=1)
    disk: DiskSettings = DiskSettings()
    upload: UploadSettings = UploadSettings()
    foreign: tuple[ForeignSettings, ...] = Field(default=(), description="directories where others drop videos")
    web: WebSettings | None = Field(default=None, description="the local page; none without it")
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()

    @field_validator("cameras")
    @classmethod
    def _classes_fit(cls, cameras: dict[str, CameraSettings], info: ValidationInfo) -> dict[str, CameraSettings]:
        """Every class has the configured fields, and makes names that are not too long; all faults at once."""
        faults = []
        for name, camera in cameras.items():
            if camera.class_ is None or "fields" not in info.data:
                continue
            try:
                check_name_length(
                    ClassTag.of(camera.class_, info.data["fields"]), info.data.get("device", "device"), name
                )
            except EdgeCaptureError as error:
                faults.append(f".{name}.class: {error}")
        if faults:
            raise ValueError("\n".join(faults))
        return cameras

    @field_validator("store")
    @classmethod
    def _iot_fits(cls, store: StoreSettings, info: ValidationInfo) -> StoreSettings:
        """A certificate goes with S3, without a profile, for a thing."""
        if store.iot and (fault := misfit(store.iot, store.url, store.profile, info.data.get("device", "device"))):
            raise ValueError(f".iot{fault}")
        return store

    @field_validator("control")
    @classmethod
    def _mqtt_fits(cls, control: ControlSettings, info: ValidationInfo) -> ControlSettings:
        """There is a certificate, and a thing it belongs to."""
        if control.mqtt and "store" in info.data:
            store: StoreSettings = info.data["store"]
            if fault := mqtt_misfit(control.mqtt, store.iot, info.data.get("device", "device")):
                raise ValueError(f".mqtt{fault}")
        return control

    @field_validator("disk")
    @classmethod
    def _priorities_fit(cls, disk: DiskSettings, info: ValidationInfo) -> DiskSettings:
        """Every priority is one of a class that can be, as ``yellow_box``."""
        if "fields" in info.data and (faults := _tag_faults(".priorities", disk.priorities, info.data["fields"])):
            raise ValueError("\n".join(faults))
        return disk

    @field_validator("web")
    @classmethod
    def _classes_can_be(cls, web: WebSettings | None, info: ValidationInfo) -> WebSettings | None:
        """Every class on the page is one that can be, as ``yellow_box``."""
        if web and "fields" in info.data and (faults := _tag_faults(".classes", web.classes, info.data["fields"])):
            raise ValueError("\n".join(faults))
        return web

    @field_validator("foreign")
    @classmethod
    def _foreign_fits(cls, foreign: tuple[ForeignSettings, ...], info: ValidationInfo) -> tuple[ForeignSettings, ...]:
        """Each directory is outside the spool and named once, its class fits, and its camera is none of ours."""
        faults = []
        spool = info.data.get("spool", Path())
        for number, drop in enumerate(foreign):
            resolved = [other.path.resolve() for other in foreign[:number]]
            if drop.path.resolve() in resolved:
                faults.append(f".{number}.path: stands here twice")
            if "spool" in info.data and drop.path.resolve().is_relative_to(spool.resolve()):
                faults.append(f".{number}.path: lies in the spool; name a directory outside it")
            if drop.camera in info.data.get("cameras", ()):
                faults.append(f".{number}.camera: is one of the cameras; name another")
            try:
                if "fields" in info.data:
                    tag = ClassTag.of(drop.class_, info.data["fields"])
                    check_name_length(tag, info.data.get("device", "device"), drop.camera)
            except EdgeCaptureError as error:
                faults.append(f".{number}.class: {error}")
        if faults:
            raise ValueError("\n".join(faults))
        return foreign

    @property
    def state_directory(self) -> Path:
        return self.state or self.spool / "state"

    def tag_of(self, camera: str) -> ClassTag | None:
        """The class *camera* records under until someone sets another."""
        values = self.cameras[camera].class_
        return None if values is None else ClassTag.of(values, self.fields)


def load(path: Path) -> Settings:
    """The settings in the YAML file *path*. Raises ConfigInvalid, whose ``faults`` hold one line each.

    A relative ``spool`` or ``state`` is relative to the working directory, as on any command line.
    """
    example = "config/edge-agent.yaml"
    document = read_mapping(path, example)
    if not document:
        raise ConfigInvalid("holds no settings", where=str(path), fix=f"start from {example}")
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise invalid(error, str(path)) from error


def invalid(error: ValidationError, where: str) -> ConfigInvalid:
    """All of *error*'s faults, a line each, none of them showing the input (it may be a password)."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        path = safe(".".join(str(part) for part in fault["loc"] if part != "[key]"))
        path = path if path.isprintable() else ascii(path)
        lines = fault["msg"].removeprefix("Value error, ").splitlines()
        faults += [f"{path}{line}" if line.startswith(".") else f"{path}: {line}" if path else line for line in lines]
    return ConfigInvalid("\n".join(f"{where}: {fault}" for fault in faults))
