"""The embedded trigger: new videos in a store become the very events S3 would send, for the very same handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import structlog

from cloud.bell import Bell, Stopped, back_off
from cloud.engine import VIDEOS, EventHandler
from cloud.events import ObjectRef, s3_notification
from cloud.origin import is_video
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, PreconditionFailed
from edge_agent.store import ObjectInfo, ObjectStore


@dataclass(slots=True)
class _Seen:
    """What became of one version of a video: done with it, or to be tried again at ``due`` (monotonic)."""

    etag: str
    attempts: int = 0
    due: float | None = None


@dataclass(slots=True)
class Watch:
    """Watches *raw* for videos that *handler* has not had. What was processed before a restart costs a few requests."""

    handler: EventHandler
    raw: ObjectStore
    clock: Clock
    bell: Bell
    interval: float = 5.0
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def run(self) -> None:
        """Watch until the bell stops it. Raises errors that no waiting mends."""
        fails = 0
        with Hints(self.raw, self.bell) as hints:
            while not self.bell.stopping:
                hints.renew()
                try:
                    self.run_once()
                    fails, pause = 0, self.interval
                except Stopped:
                    return
                except EdgeCaptureError as error:
                    if not error.retryable:
                        raise
                    fails, pause = fails + 1, back_off(fails + 1)
                    _log().warning("store_failed", error=error.code, reason=str(error), again_in=round(pause, 1))
                self.bell.wait(self.clock, pause)

    def run_once(self) -> list[EdgeCaptureError]:
        """Look once, and handle every video that is new, changed, or due again; the errors of those that failed."""
        found = {info.key: info for info in self.raw.list(VIDEOS) if is_video(info.key)}
        self._seen = {key: seen for key, seen in self._seen.items() if key in found}
        failures = (self._handle(info) for info in found.values() if self._is_due(info))
        return [error for error in failures if error is not None]

    def _is_due(self, info: ObjectInfo) -> bool:
        seen = self._seen.get(info.key)
        if seen is None or seen.etag != info.etag:
            return True
        return seen.due is not None and seen.due <= self.clock.monotonic()

    def _handle(self, info: ObjectInfo) -> EdgeCaptureError | None:
        self.bell.check()
        seen = self._seen.get(info.key)
        if seen is None or seen.etag != info.etag:
            seen = self._seen[info.key] = _Seen(info.etag)
        try:
            self.handler.handle(notification(self.raw.name, info))
        except EdgeCaptureError as error:
            seen.attempts += 1
            again = error.retryable or isinstance(error, PreconditionFailed)
            seen.due = self.clock.monotonic() + back_off(seen.attempts) if again else None
            return error
        seen.due = None
        return None


def notification(bucket: str, info: ObjectInfo) -> dict[str, Any]:
    """The event for an object that was found: what S3 would have sent when it was put."""
    sequencer = f"{int(info.modified.timestamp() * 1_000_000):016X}"
    ref = ObjectRef(bucket, info.key, info.version, info.etag, info.size, sequencer)
    return s3_notification(ref, info.modified)


class Hints:
    """Rings the bell when the file system says that a video appeared in a directory store; a context manager.

    A hint saves waiting and nothing else: hints get lost, and the rescan is what finds every video.
    """

    def __init__(self, store: ObjectStore, bell: Bell) -> None:
        root: Path | None = getattr(store, "root", None)
        self._directory = None if root is None else root / VIDEOS
        self._bell = bell
        self._observer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def renew(self) -> None:
        """Start listening, or again after the listener died; without effect for a store that is no directory."""
        if self._observer is not None and (not self._observer.is_alive() or not self._listens()):
            self.close()
        if self._observer is None and self._directory is not None and self._directory.is_dir():
            self._observer = _observer(self._directory, self._bell)

    def _listens(self) -> bool:
        return self._directory is not None and self._directory.is_dir()


def _observer(directory: Path, bell: Bell) -> Any:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Ring(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            appeared = event.event_type in ("moved", "created", "closed") and not event.is_directory
            if appeared and is_video(str(event.dest_path or event.src_path)):
                bell.ring()

    observer = Observer()
    try:
        observer.schedule(Ring(), str(directory), recursive=True)
        observer.start()
    except OSError as error:  # out of inotify watches: the rescan does it alone
        _log().warning("no_hints", directory=str(directory), reason=error.strerror)
        return None
    return observer


def _log() -> Any:
    return structlog.get_logger("cloud")
