"""The last lines of the log, kept in memory for ``edge-agent logs`` and the local page."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOG = "log_line"
"""The event by which a child process that logs by itself tells its parent what it logged."""
KEPT = 500  # lines; about 150 KB, and some hours of a box on which nothing goes wrong
TROUBLE = frozenset({"warning", "error", "critical"})

Scalar = str | int | float | bool | None


def plain(line: Mapping[str, Any]) -> dict[str, Scalar]:
    """A log line's fields as JSON has them; what is no scalar becomes text. Pure."""
    return {key: value if isinstance(value, Scalar) else str(value) for key, value in line.items()}


@dataclass(slots=True)
class Journal:
    """A ring of KEPT lines, each with a number that grows. Safe to use from several threads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _lines: deque[tuple[int, dict[str, Scalar]]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _count: int = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep *line*, from which secrets have been cut already."""
        with self._lock:
            self._count += 1
            self._lines.append((self._count, plain(line)))

    def since(self, number: int, limit: int, *, trouble: bool = False) -> tuple[int, list[dict[str, Scalar]]]:
        """The number to ask with next time, and up to *limit* of the newest lines after *number*, oldest first."""
        with self._lock:
            found = [line for at, line in self._lines if at > number and (not trouble or line.get("level") in TROUBLE)]
            return self._count, found[-limit:] if limit > 0 else []
