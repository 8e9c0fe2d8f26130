"""What the upload tests share: segments that are ready, stores that fail on demand, an uploader in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from edge_agent.clock import Clock
from edge_agent.segment import ClassTag, Segment, SegmentName, Take
from edge_agent.spool import Spool
from edge_agent.store.base import Body, Checksum, ObjectInfo, ObjectStore, Part, PendingUpload, StoredObject
from edge_agent.store.checksum import crc64nvme
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.limits import Limits
from edge_agent.upload.report import Happened, UploadEvent
from edge_agent.upload.uploader import Uploader
from tests.support.clock import FakeClock

FIELDS = ("color", "object")
DEVICE = "dock7"
START = datetime(2026, 11, 22, 14, 31, 5, 123000, tzinfo=UTC)


def fresh_spool(root: Path) -> Spool:
    spool = Spool(root)
    spool.prepare()
    return spool


def segment_of(body: bytes, number: int = 0) -> Segment:
    """The sidecar of a segment whose file is *body*, the *number*-th of its camera."""
    start = START + timedelta(seconds=10 * number)
    return Segment(
        name=SegmentName(ClassTag(FIELDS, ("yellow", "box")), str(Take(DEVICE, "cam1", start))),
        device=DEVICE,
        camera="cam1",
        start=start,
        duration=10.0,
        frames=300,
        codec="h264",
        width=1920,
        height=1080,
        size=len(body),
        crc64nvme=crc64nvme(body).value,
    )


def body_of(number: int) -> bytes:
    return f"segment {number} ".encode() * (number % 7 + 1)


def publish(spool: Spool, number: int = 0, body: bytes | None = None) -> Segment:
    """A finished segment in ``ready/``, as capture leaves it."""
    content = body_of(number) if body is None else body
    segment = segment_of(content, number)
    part = spool.reserve_name(segment.name)
    part.write_bytes(content)
    spool.finish(part, segment)
    return segment


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def videos_in(directory: Path) -> list[str]:
    return [name for name in names_in(directory) if name.endswith(".mp4")]


@dataclass
class Rig:
    """A spool, a store and an uploader between them. *events* is what it told."""

    spool: Spool
    store: ObjectStore
    clock: Clock = field(default_factory=FakeClock)
    rescan_seconds: float = 30.0
    events: list[UploadEvent] = field(default_factory=list)
    on_event: Callable[[UploadEvent], object] | None = None
    limits: Limits | None = None

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.spool.root / LEDGER_FILE)
        self.uploader = Uploader(
            self.spool,
            self.store,
            self.ledger,
            self.clock,
            DEVICE,
            FIELDS,
            self.rescan_seconds,
            self._told,
            limits=self.limits,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    def run_until_empty(self) -> None:
        self.uploader.run(threading.Event(), until_empty=True)

    def happened(self, what: Happened) -> list[UploadEvent]:
        return [event for event in self.events if event.what is what]

    def _told(self, event: UploadEvent) -> None:
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event)


class StoreBetween:
    """Passes every call on to *inner*, and counts them by name; subclasses misbehave."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.calls: dict[str, int] = {}

    def count(self, name: str) -> int:
        """How often *name* was called, this call included."""
        self.calls[name] = self.calls.get(name, 0) + 1
        return self.calls[name]

    @property
    def name(self) -> str:
        return self.inner.name

    def uri(self, key: str) -> str:
        return self.inner.uri(key)

    def key_of(self, uri: str) -> str | None:
        return self.inner.key_of(uri)

    def check(self) -> None:
        self.inner.check()

    def put(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self.count("put")
        return self.inner.put(key, body, content_type=content_type, metadata=metadata)

    def put_if_absent(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        self.before_put(key)
        self.count("put_if_absent")
        info = self.inner.put_if_absent(key, body, content_type=content_type, metadata=metadata, checksum=checksum)
        self.after_put(key)
        return info

    def before_put(self, key: str) -> None:
        """Called before a put_if_absent; what it raises is the put's error, with nothing stored."""

    def after_put(self, key: str) -> None:
        """Called after a put_if_absent; what it raises is the put's error, with the object stored."""

    def put_if_match(
        self,
        key: str,
        body: Body,
        etag: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self.count("put_if_match")
        return self.inner.put_if_match(key, body, etag, content_type=content_type, metadata=metadata)

    def get(self, key: str) -> StoredObject:
        self.count("get")
        return self.inner.get(key)

    def head(self, key: str) -> ObjectInfo:
        self.count("head")
        return self.inner.head(key)

    def checkout(self, key: str) -> AbstractContextManager[Path]:
        self.count("checkout")
        return self.inner.checkout(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.count("delete")
        self.inner.delete(key)

    def create_multipart(
        self,
        key: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        self.count("create_multipart")
        return self.inner.create_multipart(key, content_type=content_type, metadata=metadata)

    def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, *, checksum: Checksum | None = None
    ) -> Part:
        self.count("upload_part")
        return self.inner.upload_part(key, upload_id, number, body, checksum=checksum)

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        self.count("list_parts")
        return self.inner.list_parts(key, upload_id)

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
        self.count("complete_multipart")
        return self.inner.complete_multipart(key, upload_id, parts, checksum)

    def abort_multipart(self, key: str, upload_id: str) -> None:
        self.count("abort_multipart")
        self.inner.abort_multipart(key, upload_id)

    def list_multiparts(self, prefix: str = "") -> Iterator[PendingUpload]:
        self.count("list_multiparts")
        return self.inner.list_multiparts(prefix)
