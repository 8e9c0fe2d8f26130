"""What a capture process is told, as one JSON line: no secret on a command line, no heavy import to read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.camera import Encoding, GateSettings, HealthSettings, Transport


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
    transport: Transport = "tcp"
    audio: bool = False
    keep_every: int = 1
    encode: Encoding = Encoding()
    gate: GateSettings = GateSettings()
    health: HealthSettings = HealthSettings()
    take: str = ""  # a hand-made take: one segment of exactly this name

    def __repr__(self) -> str:
        return f"CaptureJob({self.device}-{self.camera})"

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> CaptureJob:
        document: dict[str, Any] = json.loads(line)
        document["fields"] = tuple(document["fields"])
        document["encode"] = Encoding(**document["encode"])
        gate = document["gate"]
        gate["schedule"] = tuple(gate["schedule"])
        gate["ignore"] = tuple(tuple(area) for area in gate["ignore"])
        document["gate"] = GateSettings(**gate)
        document["health"] = HealthSettings(**document["health"])
        return cls(**document)
