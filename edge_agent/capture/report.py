"""What a capture process tells its parent: one JSON line an event, on a pipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """A fact worth a log line. ``name`` is snake_case; ``STATUS`` and ``ALIVE`` are for the parent alone."""

    name: str
    camera: str
    fields: dict[str, Scalar] = field(default_factory=dict)

    def to_line(self) -> str:
        return json.dumps([self.name, self.camera, self.fields]) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Event:
        """The inverse of :meth:`to_line`. Raises ValueError."""
        match json.loads(line):
            case [str(name), str(camera), dict(fields)]:
                return cls(name, camera, fields)
        raise ValueError(f"no event: {line[:80]!r}")


STATUS = "camera_status"
"""How the camera does right now; sent about once a second, and the sign that its process is alive."""

PICTURE = "camera_picture"
"""What the camera shows: ``jpeg`` in base64, ``width`` and ``height`` in pixels; sent only while somebody looks."""

Report = Callable[[Event], None]
