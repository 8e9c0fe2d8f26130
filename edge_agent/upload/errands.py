"""What the upload process does beside uploading: takes in what others drop, and obeys requests of the shell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError
from edge_agent.upload.foreign import Foreign
from edge_agent.upload.requests import Requests
from edge_agent.upload.schema import printable

GLANCE_SECONDS = 0.5  # how late a request, a hint or the end is noticed; a glance is one stat


class Errands:
    """Runs *foreign* and *requests* on a thread of its own. *retry* is given the stems to hurry, None for all.

    Foreign directories are looked through at every hint, and every *rescan_seconds* anyway. What the disk or the ledger
    refuses is said once and tried again.
    """

    def __init__(
        self,
        foreign: Foreign,
        requests: Requests,
        retry: Callable[[Collection[str] | None], object],
        clock: Clock,
        rescan_seconds: float,
    ) -> None:
        self._foreign = foreign
        self._requests = requests
        self._retry = retry
        self._clock = clock
        self._rescan_seconds = rescan_seconds
        self._said = ""
        self._log = structlog.get_logger()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be about it while the block lasts."""
        stop = threading.Event()
        thread = threading.Thread(target=self.run, args=(stop,), name="errands")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def run(self, stop: threading.Event) -> None:
        """Be about it until *stop*."""
        hint = threading.Event()
        look_at = self._clock.monotonic()
        with closing(self._foreign):
            while not stop.is_set():
                self._obey()
                if hint.is_set() or self._clock.monotonic() >= look_at:
                    hint.clear()
                    self._foreign.watch(hint)
                    seconds = self._foreign.collect()
                    wait = self._rescan_seconds if seconds is None else min(seconds, self._rescan_seconds)
                    look_at = self._clock.monotonic() + wait
                    if not wait:
                        continue
                self._clock.wait(stop, GLANCE_SECONDS)

    def _obey(self) -> None:
        try:
            self._requests.answer(self._retry)
            self._said = ""
        except EdgeCaptureError as error:
            if str(error) != self._said:
                self._log.warning("requests_not_read", code=error.code, error=printable(str(error)))
            self._said = str(error)
