"""File systems that fill up, and disks that stop in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A memory file system of *size* at *directory*; skips the test, and says why, where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


class PowerCut(BaseException):
    """The machine stops here."""


class Disk:
    """Passes what changes the disk on to the operating system, notes it, and stops before step number *last*."""

    def __init__(self, patch: pytest.MonkeyPatch, last: int = 10**9) -> None:
        self.steps: list[str] = []
        self._last = last
        for owner, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            patch.setattr(owner, name, self._stepping(name, getattr(owner, name)))

    def _stepping(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(first: object, *rest: object, **options: object) -> object:
            if len(self.steps) == self._last:
                raise PowerCut
            path = Path(f"/proc/self/fd/{first}").resolve() if isinstance(first, int) else Path(str(first))
            self.steps.append(f"{name} {path.name}")
            return real(first, *rest, **options)

        return step
