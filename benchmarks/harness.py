"""What the benchmarks share: CPU time of processes, ratios with their spread, tables."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]


def cpu_seconds(pid: int) -> float:
    """CPU seconds the process has used in all its threads, to the nanosecond where Linux tells, else to the tick."""
    try:
        tasks = [task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)


def resident_mb(pid: int) -> float:
    """Memory of the process that is in use now, in megabytes (10^6); shared pages count in full."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of several runs."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def show(self, digits: int = 2, unit: str = "") -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:.{digits}f}{unit} ({low:.{digits}f}-{high:.{digits}f})"


def shares(pids: Mapping[str, Sequence[int]], seconds: float, runs: int) -> dict[str, Spread]:
    """Per cent of one core that each group of processes used, all watched at once, in *runs* windows of *seconds*."""
    found: dict[str, list[float]] = {name: [] for name in pids}
    for _ in range(runs):
        before = {name: sum(map(cpu_seconds, group)) for name, group in pids.items()}
        began = time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        for name, group in pids.items():
            found[name].append((sum(map(cpu_seconds, group)) - before[name]) / passed * 100)
    return {name: Spread(tuple(values)) for name, values in found.items()}


def ratio(one: Spread, other: Spread) -> Spread:
    """*one* by *other*, window by window: what slowed the machine down slowed both."""
    return Spread(tuple(a / b for a, b in zip(one.values, other.values, strict=True)))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print *rows* under *head*, aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def against(value: float, bound: float, *, most: bool = True) -> str:
    """A target as the last column shows it."""
    met = value <= bound if most else value >= bound
    return f"{'at most' if most else 'at least'} {bound:g}: {'met' if met else 'NOT met'}"


def machine() -> str:
    """What the figures were measured on, in one line."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def wait_for(probe: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return once *probe* is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
