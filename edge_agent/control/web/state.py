"""All that the page shows, as one document of JSON types."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.control import holdings, local
from edge_agent.control.commands import Desired, TagChoice, in_force
from edge_agent.control.desired import DesiredState
from edge_agent.control.local import SOCKET_NAME, UPLOAD_SOCKET_NAME, NotRunning
from edge_agent.control.web.job import WebJob
from edge_agent.control.web.recent import Recent
from edge_agent.control.web.words import camera_words, disk_words, log_words, upload_words
from edge_agent.errors import SpoolError
from edge_agent.inventory import Inventory
from edge_agent.segment import ClassTag, format_moment
from edge_agent.spool import Spool
from edge_agent.tombstones import Tombstones
from edge_agent.upload.ledger import LEDGER_FILE
from edge_agent.upload.rows import read_status

SLOW_SECONDS = 2.0  # how often disk and ledger are looked at; cameras are asked at every look
LATELY_SECONDS = 1.0
ERRORS = 8  # kinds of trouble that are shown
_LINES = 100  # of the log, among which they are
_ROWS = 50  # of the ledger, the newest: those of the segments that are shown are among them


class Box:
    """Looks at everything. Safe to use from several threads: they take turns."""

    def __init__(self, job: WebJob, clock: Clock) -> None:
        self._job = job
        self._clock = clock
        self._state = Path(job.state)
        self._spool = Spool(Path(job.spool))
        self._inventory = Inventory(self._spool)
        self._recent = Recent(self._spool)
        self._desired = DesiredState(self._state, job.fields)
        self._lock = threading.Lock()
        self._slow: dict[str, Any] = {}
        self._slow_at = float("-inf")
        self._offered = job.offered()
        self._document: dict[str, Any] = {}
        self._looked_at = float("-inf")

    def lately(self) -> dict[str, Any]:
        """The document, at most LATELY_SECONDS old: who asks again and again, without a token, costs nothing."""
        if self._clock.monotonic() - self._looked_at < LATELY_SECONDS:
            return self._document
        return self.look()

    def look(self) -> dict[str, Any]:
        """The document; docs/operations/page.md and the API's description say what its keys mean."""
        with self._lock:
            job, now = self._job, self._clock.now()
            agents = local.agents(self._state)
            if self._clock.monotonic() - self._slow_at >= SLOW_SECONDS:
                self._slow, self._slow_at = self._look_slowly(now.timestamp()), self._clock.monotonic()
            cameras = [self._camera(name, agents.cameras.get(name, {})) for name in job.cameras]
            disk = {**self._slow["disk"], **agents.disk}
            upload = self._slow["upload"]
            document: dict[str, Any] = {
                "device": job.device,
                "version": __version__,
                "now": format_moment(now),
                "running": agents.captures,
                "fields": list(job.fields),
                "classes": [_class(tag) for tag in self._classes(cameras)],
                "cameras": cameras,
                "upload": _said({**upload, "runs": agents.uploads}, upload_words(upload, uploads=agents.uploads)),
                "disk": _said(disk, disk_words(disk)),
                "spool": self._slow["spool"],
                "segments": self._slow["segments"],
                "errors": self._errors(),
            }
            self._document = {**document, "health": health(document)}
            self._looked_at = self._clock.monotonic()
            return self._document

    def _camera(self, name: str, status: dict[str, Any]) -> dict[str, Any]:
        configured = self._job.cameras[name]
        default = TagChoice(ClassTag.of(configured, self._job.fields)) if configured else None
        try:
            desired = self._desired.of(name)
        except SpoolError:
            desired = Desired()
        choice = in_force(desired, default, self._clock.now())
        return _said(
            {
                "name": name,
                "status": status,
                "class": _class(choice.tag) if choice else None,
                "set_by": choice.set_by if choice else None,
                "set_at": choice.set_at or None if choice else None,
                "until": format_moment(choice.until) if choice and choice.until else None,
                "default": _class(default.tag) if default else None,
                "recording_class": status.get("tag"),
                "recording_seconds": status.get("seconds"),
                "stopped": desired.recording is not None and not desired.recording.on,
            },
            camera_words(status),
        )

    def _classes(self, cameras: list[dict[str, Any]]) -> list[ClassTag]:
        """Those of the settings, and after them those in force, so that each that is in force has its button."""
        chosen = [ClassTag.of(camera["class"]["values"], self._job.fields) for camera in cameras if camera["class"]]
        return list(dict.fromkeys([*self._offered, *chosen]))

    def _look_slowly(self, now: float) -> dict[str, Any]:
        spool = self._spool
        directories = (spool.recording, spool.ready, spool.uploaded, spool.failed)
        try:
            found = self._inventory.disk(now)
            disk: dict[str, Any] = {
                "used": found.used,
                "free": found.free,
                "total": found.total,
                "quota": self._job.quota,
            }
            losses = Tombstones(self._state).losses()
            disk |= {"keep_free": self._job.keep_free, "lost_segments": losses.segments}
            counts = {directory.name: holdings.count(directory) for directory in directories}
        except SpoolError as error:
            disk, counts = {"problem": str(error)}, {}
        try:
            path = self._state / LEDGER_FILE
            status, rows = read_status(path, _ROWS) if path.exists() else (None, [])
            upload = holdings.summed(status, now) if status else {}
            segments = self._recent.look({row.stem: row for row in rows})
        except SpoolError as error:
            upload, segments = {"link": str(error)}, []
        return {"disk": disk, "spool": counts, "upload": upload, "segments": segments}

    def _errors(self) -> list[dict[str, Any]]:
        """The last trouble the agent logged, or the two that are its halves, newest first."""
        lines: list[dict[str, Any]] = []
        for name in (UPLOAD_SOCKET_NAME, SOCKET_NAME):
            with suppress(NotRunning):
                answer = local.ask(self._state / name, {"command": "logs", "trouble": True, "limit": _LINES})
                lines += answer.get("lines", [])
        return gathered(sorted(lines, key=lambda line: str(line.get("timestamp", ""))))[:ERRORS]


def gathered(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log lines, oldest first, as the page shows them, newest first; what was said repeatedly stands there once."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        key = (line.get("camera"), line.get("event"), line.get("error"))
        before = found.pop(key, None)
        times = before["times"] + 1 if before else 1
        words = log_words(line) + (f" ({times} times)" if times > 1 else "")
        found[key] = {"at": line.get("timestamp"), "level": line.get("level"), "times": times, "words": words}
    return list(found.values())[::-1]


def health(document: dict[str, Any]) -> dict[str, Any]:
    """``ok``, and a line in plain words for everything that is not well. Pure."""
    words = [f"{camera['name']}: {camera['words']}" for camera in document["cameras"] if camera["level"] == "bad"]
    words += [f"{name}: {document[name]['words']}" for name in ("upload", "disk") if document[name]["level"] == "bad"]
    if not document["running"]:
        words.insert(0, "the agent does not answer")
    return {"ok": not words, "words": words}


def _said(fields: dict[str, Any], words: tuple[str, str]) -> dict[str, Any]:
    return {**fields, "level": words[0], "words": words[1]}


def _class(tag: ClassTag) -> dict[str, Any]:
    return {"tag": str(tag), "values": tag.as_dict()}
