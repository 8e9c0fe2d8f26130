"""What the uploader tells: one log line, and one event for whoever asked, for each thing that happened."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_agent.errors import EdgeCaptureError
from edge_agent.store.base import ObjectInfo
from edge_agent.upload.retry import Fate
from edge_agent.upload.schema import printable


class Happened(enum.StrEnum):
    """The log lines' names."""

    UPLOADED = "segment_uploaded"
    POSTPONED = "upload_postponed"
    RESUMED = "upload_resumed"
    QUARANTINED = "segment_quarantined"
    CONFLICTED = "segment_conflicted"
    VANISHED = "segment_vanished"


@dataclass(frozen=True, slots=True)
class UploadEvent:
    """``stem`` is empty when it concerns the link. UPLOADED sets ``key``, ``bytes``, ``seconds``; trouble the rest."""

    what: Happened
    stem: str = ""
    key: str = ""
    bytes: int = 0
    seconds: float = 0.0
    error: EdgeCaptureError | None = None
    retry_in: float = 0.0


class Reporter:
    """Logs, then calls *on_event*, in the uploader's thread."""

    def __init__(self, on_event: Callable[[UploadEvent], object] | None = None) -> None:
        self._on_event = on_event
        self._log = structlog.get_logger()

    def ledger_torn(self, moved_to: str) -> None:
        self._log.warning("ledger_begun_anew", damaged=moved_to, consequence="the store is asked for what it has")

    def corrected(self, count: int) -> None:
        """Segments from before the clock was set have their right times now."""
        self._log.info("segments_corrected", count=count)

    def uploaded(self, stem: str, info: ObjectInfo, seconds: float) -> None:
        self._log.info(Happened.UPLOADED.value, stem=stem, key=info.key, bytes=info.size, seconds=round(seconds, 3))
        self._tell(UploadEvent(Happened.UPLOADED, stem, info.key, info.size, seconds))

    def file_postponed(self, stem: str, error: EdgeCaptureError, retry_in: float) -> None:
        self._log.warning(Happened.POSTPONED.value, stem=stem, **_said(error), retry_in=round(retry_in, 1))
        self._tell(UploadEvent(Happened.POSTPONED, stem, error=error, retry_in=retry_in))

    def all_postponed(self, error: EdgeCaptureError, retry_in: float, *, news: bool) -> None:
        """Only *news* is worth a line to a person: a link that stays down says so once."""
        say = self._log.warning if news else self._log.debug
        say(Happened.POSTPONED.value, **_said(error), retry_in=round(retry_in, 1))
        self._tell(UploadEvent(Happened.POSTPONED, error=error, retry_in=retry_in))

    def resumed(self) -> None:
        self._log.info(Happened.RESUMED.value)
        self._tell(UploadEvent(Happened.RESUMED))

    def set_aside(self, stem: str, error: EdgeCaptureError, fate: Fate) -> None:
        what = Happened.CONFLICTED if fate is Fate.CONFLICT else Happened.QUARANTINED
        self._log.error(what.value, stem=stem, **_said(error))
        self._tell(UploadEvent(what, stem, error=error))

    def vanished(self, stem: str, error: EdgeCaptureError) -> None:
        self._log.warning(Happened.VANISHED.value, stem=stem, **_said(error))
        self._tell(UploadEvent(Happened.VANISHED, stem, error=error))

    def _tell(self, event: UploadEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)


def _said(error: EdgeCaptureError) -> dict[str, str]:
    return {"code": error.code, "error": printable(str(error))}
