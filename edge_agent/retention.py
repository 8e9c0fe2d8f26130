"""Makes room in the spool as the quota's plan says, and keeps account of every loss."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.durable import claimed, fsync_directory, os_errors
from edge_agent.errors import DiskFull, NameInvalid
from edge_agent.inventory import Inventory
from edge_agent.quota import Disk, Held, Keep, Policy, expired, plan
from edge_agent.segment import format_moment
from edge_agent.spool import SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool
from edge_agent.tombstones import Tombstone, Tombstones

RESERVE_BYTES = 8 << 20  # twice what SQLite's write-ahead log grows to before it is folded in (1000 pages of 4 KB)
_RESERVE_SHARE = 32  # of a small disk or quota, one part in this many

EXPIRY_SECONDS = 60.0  # how often copies are looked at for their age: going through 100,000 takes a third of a second

Tell = Callable[..., None]
"""``tell(event_name, **fields)``."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's policy, and class tag to priority."""

    policy: Policy
    priorities: Mapping[str, int]
    keep: Keep = Keep()


@dataclass(frozen=True, slots=True)
class Room:
    """What the last look found. ``missing``: bytes that were wanted and could not be freed."""

    disk: Disk
    policy: Policy
    paused: bool
    missing: int


class Reserve:
    """A file that keeps room for the ledger and the tombstones, given up when there is none left.

    The floor alone keeps our own cameras from taking the last bytes, but not another program; and a ledger that cannot
    note an upload stops the very uploads that would make room.
    """

    def __init__(self, directory: Path, bound: int) -> None:
        self.size = min(RESERVE_BYTES, bound // _RESERVE_SHARE)
        self._path = directory / "reserve"

    @property
    def held(self) -> bool:
        return self._path.exists()

    def take(self) -> None:
        """Hold the room, if there is any."""
        with contextlib.suppress(OSError), self._path.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self.size)
            except OSError:
                self._path.unlink()

    def release(self) -> None:
        with os_errors(self._path):
            self._path.unlink(missing_ok=True)


