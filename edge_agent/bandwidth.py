"""How fast an upload may go, and when: a rate, and weekly windows with rates of their own. Pure.

A rate is in bytes a second: None for no limit, ``PAUSED`` for nothing at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Self

from edge_agent.errors import ConfigInvalid
from edge_agent.timetable import Timetable

PAUSED = 0.0
# A put is handed to the network in pieces of up to 64 KiB, and S3 gives up on a sender that is silent for some 20 s.
SLOWEST = 4096.0

_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)", re.ASCII)
_UNITS = {"": 1.0, "b": 1.0}
for _power, _prefix in enumerate("kmgt", 1):
    _UNITS[_prefix] = _UNITS[f"{_prefix}ib"] = 1024.0**_power  # k alone is KiB, as for rclone's --bwlimit
    _UNITS[f"{_prefix}b"] = 1000.0**_power
    _UNITS[f"{_prefix}bit"] = 1000.0**_power / 8
_CHANGES = 1000  # far more than a week of windows has; those that change nothing are passed over


def parse_rate(value: object) -> float | None:
    """Bytes a second that ``512k``, ``2M`` (KiB, MiB), ``1.5MB``, ``20Mbit`` or a number of bytes mean.

    ``0`` and ``pause`` are ``PAUSED``; ``off``, ``unlimited`` and None are None (YAML reads a bare ``off`` as false).
    Raises ConfigInvalid.
    """
    if value is None or value is False:
        return None
    text = str(value).strip().lower()
    if text in ("off", "unlimited"):
        return None
    if text == "pause":
        return PAUSED
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        rate = float(value)
    elif isinstance(value, str) and (found := _RATE.fullmatch(text)) and found[2] in _UNITS:
        rate = float(found[1]) * _UNITS[found[2]]
    else:
        raise ConfigInvalid(
            f"{str(value)[:40]!a} is no bandwidth", fix="write 512k, 2M, 20Mbit, 0 to pause or off for no limit"
        )
    if 0 < rate < SLOWEST:
        raise ConfigInvalid(f"{text[:40]} is less than 4k a second", fix="write 4k or more, or 0 to pause")
    return rate


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The rate that holds now. Of *windows* that overlap the first one wins; outside all of them *usual* holds."""

    usual: float | None = None
    windows: tuple[tuple[Timetable, float | None], ...] = ()

    @classmethod
    def parse(cls, usual: object, windows: Mapping[str, object], zone: tzinfo | None = None) -> Self:
        """What the settings ``upload.bandwidth`` and ``upload.timetable`` spell. Raises ConfigInvalid.

        Windows are in *zone*; None: where the box is.
        """
        return cls(
            parse_rate(usual),
            tuple((Timetable.parse([window], zone), parse_rate(rate)) for window, rate in windows.items()),
        )

    def at(self, moment: datetime) -> float | None:
        """The rate at *moment* (aware)."""
        return next((rate for timetable, rate in self.windows if timetable.is_open(moment)), self.usual)

    def next_change(self, moment: datetime) -> datetime | None:
        """When the rate is next another one than at *moment* (UTC), or None. Some 20 ms for each window."""
        rate, later = self.at(moment), moment
        for _ in range(_CHANGES):
            changes = [change for timetable, _ in self.windows if (change := timetable.next_change(later))]
            if not changes:
                return None
            later = min(changes)
            if self.at(later) != rate:
                return later
        return None
