"""What the page's process is told, as one JSON line."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.segment import ClassTag


@dataclass(frozen=True, slots=True)
class WebJob:
    """The page of one box.

    ``cameras``: each one's configured class, None where it has none; ``classes``: further class tags to offer, as
    ``yellow_box``; ``names``: host names by which the page may be called; ``quota``, ``keep_free``: bytes.
    """

    device: str
    fields: tuple[str, ...]
    cameras: dict[str, dict[str, str] | None]
    classes: tuple[str, ...]
    spool: str
    state: str
    host: str
    port: int
    names: tuple[str, ...] = ()
    quota: int | None = None
    keep_free: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this box itself can reach the page; then no token is asked for."""
        return ipaddress.ip_address(self.host).is_loopback

    def offered(self) -> list[ClassTag]:
        """The classes that get a button, each once, in the order of the settings."""
        configured = [ClassTag.of(values, self.fields) for values in self.cameras.values() if values]
        return list(dict.fromkeys([*(ClassTag.parse(text, self.fields) for text in self.classes), *configured]))

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> WebJob:
        document: dict[str, Any] = json.loads(line)
        for name in ("fields", "classes", "names"):
            document[name] = tuple(document[name])
        return cls(**document)
