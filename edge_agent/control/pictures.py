"""The newest picture of each camera, as its process sent it, for those who wait for one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from edge_agent.clock import Clock


@dataclass(frozen=True, slots=True)
class Picture:
    """``jpeg`` in base64; ``number`` differs from that of every earlier one; ``at`` in monotonic seconds."""

    number: int
    jpeg: str
    at: float


@dataclass(slots=True)
class Pictures:
    """Safe to use from several threads."""

    clock: Clock
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _newest: dict[str, Picture] = field(default_factory=dict)
    _count: int = 0

    def take(self, camera: str, jpeg: str) -> None:
        """A new picture has come."""
        with self._changed:
            self._count += 1
            self._newest[camera] = Picture(self._count, jpeg, self.clock.monotonic())
            self._changed.notify_all()

    def after(self, camera: str, number: int, seconds: float) -> Picture | None:
        """The newest picture, another one than *number*; None when none has come within *seconds*."""
        with self._changed:
            self._changed.wait_for(lambda: self._number(camera) not in (0, number), seconds)
            return self._newest[camera] if self._number(camera) not in (0, number) else None

    def fresh(self, camera: str, age: float, seconds: float) -> Picture | None:
        """A picture at most *age* seconds old; None when none has come within *seconds*."""
        newest = self._newest.get(camera)
        if newest is not None and self.clock.monotonic() - newest.at <= age:
            return newest
        return self.after(camera, newest.number if newest else 0, seconds)

    def _number(self, camera: str) -> int:
        newest = self._newest.get(camera)
        return newest.number if newest else 0
