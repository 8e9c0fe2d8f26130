"""The page's document as Prometheus metrics (text format 0.0.4). Pure. docs/operations/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "edge_capture_"


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` without PREFIX, ending in its unit; ``kind`` is gauge or counter."""

    name: str
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class Sample:
    metric: Metric
    labels: Mapping[str, str]
    value: float


def _gauge(name: str, text: str) -> Metric:
    return Metric(name, "gauge", text)


INFO = _gauge("info", "1; labels: device, version")
UP = _gauge("agent_up", "1 while the agent answers its page")
HEALTHY = _gauge("camera_healthy", "1 while footage lands as it should")
RECORDING = _gauge("camera_recording", "1 while a segment is open")
STOPPED = _gauge("camera_stopped", "1 while an operator has stopped the camera")
CLASS = _gauge("camera_class", "1; label class: what the camera records, or would record, under")
DURABLE = _gauge("camera_last_durable_age_seconds", "since footage of the open segment last reached the disk")
COUNTERS = {
    key: Metric(f"camera_{name}_total", "counter", text)
    for key, name, text in (
        ("packets", "packets", "packets the camera sent"),
        ("segments", "segments", "segments finished"),
        ("abandoned", "abandoned_segments", "segments left to salvage after a disk error"),
        ("dropped", "dropped_packets", "packets that could not be used"),
        ("corrupt", "corrupt_packets", "packets marked as damaged"),
        ("retimed", "retimed_packets", "packets whose timestamps were mended"),
        ("clock_steps", "clock_steps", "times the box's clock was set"),
    )
}
SPOOL_SEGMENTS = _gauge("spool_segments", "files; label directory")
SPOOL_BYTES = _gauge("spool_bytes", "their bytes; label directory")
DISK_USED = _gauge("disk_used_bytes", "what the spool takes")
DISK_FREE = _gauge("disk_free_bytes", "free on its file system")
DISK_SIZE = _gauge("disk_size_bytes", "of its file system")
DISK_QUOTA = _gauge("disk_quota_bytes", "what the spool may take; absent without a quota")
DISK_PAUSED = _gauge("disk_recording_paused", "1 while recording waits for room")
LOST = Metric("dropped_unsent_segments_total", "counter", "segments deleted without ever having been uploaded")
WAITING = _gauge("upload_waiting_segments", "segments that wait for upload")
WAITING_BYTES = _gauge("upload_waiting_bytes", "their bytes")
OLDEST = _gauge("upload_oldest_waiting_age_seconds", "since the oldest of them arrived; absent while none waits")
RATE = _gauge("upload_rate_bytes_per_second", "of lately")
ETA = _gauge("upload_eta_seconds", "until all that waits has been sent; absent while nothing is being sent")
IN_FLIGHT = _gauge("upload_in_flight_segments", "being sent")
LINK = _gauge("upload_link_up", "0 while the store cannot be reached")
PAUSED = _gauge("upload_paused", "1 while uploads pause by command, timetable or mode")
LEDGER = _gauge("upload_ledger_segments", "segments the ledger knows; label state")
LAST = _gauge("upload_last_success_timestamp_seconds", "when a segment was last uploaded; absent before the first")


def exposition(document: Mapping[str, Any]) -> str:
    """All metrics of *document*, in the order of their names' first mention here."""
    lines: list[str] = []
    seen: set[str] = set()
    for sample in sorted(samples(document), key=lambda sample: sample.metric.name):
        name = PREFIX + sample.metric.name
        if name not in seen:
            seen.add(name)
            lines += [f"# HELP {name} {sample.metric.help}", f"# TYPE {name} {sample.metric.kind}"]
        number = _number(sample.value)
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
        lines.append(f"{name}{{{labels}}} {number}" if labels else f"{name} {number}")
    return "\n".join(lines) + "\n"


def samples(document: Mapping[str, Any]) -> Iterator[Sample]:
    """What *document* measures; what it does not know is absent."""
    yield Sample(INFO, {"device": document["device"], "version": document["version"]}, 1)
    yield Sample(UP, {}, document["running"])
    for camera in document["cameras"]:
        yield from _camera(camera)
    for directory, found in document["spool"].items():
        yield Sample(SPOOL_SEGMENTS, {"directory": directory}, found["segments"])
        yield Sample(SPOOL_BYTES, {"directory": directory}, found["bytes"])
    disk = document["disk"]
    pairs = ((DISK_USED, "used"), (DISK_FREE, "free"), (DISK_SIZE, "total"), (DISK_QUOTA, "quota"))
    yield from _present(disk, (*pairs, (LOST, "lost_segments")))
    yield Sample(DISK_PAUSED, {}, bool(disk.get("paused")))
    yield from _upload(document["upload"], datetime.fromisoformat(document["now"]))


def _camera(camera: Mapping[str, Any]) -> Iterator[Sample]:
    labels = {"camera": camera["name"]}
    status = camera["status"]
    yield Sample(HEALTHY, labels, bool(status.get("healthy")))
    yield Sample(RECORDING, labels, bool(status.get("segment")))
    yield Sample(STOPPED, labels, camera["stopped"])
    if camera["class"]:
        yield Sample(CLASS, {**labels, "class": camera["class"]["tag"]}, 1)
    if status.get("last_durable_age") is not None:
        yield Sample(DURABLE, labels, status["last_durable_age"])
    for key, metric in COUNTERS.items():
        if key in status:
            yield Sample(metric, labels, status[key])


def _upload(upload: Mapping[str, Any], now: datetime) -> Iterator[Sample]:
    if "waiting" not in upload:
        return  # the uploader never ran, or its ledger cannot be read
    yield from _present(
        upload,
        (
            (WAITING, "waiting"),
            (WAITING_BYTES, "waiting_bytes"),
            (RATE, "rate"),
            (ETA, "eta"),
            (IN_FLIGHT, "in_flight"),
        ),
    )
    yield Sample(LINK, {}, not upload["link"])
    yield Sample(PAUSED, {}, bool(upload["paused"]))
    if upload["oldest_waiting"]:
        age = (now - datetime.fromisoformat(upload["oldest_waiting"])).total_seconds()
        yield Sample(OLDEST, {}, max(0.0, age))
    if upload["last_uploaded"]:
        yield Sample(LAST, {}, datetime.fromisoformat(upload["last_uploaded"]["at"]).timestamp())
    for state, number in upload["counts"].items():
        yield Sample(LEDGER, {"state": state}, number)


def _present(found: Mapping[str, Any], pairs: Iterable[tuple[Metric, str]]) -> Iterator[Sample]:
    for metric, key in pairs:
        if found.get(key) is not None:
            yield Sample(metric, {}, found[key])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
