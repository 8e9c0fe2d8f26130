"""What is in the spool and how large it is, at the cost of a few system calls while nothing changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.durable import os_errors
from edge_agent.quota import Disk, Held
from edge_agent.segment import Take
from edge_agent.spool import REASON_SUFFIX, SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool

_BLOCK = 512  # bytes; the unit of st_blocks on every system
SETTLED_SECONDS = 2.0  # a directory changed more recently may change again within one tick of the kernel's clock


@dataclass(frozen=True, slots=True)
class _File:
    size: int
    modified: float
    since: float


class _Directory:
    """One flat directory of files that do not change once they are there; read anew only when it changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, _File] = {}
        self.size = 0
        self._seen: int | None = None

    def look(self, now: float) -> None:
        changed = self.path.stat().st_mtime_ns
        if changed == self._seen:
            return
        before, self.files = self.files, {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if (file := before.get(entry.name) or _file(entry)) is not None:
                    self.files[entry.name] = file
        self.size = sum(file.size for file in self.files.values())
        self._seen = changed if abs(now - changed / 1e9) > SETTLED_SECONDS else None


class Inventory:
    """The spool's files as its quota sees them: everything below its root, as the disk gives room for it."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._flat = {path: _Directory(path) for path in (spool.ready, spool.uploaded, spool.failed)}

    def disk(self, now: float) -> Disk:
        """Look; *now* in seconds since the epoch. Raises SpoolError."""
        with os_errors(self._spool.root):
            for directory in self._flat.values():
                directory.look(now)
            used = sum(directory.size for directory in self._flat.values())
            used += _tree_size(self._spool.root, set(self._flat))
            found = os.statvfs(self._spool.root)
            return Disk(used, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    @property
    def uploaded_bytes(self) -> int:
        """What the verified copies took at the last look."""
        return self._flat[self._spool.uploaded].size

    def held(self, priorities: Mapping[str, int]) -> list[Held]:
        """The finished segments found by the last look that may be deleted at all."""
        uploaded, ready = self._flat[self._spool.uploaded].files, self._flat[self._spool.ready].files
        on_the_move = uploaded.keys() & ready.keys()
        found = []
        for files, verified in ((uploaded, True), (ready, False)):
            for name, file in files.items():
                if name.startswith(".") or name.endswith((SIDECAR_SUFFIX, REASON_SUFFIX)) or name in on_the_move:
                    continue
                stem = name.removesuffix(VIDEO_SUFFIX)
                beside = files.get(stem + SIDECAR_SUFFIX)
                size = file.size + (beside.size if beside else 0)
                tag, _, take = stem.rpartition("_")
                made = Take.parse(take)
                start = made.start.timestamp() if made else file.modified
                found.append(Held(stem, name, size, start, verified, priorities.get(tag, 0), file.since))
        return found

    def parts_of(self, camera: str) -> int:
        """Bytes of *camera*'s part files: what a salvage of them needs once more."""
        total = 0
        for part in self._spool.parts():
            made = Take.parse(part.name.removesuffix(".mp4.part").rpartition("_")[2])
            if made and made.camera == camera and part.exists():
                total += part.stat().st_size
        return total


def _file(entry: os.DirEntry[str]) -> _File | None:
    """Its size on the disk; a file with two names, as while it is moved, counts half under each.

    ``since`` is its change time: the last thing that happens to a finished file is that it gets another name.
    """
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # it has moved on
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _File(found.st_blocks * _BLOCK // max(1, found.st_nlink), found.st_mtime, found.st_ctime)


def _tree_size(root: Path, but: set[Path]) -> int:
    """Bytes of all files below *root*, but for the directories *but*."""
    total = 0
    waiting = [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        path = Path(entry.path)
                        waiting += [] if path in but else [path]
                    elif (file := _file(entry)) is not None:
                        total += file.size
        except FileNotFoundError:  # a directory that has gone since
            continue
    return total
