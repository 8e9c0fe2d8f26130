"""Hints that something arrived in a directory. The rescan is the truth; this only spares it the wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from watchdog.events import FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler

from edge_agent.spool import SIDECAR_SUFFIX

Arrived = Callable[[str], object]
"""Called with a file's name, on the watcher's thread."""

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

_ARRIVALS: tuple[type[FileSystemEvent], ...] = (FileCreatedEvent, FileMovedEvent, FileClosedEvent)


class Watcher:
    """Sets *wake* when a file other than a sidecar or a hidden one arrives in *directory* (flat).

    *arrived* is told its name before that.

    Never raises for what the kernel refuses (inotify limits, no such directory) and never promises an event. Call
    :meth:`ensure` before every rescan: it starts the observer, and starts it anew when it died or the directory is
    another one.
    """

    def __init__(self, directory: Path, wake: threading.Event, arrived: Arrived | None = None) -> None:
        self._directory = directory
        self._handler = _Arrivals(wake, arrived)
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        self._complained = ""
        self._log = structlog.get_logger().bind(directory=str(directory))

    @property
    def alive(self) -> bool:
        """Whether events of the directory as it is now can arrive."""
        if self._observer is None or self._watched != self._identity():
            return False
        emitters = self._observer.emitters
        return self._observer.is_alive() and bool(emitters) and all(emitter.is_alive() for emitter in emitters)

    def ensure(self) -> bool:
        """Watch, if that is not so already; whether it is so now."""
        if self.alive:
            return True
        if self._observer is not None:
            self._log.warning("watcher_restarted")
            self.close()
        try:
            self._start()
        except OSError as error:
            self.close()
            if str(error) != self._complained:
                self._log.warning(
                    "watcher_unavailable", error=str(error), consequence="files are found by rescans only"
                )
                self._complained = str(error)
            return False
        self._complained = ""
        return True

    def close(self) -> None:
        """Stop watching and join every thread; :meth:`ensure` may be called again."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            observer.stop()
            if observer.is_alive():
                observer.join()

    def _start(self) -> None:
        from watchdog.observers import Observer

        self._watched = self._identity()
        self._observer = Observer()
        # Without the filter, our own reading of the files would raise events too.
        self._observer.schedule(self._handler, str(self._directory), event_filter=list(_ARRIVALS))
        self._observer.start()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._directory.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class _Arrivals(FileSystemEventHandler):
    def __init__(self, wake: threading.Event, arrived: Arrived | None) -> None:
        self._wake = wake
        self._arrived = arrived

    def on_any_event(self, event: FileSystemEvent) -> None:
        name = Path(os.fsdecode(event.dest_path or event.src_path)).name
        if isinstance(event, _ARRIVALS) and not name.startswith(".") and not name.endswith(SIDECAR_SUFFIX):
            if self._arrived is not None:
                self._arrived(name)
            self._wake.set()
