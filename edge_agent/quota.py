"""What must leave the spool, and whether recording must pause. Pure.

Two bounds at once: the spool holds at most ``quota`` bytes, and ``free`` bytes of its file system stay free. Verified
uploads go first, oldest first, and always a little more of them than needed, so that this is not done for every
segment. Footage that was never uploaded goes only under ``drop_oldest``, and never more of it than needed. What is
being recorded, what needs a person (``failed/``) and the ledger are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

MOST_SLACK = 64 << 20  # bytes; about a segment of each of eight cameras at 1 Mb/s
_SLACK_SHARE = 20  # of a small disk or quota, one part in this many


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows. ``drop``: un-uploaded footage may go. Sizes in bytes; no quota: None."""

    quota: int | None = None
    free: int = 0
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """How long, in seconds, and how many bytes of verified copies are kept at all; None: until room is needed."""

    age: float | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes the spool takes, bytes free on its file system, and that file system's size."""

    used: int
    free: int
    total: int

    def without(self, size: int) -> Disk:
        """The same disk after *size* bytes have left the spool."""
        return replace(self, used=self.used - size, free=self.free + size)


@dataclass(frozen=True, slots=True)
class Held:
    """A finished segment in the spool. ``size``: its bytes, with everything beside it.

    ``start``: when it was recorded, ``since``: when it got to where it is, both in seconds since the epoch.
    """

    stem: str
    file: str
    size: int
    start: float
    verified: bool
    priority: int = 0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to delete now, in this order, and whether recording must pause even so. ``missing``: bytes still wanted."""

    evict: tuple[Held, ...]
    pause: bool
    missing: int = 0


def shortage(disk: Disk, policy: Policy) -> int:
    """Bytes that must leave the spool; negative: bytes it may still grow by."""
    over_quota = disk.used - policy.quota if policy.quota is not None else -disk.free
    return max(over_quota, policy.free - disk.free)


def slack(disk: Disk, policy: Policy) -> int:
    """Bytes of room to make beyond what is needed, and to wait for before a paused recording goes on."""
    bound = disk.total if policy.quota is None else min(policy.quota, disk.total)
    return min(MOST_SLACK, bound // _SLACK_SHARE)


def plan(held: Collection[Held], disk: Disk, policy: Policy, *, wanted: int = 0, paused: bool = False) -> Plan:
    """What to do about *held* on *disk*.

    *wanted*: bytes of room that are needed beyond the bounds, as for a salvage that found the disk full. *paused*:
    recording pauses already; then it goes on only with some slack, so that it does not start and stop all the time.
    """
    must = shortage(disk, policy) + wanted
    spare = slack(disk, policy)
    evict: list[Held] = []
    freed = 0
    if must > 0 or (paused and must + spare > 0):
        for item in sorted((h for h in held if h.verified), key=lambda h: (h.start, h.stem)):
            if freed >= must + spare:
                break
            evict.append(item)
            freed += item.size
    if policy.drop:
        for item in sorted((h for h in held if not h.verified), key=lambda h: (h.priority, h.start, h.stem)):
            if freed >= must:
                break
            evict.append(item)
            freed += item.size
    missing = must - freed
    pause = missing > 0 or (paused and not policy.drop and missing + spare > 0)
    return Plan(tuple(evict), pause, max(0, missing))


def expired(held: Iterable[Held], keep: Keep, now: float | None) -> list[Held]:
    """The verified copies that are kept no longer, those that were verified first, first.

    *now* in seconds since the epoch, None when nobody knows: then only the size counts. What was never uploaded stays.
    """
    copies = sorted((item for item in held if item.verified), key=lambda item: (item.since, item.start, item.stem))
    total = sum(item.size for item in copies)
    gone = []
    for item in copies:
        too_old = keep.age is not None and now is not None and now - item.since > keep.age
        if not too_old and (keep.size is None or total <= keep.size):
            continue
        gone.append(item)
        total -= item.size
    return gone
