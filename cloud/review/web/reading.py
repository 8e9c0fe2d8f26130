"""Reading a catalogue on a thread, into the lines that the page takes in; it gives way to who waits for a picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from cloud.review.catalogue import Catalogue, Decided, Item
from cloud.review.web.columns import packed
from cloud.review.web.thumbs import prepare
from edge_agent.errors import EdgeCaptureError

FIRST_ITEMS, MOST_ITEMS = 300, 6000
"""How many items the first line and the last ones hold: a screenful at once, then few lines."""

_FIRST_LOOK = 1.0  # seconds that reading waits, after the first line, for the first picture to be handed out
_GIVEN_WAY = 0.05  # seconds that reading waits, a group, while somebody waits for a picture


class Reading:
    """``lines`` and ``groups`` (by item) grow until ``ended``; ``failure`` then says why it ended early, if it did.

    *decided* is told of the decisions in each line, *ended* that there are no more lines; both from the thread.
    """

    def __init__(
        self, catalogue: Catalogue, decided: Callable[[Mapping[str, Decided]], None], ended: Callable[[], None]
    ) -> None:
        self.lines: list[bytes] = []
        self.groups: dict[str, str] = {}
        self.ended = False
        self.failure = ""
        self._catalogue = catalogue
        self._tell_decided = decided
        self._tell_ended = ended
        self._closed = False
        self._asked = 0
        self._calm = threading.Event()
        self._calm.set()
        self._looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="review-reader")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Have it end at the next group."""
        self._closed = True
        self._looked.set()

    def join(self) -> None:
        self._thread.join()

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """Within the block somebody waits: reading slows down. In the event loop."""
        self._asked += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._asked -= 1
            self._looked.set()
            if not self._asked:
                self._calm.set()

    def _run(self) -> None:
        batch: list[Sequence[Item]] = []
        size, wanted = 0, FIRST_ITEMS
        try:
            for group in self._catalogue.groups():
                self._calm.wait(_GIVEN_WAY)
                if self._closed:
                    return
                batch.append(group)
                size += len(group)
                if size >= wanted:
                    self._add(batch)
                    batch, size, wanted = [], 0, min(wanted * 2, MOST_ITEMS)
                    self._wait_for_the_first_look()
        except EdgeCaptureError as error:
            self.failure = str(error)
        if batch:
            self._add(batch)
        self.ended = True
        self._tell_ended()

    def _add(self, batch: list[Sequence[Item]]) -> None:
        self.lines.append(packed(batch))
        self.groups.update((item.id, item.group) for group in batch for item in group)
        self._tell_decided({item.id: item.decision for group in batch for item in group if item.decision is not None})

    def _wait_for_the_first_look(self) -> None:
        """Until then the browser starts, and it and the server need the processor for the first screenful."""
        if not self._looked.is_set():
            prepare()
            self._looked.wait(_FIRST_LOOK)
            self._looked.set()  # waited for once
