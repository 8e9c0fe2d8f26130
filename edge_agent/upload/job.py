"""What the upload process is told, as one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal


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
    rescan_seconds: float = 30.0
    log_level: str = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> UploadJob:
        document: dict[str, Any] = json.loads(line)
        return cls(**{**document, "fields": tuple(document["fields"])})
