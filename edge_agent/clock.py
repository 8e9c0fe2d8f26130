"""The only place that reads a clock or waits. Everything else is handed a :class:`Clock`."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

BUILD_YEAR = 2026  # no footage of this program is older: a wall clock that says so is not set

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What the time services of the distributions in use keep while they run: systemd-timesyncd, chrony, ntpd, OpenNTPD.
_TIME_SERVICES = ("/run/systemd/timesync", "/run/chrony", "/run/ntpd.pid", "/run/openntpd.pid")
_READINGS = 5
_STEADY_SECONDS = 0.001  # two clocks read within this time were read together


class Clock(Protocol):
    """Wall time, monotonic time and interruptible waiting."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps, same origin in every process of one boot."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait until *stop* is set or *seconds* have passed; True when *stop* is set."""

    def wall_offset(self) -> float:
        """Wall time minus monotonic time, in seconds since the epoch: it changes when somebody sets the wall clock.

        Also by a suspend, through which monotonic time does not count.
        """

    def synchronised(self) -> bool:
        """Whether the wall clock is known to be right: the kernel says so, and the year is not in the past."""

    def setting_expected(self) -> bool:
        """Whether a wall clock that is not right will be: a time service is at work, or the year is absurd."""

    def boot_id(self) -> str:
        """Which boot this is: monotonic times of equal boots compare. Empty where the system does not tell."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return stop.wait(max(0.0, seconds))

    def wall_offset(self) -> float:
        best, offset = float("inf"), 0.0
        for _ in range(_READINGS):  # a process that is put to sleep between two readings would see a step
            before = time.monotonic()
            wall = time.time()
            after = time.monotonic()
            if after - before < best:
                best, offset = after - before, wall - (before + after) / 2
            if best < _STEADY_SECONDS:
                break
        return offset

    def synchronised(self) -> bool:
        return self._plausible() and _kernel_is_synchronised()

    def setting_expected(self) -> bool:
        return not self._plausible() or any(Path(path).exists() for path in _TIME_SERVICES)

    def boot_id(self) -> str:
        return _boot_id()

    def _plausible(self) -> bool:
        return self.now().year >= BUILD_YEAR


@functools.cache
def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def _kernel_is_synchronised() -> bool:
    """Whether some time service has told the kernel that its clock is right; True where it cannot be asked.

    The kernel takes that back by itself when nobody has said so for some hours (maxerror grows to 16 s, by 0.5 ms a
    second).
    """
    import ctypes

    # The beginning of struct timex, adjtimex(2); TIME_ERROR (5) is returned for a clock with STA_UNSYNC (0x40) set.
    buffer = ctypes.create_string_buffer(512)
    try:
        state: int = ctypes.CDLL(None).adjtimex(buffer)
    except (AttributeError, OSError):
        return True
    return state != _TIME_ERROR


_TIME_ERROR = 5
