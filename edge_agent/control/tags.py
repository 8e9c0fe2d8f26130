"""Which class a camera records under right now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.control.desired import DesiredState, TagChoice
from edge_agent.segment import ClassTag

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob
    from edge_agent.clock import Clock

LOOK_SECONDS = 0.2  # how late a change may be noticed


class DesiredTags:
    """The desired state's class for one camera, else the configured one, else None: nothing is recorded."""

    def __init__(self, desired: DesiredState, camera: str, default: ClassTag | None, clock: Clock) -> None:
        self._desired = desired
        self._camera = camera
        self._default = TagChoice(default) if default else None
        self._clock = clock
        self._looked = -LOOK_SECONDS
        self._signature: tuple[int, int] | None = None
        self._current: TagChoice | None = None

    @classmethod
    def of_job(cls, job: CaptureJob, clock: Clock) -> DesiredTags:
        default = ClassTag.of(job.tag, job.fields) if job.tag else None
        return cls(DesiredState(Path(job.state), job.fields), job.camera, default, clock)

    def current(self) -> TagChoice | None:
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            signature = self._desired.signature()
            if signature != self._signature:
                self._current = self._desired.class_of(self._camera) or self._default
                self._signature = signature
        return self._current
