"""What a capture process is told, as one JSON line: no secret on a command line, no heavy import to read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """One camera's recording order. ``source`` is a URL and may hold a password: ``repr`` leaves it out."""

    device: str
    camera: str
    fields: tuple[str, ...]
    source: str
    tag: dict[str, str] | None
    spool: str
    state: str
    segment_seconds: float = 60.0
    stall_seconds: float = 10.0
    take: str = ""  # a hand-made take: one segment of exactly this name

    def __repr__(self) -> str:
        return f"CaptureJob({self.device}-{self.camera})"

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> CaptureJob:
        document: dict[str, Any] = json.loads(line)
        return cls(**{**document, "fields": tuple(document["fields"])})
