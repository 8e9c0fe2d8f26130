"""Which lines go into a manifest: by name, every Nth, to a total, balanced. Pure, and the same for the same seed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from cloud.dataset.entries import Entry, take_of

Axis = Literal["class", "camera"]
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_CELL: Mapping[Axis, Callable[[Entry], str]] = {"class": lambda entry: entry.tag, "camera": lambda entry: entry.camera}
_PHASES = 1 << 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for by name. Classes, devices and stems are globs (``*``, ``?``); none given: all.

    ``since`` and ``until`` are UTC moments, the latter is excluded.
    """

    classes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def timed(self) -> bool:
        return self.since is not None or self.until is not None

    def has_class(self, tag: str) -> bool:
        return _fits(tag, self.classes)

    def has_device(self, device: str | None) -> bool:
        return not self.devices or (device is not None and _fits(device, self.devices))

    def has_stem(self, stem: str) -> bool | None:
        """Whether the video *stem* is asked for; None when its name does not tell the device."""
        if not self.has_class(stem.rpartition("_")[0]) or not _fits(stem, self.stems):
            return False
        if not self.devices:
            return True
        take = take_of(stem)
        return self.has_device(take.device) if take else None

    def has_moment(self, moment: datetime) -> bool:
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


def _fits(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def digest(seed: int, *names: str) -> int:
    """64 bits that depend on *seed* and *names* alone: an order that nobody chose, and that stays when others come."""
    text = "\0".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def is_nth(ordinal: int, listed: Sequence[int], every: int) -> bool:
    """Whether the frame *ordinal* is one in *every* of its video, phase 0; *listed* is what its partition lists.

    Counted by what was listed, sorted, before a person's word: so a decision on one frame changes nothing for others.
    """
    return bisect_left(listed, ordinal) % every == 0


def fill(supply: Mapping[K, int], total: int, order: Callable[[K], int]) -> dict[K, int]:
    """*total* shared out as evenly as *supply* allows, like water over steps: all of the scarce, the rest alike.

    The sum is exactly *total*, or all there is. What does not divide goes one each to the first by *order*.
    """
    left, given = min(total, sum(supply.values())), dict.fromkeys(supply, 0)
    waiting = sorted(supply, key=lambda key: (supply[key], order(key)))
    while waiting and supply[waiting[0]] <= left // len(waiting):
        scarce = waiting.pop(0)
        given[scarce] = supply[scarce]
        left -= supply[scarce]
    for rank, key in enumerate(sorted(waiting, key=order)):
        given[key] = left // len(waiting) + (rank < left % len(waiting))
    return given


def spread(items: Sequence[T], number: int, phase: int = 0) -> list[T]:
    """*number* of *items*, evenly spaced over them; *phase*, of 65,536, is where in the first stretch to begin."""
    if number >= len(items):
        return list(items)
    return [items[(at * _PHASES + phase) * len(items) // (number * _PHASES)] for at in range(number)]


def choose(entries: Sequence[Entry], total: int | None, balance: Sequence[Axis], seed: int) -> list[Entry]:
    """*total* of *entries*, sorted, balanced along the first axis, within each of its cells along the next.

    In a cell they are evenly spaced over its videos and frames. Without a total, each cell of the first axis gets as
    many as the smallest has. Nothing is chosen twice, and the total is exact when there are enough.
    """
    if not balance:
        return list(entries) if total is None else spread(entries, total, digest(seed, "phase") % _PHASES)
    cells: dict[str, list[Entry]] = {}
    for entry in entries:
        cells.setdefault(_CELL[balance[0]](entry), []).append(entry)
    if total is None:
        total = min(map(len, cells.values()), default=0) * len(cells)
    quota = fill({name: len(cell) for name, cell in cells.items()}, total, lambda name: digest(seed, "cell", name))
    chosen = [one for name in sorted(cells) for one in choose(cells[name], quota[name], balance[1:], seed)]
    return sorted(chosen, key=lambda entry: entry.order)
