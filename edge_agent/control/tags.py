"""Which class a camera records under right now, and whether it was started or stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.control.commands import Desired, TagChoice, in_force
from edge_agent.control.desired import DesiredState
from edge_agent.segment import ClassTag

if TYPE_CHECKING:
    from edge_agent.capture.job import CaptureJob
    from edge_agent.clock import Clock

LOOK_SECONDS = 0.2  # how late a change may be noticed, and how long after its end a tag may hold


class DesiredTags:
    """The desired state's class for one camera, else the configured one, else None: nothing is recorded."""

    def __init__(self, desired: DesiredState, camera: str, default: ClassTag | None, clock: Clock) -> None:
        self._state = desired
        self._camera = camera
        self._default = TagChoice(default) if default else None
        self._clock = clock
        self._looked = -LOOK_SECONDS
        self._signature: tuple[int, int] | None = None
        self._desired = Desired()
        self._current: TagChoice | None = None

    @classmethod
    def of_job(cls, job: CaptureJob, clock: Clock) -> DesiredTags:
        default = ClassTag.of(job.tag, job.fields) if job.tag else None
        return cls(DesiredState(Path(job.state), job.fields), job.camera, default, clock)

    def current(self) -> TagChoice | None:
        self._look()
        return self._current

    def recording(self) -> bool | None:
        self._look()
        switch = self._desired.recording
        return None if switch is None else switch.on

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        signature = self._state.signature()
        if signature != self._signature:
            self._desired = self._state.of(self._camera)
            self._signature = signature
        self._current = in_force(self._desired, self._default, self._clock.now())
