"""``edge-agent drain``: upload everything, and say so only when nothing is left."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge_agent.capture.salvage import salvage
from edge_agent.clock import Clock
from edge_agent.config import Settings
from edge_agent.control import local
from edge_agent.control.desired import DesiredState
from edge_agent.durable import os_errors
from edge_agent.errors import EdgeCaptureError, SpoolError
from edge_agent.jobs import upload_job
from edge_agent.quarantine import quarantined
from edge_agent.segment import SegmentName
from edge_agent.spool import Spool, stem_of
from edge_agent.upload.intake import FROM_SUFFIX, TAKEN_SUFFIX
from edge_agent.upload.remux import FORMATS
from edge_agent.upload.requests import Requests
from edge_agent.upload.rows import UploadStatus, read_status
from edge_agent.upload_process import LEDGER_NAME, build_errands, build_uploader

LOOK_SECONDS = 0.5
LOAN_SECONDS = 60.0  # uploads go on this long after a drain was killed, if they were paused
_OWN_RESCAN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Left:
    """What is not uploaded yet, in segments: being recorded, dropped by others, ready, in the ledger, failed."""

    recording: int = 0
    foreign: int = 0
    ready: int = 0
    ready_bytes: int = 0
    pending: int = 0
    failed: int = 0

    @property
    def nothing(self) -> bool:
        return not (self.recording or self.foreign or self.ready or self.pending or self.failed)

    @property
    def hopeless(self) -> bool:
        """Waiting helps with none of what is left: somebody has to stop the cameras, or look into failed/."""
        return not self.nothing and not (self.foreign or self.ready or self.pending)


def reasons(left: Left, link: str | None, paused: str | None, last_error: str | None) -> list[str]:
    """Why something is left, a line each, for a person. Pure."""
    lines = []
    if left.recording:
        lines.append(f"{left.recording} being recorded: stop the cameras or the agent, then drain again")
    if left.foreign:
        lines.append(f"{left.foreign} in foreign directories: not finished yet, or no videos (see the log)")
    if left.ready or left.pending:
        why = paused or link or last_error or "time was up"
        lines.append(f"{max(left.ready, left.pending)} not uploaded: {why}")
    if left.failed:
        lines.append(f"{left.failed} in failed/: see 'edge-agent quarantine list'")
    return lines


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a drain ended. ``why``: a line for each kind of thing that is left."""

    drained: bool
    seconds: float
    left: Left
    why: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON types: drained, seconds, left {recording, foreign, ready, ready_bytes, pending, failed}, why."""
        return {**asdict(self), "why": list(self.why)}


class Drain:
    """Uploads everything of *settings*' spool: through the uploader that runs, or with one of its own.

    *tell* is given a line on how it goes, now and then.
    """

    def __init__(self, settings: Settings, clock: Clock, tell: Callable[[str], object]) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._spool = Spool(settings.spool)
        self._state = settings.state_directory
        self._desired = DesiredState(self._state, settings.fields)
        self._me = f"drain:{os.getpid()}"
        self._own: _OwnUploader | None = None

    def run(self, stop: threading.Event, timeout: float | None = None) -> Outcome:
        """Until nothing is left, or waiting helps no more, or *timeout* seconds or *stop*. Raises EdgeCaptureError."""
        begun = self._clock.monotonic()
        self._spool.prepare()
        with os_errors(self._state):
            self._state.mkdir(parents=True, exist_ok=True)
        began, lent_until = self._clock.now(), begun
        Requests(self._state).retry(None)
        still_since, before = begun, Left()
        try:
            while True:
                now = self._clock.monotonic()
                if now >= lent_until - LOAN_SECONDS / 2:
                    self._desired.lend_upload(self._me, began, self._clock.now() + timedelta(seconds=LOAN_SECONDS))
                    lent_until = now + LOAN_SECONDS
                self._see_to_an_uploader()
                left = self._look()
                if left != before:
                    still_since, before = now, left
                waited_enough = now - still_since > self._patience()
                only_foreign = left.foreign and not (left.ready or left.pending)
                done = left.nothing or left.hopeless or (only_foreign and waited_enough)
                if done or stop.is_set() or (timeout is not None and now - begun >= timeout):
                    return self._outcome(left, now - begun)
                self._progress(left)
                self._clock.wait(stop, LOOK_SECONDS)
        finally:
            if self._own is not None:
                self._own.close()
            with suppress(SpoolError):  # it ends by itself, a minute later
                self._desired.end_loan(self._me)

    def _patience(self) -> float:
        """Seconds after which a foreign file that was not taken will not be."""
        settle = max((drop.settle_seconds for drop in self._settings.foreign), default=0.0)
        return 2 * settle + self._settings.upload.rescan_seconds

    def _see_to_an_uploader(self) -> None:
        """Salvage and upload here, unless an agent does."""
        agents = local.agents(self._state)
        if not agents.captures:
            self._salvage()
        if self._own is not None:
            self._own.check()
        elif not agents.uploads:
            self._own = _OwnUploader(self._settings, self._clock)

    def _salvage(self) -> None:
        """What a crash left in ``recording/`` becomes segments; of a camera that is being recorded, nothing."""
        fields, device = self._settings.fields, self._settings.device
        for part in self._spool.parts():
            with suppress(EdgeCaptureError):  # no segment's name, or its camera is at work: it counts as left
                name = SegmentName.parse(stem_of(part), fields)
                with self._spool.only_one(name.made_by.camera if name.made_by else "unknown"):
                    salvage(self._spool, fields, device, name.__eq__)

    def _look(self) -> Left:
        """In the direction a segment goes, so that none is missed on its way."""
        foreign = sum(_videos_in(drop.path) for drop in self._settings.foreign)
        with os_errors(self._spool.recording):
            names = os.listdir(self._spool.recording)  # noqa: PTH208 (names, not a path for each)
        foreign += sum(name.endswith((TAKEN_SUFFIX, FROM_SUFFIX)) for name in names)
        parts = len(self._spool.parts())
        ready = self._spool.ready_videos()
        status = self._status()
        return Left(
            parts,
            foreign,
            len(ready),
            sum(map(_size, ready)),
            status.waiting if status else 0,
            len(quarantined(self._spool)),
        )

    def _status(self) -> UploadStatus | None:
        path = self._state / LEDGER_NAME
        if not path.exists():
            return None
        with suppress(SpoolError):  # in this moment it is being made, or folded in
            return read_status(path)[0]
        return None

    def _progress(self, left: Left) -> None:
        status = self._status()
        line = f"{left.ready} segments, {left.ready_bytes / 1e6:,.1f} MB left"
        if status and status.link:
            line += f"; waiting: {status.link.message}"
        elif status and status.progress and status.progress.paused:
            line += f"; {status.progress.paused}"
        elif status and (seconds := status.eta(self._clock.now().timestamp())) is not None and status.progress:
            line += f"; {status.progress.rate / 1e3:,.0f} kB/s, about {seconds:.0f} s to go"
        self._tell(line)

    def _outcome(self, left: Left, seconds: float) -> Outcome:
        status = self._status()
        link = status.link.message if status and status.link else None
        paused = (status.progress.paused or None) if status and status.progress else None
        last = status.last_error.message if status and status.last_error else None
        return Outcome(left.nothing, round(seconds, 3), left, tuple(reasons(left, link, paused, last)))


class _OwnUploader:
    """An uploader on a thread, where no agent runs one."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        job = upload_job(settings)
        self._job = replace(job, rescan_seconds=min(job.rescan_seconds, _OWN_RESCAN_SECONDS))
        self._clock = clock
        self._stop = threading.Event()
        self._error: EdgeCaptureError | None = None
        self._uploader = build_uploader(self._job, clock)
        self._thread = threading.Thread(target=self._run, name="uploader")
        self._thread.start()

    def check(self) -> None:
        """Raise what ended it."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with build_errands(self._job, self._uploader, self._clock).running():
                self._uploader.run(self._stop)
        except EdgeCaptureError as error:  # raised again by check(), on the thread that asked
            self._error = error


def progress_line(text: str) -> None:
    """Show *text* on the terminal in place of what stood there; nothing where there is none."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:100]}")
        sys.stderr.flush()


def _videos_in(directory: Path) -> int:
    with suppress(OSError):
        return sum(path.suffix.lower() in FORMATS and not path.name.startswith(".") for path in directory.iterdir())
    return 0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
