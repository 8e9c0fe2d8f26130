"""Contenders of the extraction benchmark as child processes: what each used, and whether all made the same.

This module, and what imports it, stays small in memory: a child's peak counts from its parent's on (Linux keeps the
greater of the two over exec), so it is told apart only where it is larger.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Spread

ROOT = Path(__file__).parents[2]
PEERS = "EDGE_CAPTURE_BENCH_PEERS"
_LOOPS = ROOT / "benchmarks/support/extract_loops.py"

# Plain files go where no file system has its own opinion: ext4 does not use an inode again for a minute after its file
# was deleted, and looks at one after the other for another. So each contender would pay for what the one before made:
# 0.07 to 0.6 ms a file, seen here, for 80 KB.
_MEMORY = Path("/dev/shm")  # noqa: S108 - directories in it are made by mkdtemp
_ROOM = 2_000_000_000  # bytes; 1800 frames of 1080p are at most half of it

_FFMPEG_QUALITY = ["-qmin", "1", "-q:v", "1"]  # its best: nearest to libjpeg's 95; the tables say how near


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds of a process and its children, elapsed seconds, peak memory in MB (10^6), and what it told."""

    cpu: float
    wall: float
    peak: float
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """Who makes every ``every``-th frame of a clip: ``command`` of clip and directory (``-``: decode only).

    ``durable``: its files are synced, so they go to the disk, at its own cost alone; others' go to memory.
    """

    name: str
    every: int
    command: Callable[[Path, str], list[str]]
    library: str = ""
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a contender used in each round, and what stood in its directory after the first."""

    runs: tuple[Used, ...]
    made: dict[str, float]

    def spread(self, of: Callable[[Used], float]) -> Spread:
        return Spread(tuple(map(of, self.runs)))

    @property
    def cpu(self) -> Spread:
        return self.spread(lambda used: used.cpu)

    @property
    def wall(self) -> Spread:
        return self.spread(lambda used: used.wall)

    @property
    def peak(self) -> float:
        return max(used.peak for used in self.runs)


def run(command: Sequence[str]) -> Used:
    """Run *command* to its end. Raises CalledProcessError, with what it said."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            said = errors.read().decode(errors="replace")
            raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
        last = output.read().decode().strip().rpartition("\n")[2]
    told = json.loads(last) if last.startswith("{") else {}
    return Used(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024 / 1e6, told)


def ours(what: str, *rest: str) -> list[str]:
    """The command that does *what* of ``extract_ours.py``."""
    return [sys.executable, "-m", "benchmarks.support.extract_ours", what, *rest]


def our_own(name: str, what: str, every: int, *rest: str) -> Contender:
    def command(clip: Path, out: str) -> list[str]:
        return ours(what, str(clip), out, str(every), *rest)

    return Contender(name, every, command, durable=what == "pipeline")


def loop(name: str, kind: str, every: int) -> Contender:
    """The loop *kind* of ``extract_loops.py``."""
    python = _peers_python() if kind.startswith(("torchcodec", "decord")) else sys.executable
    return Contender(name, every, lambda clip, out: [python, str(_LOOPS), kind, str(clip), out, str(every)], kind)


def ffmpeg(name: str, every: int) -> Contender:
    def command(clip: Path, out: str) -> list[str]:
        chosen = ["-vf", f"select=not(mod(n\\,{every}))"] if every > 1 else []
        to = ["-f", "null", "-"] if out == "-" else [*_FFMPEG_QUALITY, f"{out}/%06d.jpg"]
        return ["ffmpeg", "-v", "error", "-nostdin", "-i", str(clip), *chosen, "-fps_mode", "vfr", *to]

    return Contender(name, every, command)


def ffmpeg_copy() -> Contender:
    def command(clip: Path, out: str) -> list[str]:
        return ["ffmpeg", "-v", "error", "-nostdin", "-i", str(clip), "-c:v", "copy", f"{out}/%06d.jpg"]

    return Contender("ffmpeg -c copy", 1, command)


def _peers_python() -> str:
    place = Path(os.environ.get(PEERS) or ROOT / ".bench-venv")
    return str(place / "bin/python")


def present(contenders: Sequence[Contender]) -> list[Contender]:
    """Those whose library is there; of the others it is said why they are missing, once a run."""
    return [contender for contender in contenders if not contender.library or _version(contender.library)]


_versions: dict[str, str | None] = {}


def _version(kind: str) -> str | None:
    if kind not in _versions:
        python = loop("", kind, 1).command(Path(), "-")[0]
        library = kind.partition("-")[0]
        if not Path(python).exists():
            print(f"missing: {library}: {python} is not there; run: make bench-peers, or set {PEERS}")
            _versions[kind] = None
        else:
            asked = subprocess.run(
                [python, str(_LOOPS), "version", kind], capture_output=True, text=True, check=False, cwd=ROOT
            )
            reason = (asked.stderr.strip().splitlines() or [""])[-1]
            if asked.returncode:
                print(f"missing: {library}: it cannot be imported in {python}: {reason[:160]}")
            _versions[kind] = json.loads(asked.stdout)["version"] if asked.returncode == 0 else None
    return _versions[kind]


def _directory(root: Path, contender: Contender) -> Path:
    """An empty directory for what *contender* makes."""
    in_memory = not contender.durable and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM
    return Path(tempfile.mkdtemp(prefix="bench-out-", dir=_MEMORY if in_memory else root))


def contest(root: Path, clip: Path, contenders: Sequence[Contender], rounds: int, *, store: bool) -> dict[str, Found]:
    """Every contender in turn, *rounds* times, each into an empty directory that goes at once; ``store`` False: none.

    What the first round made is looked at outside the measurement. A peer that fails on the clip is left out and named;
    ours raises CalledProcessError.
    """
    contenders = list(contenders)
    runs: dict[str, list[Used]] = {contender.name: [] for contender in contenders}
    made: dict[str, dict[str, float]] = {name: {} for name in runs}
    for number in range(rounds):
        for contender in list(contenders):
            out = _directory(root, contender)
            try:
                runs[contender.name].append(run(contender.command(clip, str(out) if store else "-")))
            except subprocess.CalledProcessError as error:
                if contender.name.startswith("ours"):
                    raise
                print(f"left out: {contender.name} fails on {clip.name}: {error.stderr.strip()[-160:]}")
                contenders.remove(contender)
                continue
            else:
                if store and number == 0:
                    checked = [sys.executable, str(_LOOPS), "check", str(clip), str(out), str(contender.every)]
                    made[contender.name] = run(checked).told
            finally:
                shutil.rmtree(out)
    names = [contender.name for contender in contenders]
    return {name: Found(tuple(runs[name]), made[name]) for name in names}
