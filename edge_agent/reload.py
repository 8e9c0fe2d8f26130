"""What a changed settings file means for an agent that runs: pure; and the look whether it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import Settings

NEEDS_RESTART = ("device", "fields", "spool", "state", "log")
"""What names, places and open files are made of: a process that has begun with it must end with it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of children to end, and to start; one that is in both restarts."""

    stop: frozenset[str]
    start: frozenset[str]


def restart_faults(old: Settings, new: Settings) -> list[str]:
    """A line for each setting that cannot change while the agent runs."""
    return [
        f"{name}: changed; restart the agent to apply it, nothing of this file is in force until then"
        for name in NEEDS_RESTART
        if getattr(old, name) != getattr(new, name)
    ]


def changes(old: Mapping[str, object], new: Mapping[str, object]) -> Changes:
    """What to do when the children's orders, by name, change from *old* to *new*."""
    same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
    return Changes(frozenset(old.keys() - same), frozenset(new.keys() - same))


class FileWatch:
    """Says when a file has changed and has stayed so for a whole look: an editor may write it in several steps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._before = self._signature()

    def look(self) -> bool:
        """Whether there is a new version to read; said once for each. A file that has gone is one."""
        now = self._signature()
        steady, self._before = now == self._before, now
        if not steady or now == self._known:
            return False
        self._known = now
        return True

    def read(self) -> None:
        """Somebody reads it right now, unasked: that version needs no mention."""
        self._known = self._before = self._signature()

    def _signature(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
