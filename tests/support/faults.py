"""Rows of the table a run of fault tests ends with: name, what was tried, what was lost, what was seen."""

from __future__ import annotations

ROWS: list[tuple[str, str, str, str]] = []


def table() -> list[str]:
    """The rows as aligned lines."""
    rows = [("fault", "tried", "lost", "seen"), *ROWS]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in rows]
