"""Weekly windows of local time: when a camera records, when an upload may take the link. Pure.

A window is ``<days> <from>-<to>``: ``mon-fri 08:00-18:00``, ``sat,sun 10:00-12:00``, ``fri 22:00-06:00`` (over
midnight; it belongs to the day it begins on). Without days it holds every day, without times the whole day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from edge_agent.errors import ConfigInvalid

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60  # minutes
_WEEK = 7 * _DAY
_TIMES = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_EXAMPLE = "write it as in 'mon-fri 08:00-18:00', 'sat,sun 10:00-12:00' or 'fri 22:00-06:00'"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When something is allowed. ``windows`` are minutes of the week, from Monday 00:00, the end not included.

    ``zone`` is where the clock on the wall hangs; None: where the box is. A timetable without windows is always open.
    """

    windows: tuple[tuple[int, int], ...] = ()
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, windows: Sequence[str], zone: tzinfo | None = None) -> Timetable:
        """The timetable *windows* spell. Raises ConfigInvalid, whose ``where`` is the window at fault."""
        return cls(tuple(sorted(span for window in windows for span in _spans(window))), zone)

    def is_open(self, moment: datetime) -> bool:
        """Whether *moment* (aware) lies in a window, by the clock on the wall."""
        if not self.windows:
            return True
        local = moment.astimezone(self.zone)
        minute = local.weekday() * _DAY + local.hour * 60 + local.minute
        return any(begin <= minute < end for begin, end in self.windows)

    def next_change(self, moment: datetime) -> datetime | None:
        """The first full minute after *moment* at which ``is_open`` is no more what it is at *moment* (UTC).

        None when it never changes. Looks at every minute of the next eight days, since a clock that is put forward or
        back an hour opens and closes windows, too; some 20 ms, so not for every packet.
        """
        if not self.windows:
            return None
        now = self.is_open(moment)
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(_WEEK + _DAY):
            minute += timedelta(minutes=1)
            if self.is_open(minute) != now:
                return minute
        return None


def _spans(window: str) -> Iterator[tuple[int, int]]:
    """The minutes of the week *window* covers; what runs over Sunday's midnight comes in two parts."""
    words = window.lower().split()
    if not words or len(words) > 2:
        raise _wrong("is no window", window)
    times = words.pop() if _looks_like_times(words[-1]) else "00:00-24:00"
    if len(words) > 1:
        raise _wrong("is no window", window)
    begin, length = _times(times, window)
    for day in _days(words[0], window) if words else range(7):
        start = day * _DAY + begin
        end = start + length
        yield start, min(end, _WEEK)
        if end > _WEEK:
            yield 0, end - _WEEK


def _looks_like_times(word: str) -> bool:
    return word[:1].isdigit() or ":" in word


def _times(text: str, window: str) -> tuple[int, int]:
    """Minute of the day a window begins at, and how many it lasts."""
    found = _TIMES.fullmatch(text)
    if found is None:
        raise _wrong(f"has no times in {text!r}", window)
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    begin, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if from_minute > 59 or to_minute > 59 or begin >= _DAY or end > _DAY:
        raise _wrong(f"has a time that no clock shows in {text!r}", window)
    if begin == end:
        raise _wrong("begins when it ends", window, "write 00:00-24:00 for the whole day")
    return begin, (end - begin) % _DAY or _DAY


def _days(text: str, window: str) -> list[int]:
    """The days ``mon``, ``mon-fri`` and ``sat,sun`` mean; a range may run over Sunday."""
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        for name in ends:
            if name not in DAYS:
                raise _wrong(f"has no day in {name!r}", window, f"the days are {', '.join(DAYS)}")
        begin, end = (DAYS.index(name) for name in ends)
        days += [(begin + number) % 7 for number in range((end - begin) % 7 + 1)]
    return days


def _wrong(what: str, window: str, fix: str = _EXAMPLE) -> ConfigInvalid:
    return ConfigInvalid(what, where=f"window {window[:60]!a}", fix=fix)
