"""Spans of time as a person writes them: ``90s``, ``10m``, ``1h30m``, ``2d``. Pure."""

from __future__ import annotations

import re

from edge_agent.errors import ConfigInvalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(?:\d{1,6}[smhd])+", re.ASCII)


def parse_span(text: str, where: str = "") -> int:
    """The seconds *text* spells. Raises ConfigInvalid, which names *where* it stood."""
    if not _SPAN.fullmatch(text):
        raise ConfigInvalid(f"{text[:40]!a} is no span of time", where=where, fix="write 90s, 10m, 1h30m or 2d")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
