"""What the upload process is told, as one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edge_agent.bandwidth import Bandwidth
from edge_agent.identity import IotIdentity
from edge_agent.upload.drop import Drop
from edge_agent.upload.limits import Rules


@dataclass(frozen=True, slots=True)
class UploadJob:
    """Which spool to sync where."""

    device: str
    fields: tuple[str, ...]
    spool: str
    state: str
    store: str
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    iot: IotIdentity | None = None
    checksum: Literal["crc64nvme", "sha256", "md5"] = "crc64nvme"
    rescan_seconds: float = 30.0
    priorities: dict[str, int] = field(default_factory=dict)
    on_demand: bool = False
    bandwidth: float | None = None
    timetable: dict[str, float | None] = field(default_factory=dict)
    foreign: tuple[Drop, ...] = ()
    log_level: str = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    def rules(self) -> Rules:
        """When and how fast it may upload. Raises ConfigInvalid."""
        return Rules(Bandwidth.parse(self.bandwidth, self.timetable), self.on_demand)

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> UploadJob:
        document: dict[str, Any] = json.loads(line)
        iot = document["iot"]
        document["iot"] = IotIdentity(**iot) if iot else None
        document["foreign"] = tuple(Drop.from_dict(drop) for drop in document["foreign"])
        return cls(**{**document, "fields": tuple(document["fields"])})