class Retention:
    """Keeps *spool* within bounds. One per spool, used by one thread; methods raise SpoolError.

    ``tell`` is given ``segment_dropped`` for every un-uploaded loss and ``uploads_removed`` for verified copies.
    *records*: this process's cameras fill the disk. Where they do not, only the copies that are kept no longer go:
    the bounds are kept by the process that records.
    """

    def __init__(
        self, spool: Spool, state: Path, clock: Clock, rules: Rules, tell: Tell, *, records: bool = True
    ) -> None:
        self.rules = rules
        self._records = records
        self._spool = spool
        self._clock = clock
        self._tell = tell
        self._inventory = Inventory(spool)
        with os_errors(spool.root):
            found = os.statvfs(spool.root)
        total = found.f_blocks * found.f_frsize
        self._reserve = Reserve(state, min(total, rules.policy.quota or total))
        self._tombstones = Tombstones(state)
        self._paused = False
        self._wanted = 0
        self._last = ""
        self._next_expiry = clock.monotonic()

    def begin(self) -> None:
        """Finish what a crash interrupted, before anything is recorded; let the ledger have its room on a full disk."""
        if not self._records:
            return
        if self._inventory.disk(self._clock.now().timestamp()).free < self._reserve.size:
            self._reserve.release()
            self._paused = True  # until there is room beyond it: the cameras would take it before the ledger does
        stone = self._tombstones.last()
        if stone is None:
            return
        self._last = stone.stem  # if it is still there its line will serve
        video = self._spool.ready / stone.file
        with os_errors(self._spool.ready):
            if not video.exists() and stone.file.endswith(VIDEO_SUFFIX):
                (self._spool.ready / (stone.stem + SIDECAR_SUFFIX)).unlink(missing_ok=True)

    def look(self, camera_full: str = "") -> Room:
        """Make room where it is needed. *camera_full*: this camera has just found the disk full and let go of it."""
        disk = self._inventory.disk(self._clock.now().timestamp())
        if self._expire():
            disk = self._inventory.disk(self._clock.now().timestamp())
        if not self._records:
            return Room(disk, self.rules.policy, False, 0)
        policy = replace(self.rules.policy, free=max(self.rules.policy.free, self._reserve.size))
        if camera_full:
            self._wanted = max(self._wanted, self._inventory.parts_of(camera_full))
        disk, paused, missing = self._make_room(disk, policy)
        if not paused:
            self._wanted = 0
            if not self._reserve.held and disk.free - self._reserve.size > policy.free:
                self._reserve.take()
        elif self._paused and disk.free < self._reserve.size:
            # Only now, when the cameras have had time to let go of their files, is it the ledger that gets it.
            self._reserve.release()
        self._paused = paused
        return Room(disk, policy, paused, missing)

    def _expire(self) -> bool:
        """Delete the copies that are kept no longer; whether any was. By age only while the clock can be believed."""
        keep = self.rules.keep
        now = self._clock.monotonic()
        over = keep.size is not None and self._inventory.uploaded_bytes > keep.size
        if not over and (keep.age is None or now < self._next_expiry):
            return False
        self._next_expiry = now + EXPIRY_SECONDS
        known = self._clock.synchronised() or not self._clock.setting_expected()
        gone = expired(self._inventory.held({}), keep, self._clock.now().timestamp() if known else None)
        for item in gone:
            self._remove(item)
        if gone:
            self._tell("uploads_removed", segments=len(gone), reason="kept no longer")
        return bool(gone)

    def _make_room(self, disk: Disk, policy: Policy) -> tuple[Disk, bool, int]:
        """Plan and act; what cannot be deleted now is planned around. Freed bytes are summed, not measured again:
        some file systems take their time to show them."""
        out_of_reach: set[tuple[str, bool]] = set()
        removed = 0
        while True:
            quick = plan((), disk, policy, wanted=self._wanted, paused=self._paused)
            held = self._inventory.held(self.rules.priorities) if quick.pause else []
            held = [item for item in held if (item.file, item.verified) not in out_of_reach]
            planned = plan(held, disk, policy, wanted=self._wanted, paused=self._paused)
            if not planned.evict:
                if removed:
                    self._tell("uploads_removed", segments=removed, reason="room was needed")
                return disk, planned.pause, planned.missing
            for item in planned.evict:
                out_of_reach.add((item.file, item.verified))
                freed = self._remove(item) if item.verified else self._drop(item)
                disk = disk.without(freed)
                removed += bool(freed and item.verified)

    def _remove(self, item: Held) -> int:
        """Delete a verified copy; bytes freed."""
        video = self._spool.uploaded / item.file
        with os_errors(video):
            if item.file.endswith(VIDEO_SUFFIX):
                video.with_suffix(SIDECAR_SUFFIX).unlink(missing_ok=True)
            video.unlink(missing_ok=True)
        return item.size

    def _drop(self, item: Held) -> int:
        """Delete what was never uploaded, after its tombstone is on the disk; bytes freed, 0 when it is in use."""
        video = self._spool.ready / item.file
        with claimed(video) as mine:
            if not mine:
                return 0
            stone = self._stone(item, video)
            if item.stem != self._last:
                self._note(stone)
            self._last = item.stem
            with os_errors(video):
                video.unlink()
                if item.file.endswith(VIDEO_SUFFIX):
                    video.with_suffix(SIDECAR_SUFFIX).unlink(missing_ok=True)
                fsync_directory(video.parent)
        self._tell(
            "segment_dropped",
            stem=stone.stem,
            bytes=stone.bytes,
            frames=stone.frames,
            seconds=stone.seconds,
            error=stone.reason,
        )
        return item.size

    def _stone(self, item: Held, video: Path) -> Tombstone:
        try:
            segment = self._spool.sidecar(video)
        except NameInvalid:
            segment = None
        frames, seconds = (segment.frames, round(segment.duration, 3)) if segment else (0, 0.0)
        now = format_moment(self._clock.now())
        return Tombstone(item.stem, item.file, item.size, frames, seconds, now, "disk full, never uploaded")

    def _note(self, stone: Tombstone) -> None:
        try:
            self._tombstones.add(stone)
        except DiskFull:
            self._reserve.release()
            self._tombstones.add(stone)
