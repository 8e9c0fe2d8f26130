"""What every engine does with an event. Heavy libraries wait for the first video."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from cloud.events import Message, ObjectRef, messages
from cloud.origin import is_video
from cloud.pipeline import Outcome, Progress, Result, process, remove
from cloud.settings import Settings, StoreSettings
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import EdgeCaptureError, EventInvalid
from edge_agent.store import ObjectStore

VIDEOS = "videos/"


@dataclass(slots=True)
class EventHandler:
    """Handles events under *settings*; stores are opened at first use and kept. Safe to use from several threads.

    *progress* is handed to :func:`cloud.pipeline.process`; *seen* gets every result; *opener* opens stores.
    """

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[Progress], None] | None = None
    seen: Callable[[Result], None] | None = None
    opener: Callable[[StoreSettings], ObjectStore] = StoreSettings.open
    _stores: dict[str, ObjectStore] = field(default_factory=dict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, event: object) -> dict[str, Any]:
        """Process every video that *event* names.

        A batch of queue messages: ``{"batchItemFailures": [{"itemIdentifier": messageId}, …]}``, so that only those
        come again. Any other event: all its videos are tried, then the first error is raised, so that it comes again.
        """
        batch = messages(event)
        failures: list[tuple[str | None, EdgeCaptureError]] = []
        results: list[Result] = []
        for message in batch:
            try:
                results += self.take(message)
            except EdgeCaptureError as error:
                failures.append((message.id, error))
        if any(message.id is not None for message in batch):
            failed = dict.fromkeys(identifier or "" for identifier, _ in failures)
            return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
        if failures:
            raise failures[0][1]
        return {"videos": [{"uri": result.video, "outcome": str(result.outcome)} for result in results]}

    def check(self) -> None:
        """Raise what would keep the stores that were opened from being read."""
        for store in tuple(self._stores.values()):
            store.check()

    def take(self, message: Message) -> list[Result]:
        """Process the videos of one message. All are tried and logged; then the first error is raised."""
        if message.fault is not None:
            _log().error("event_refused", message_id=message.id, error=message.fault.code, reason=str(message.fault))
            raise message.fault
        results: list[Result] = []
        errors: list[EdgeCaptureError] = []
        for ref in message.refs:
            if not is_landed(ref.key):
                continue
            try:
                results.append(self._process(ref))
            except EdgeCaptureError as error:
                _log().error("video_failed", key=ref.key, error=error.code, reason=str(error), retry=error.retryable)
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def _process(self, ref: ObjectRef) -> Result:
        began = self.clock.monotonic()
        raw, dataset = self._raw(ref.bucket), self._open("dataset", self.settings.dataset)
        work = remove if ref.removed else process
        result = work(ref, raw, dataset, self.settings, self.clock, self.progress)
        _log().info("video_" + result.outcome, key=ref.key, **facts(result), seconds=self._since(began))
        if self.seen is not None:
            self.seen(result)
        return result

    def _since(self, began: float) -> float:
        return round(self.clock.monotonic() - began, 3)

    def _raw(self, bucket: str) -> ObjectStore:
        """The store an event calls *bucket*. Raises EventInvalid when settings name another one."""
        configured = self.settings.raw
        if configured is None:
            return self._open(f"s3://{bucket}", self.settings.dataset.beside(f"s3://{bucket}"))
        raw = self._open("raw", configured)
        if raw.name != bucket:
            raise EventInvalid(
                f"event is about the store '{bucket[:80]}', and the raw store is '{raw.name}'",
                fix="set 'raw' to the store the videos land in, or remove the notification",
            )
        return raw

    def _open(self, name: str, settings: StoreSettings) -> ObjectStore:
        with self._opening:
            if name not in self._stores:
                self._stores[name] = self.opener(settings)
            return self._stores[name]


def is_landed(key: str) -> bool:
    """Whether *key* is a video where videos land; whatever else there is starts nothing."""
    return key.startswith(VIDEOS) and is_video(key)


def facts(result: Result) -> dict[str, object]:
    """What a log line tells of *result*."""
    if result.index is None or result.outcome is Outcome.STALE:
        return {}
    index = result.index
    return {
        "decoded": index.decode.frames,
        "lost": index.decode.lost,
        "frames": len(index.frames),
        "lines": len(index.kept),
        "manifest": index.manifest,
    }


def _log() -> Any:
    return structlog.get_logger("cloud")
