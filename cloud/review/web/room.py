"""What all who have the page open share: the items read so far, the decisions that stand, what is wrong.

Reading and deciding run on threads; what the page hears of runs in the event loop. A decision is told to everybody
only when the catalogue has stored it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from cloud.review.catalogue import Catalogue, Decided, Word
from cloud.review.web.reading import Reading
from cloud.review.web.thumbs import Thumbnails
from edge_agent.errors import EdgeCaptureError

NEWS_SECONDS = 3.0  # between two looks at what others decided
QUIET_SECONDS = 15.0  # after which a line is sent that says nothing, or a proxy would hang up
CLIENTS = 32  # pages open at once
_THREADS = 8
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Client:
    """What a page has not been told yet; by item, so that it is bounded however slow the page is."""

    fresh: dict[str, Decided | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Stored:
    """How deciding went. ``failed`` says why by item; ``again`` that trying the same again may help."""

    failed: Mapping[str, str]
    again: bool = False


class Full(Exception):
    """As many pages are open as may be."""


class Room:
    """Lives in one event loop; as a context it reads the catalogue on a thread of its own, and joins all at its end."""

    def __init__(self, catalogue: Catalogue, tell: Callable[[str], None]) -> None:
        self.catalogue = catalogue
        self.thumbs = Thumbnails(catalogue.picture)
        self._tell = tell
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._closed = False
        self._standing: dict[str, Decided | None] = {}
        self._told: set[str] = set()
        self._found = 0
        self._threads = ThreadPoolExecutor(_THREADS, "review")
        self._reading = Reading(catalogue, self._decided, self._ended)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: set[_Client] = set()
        self._readers: set[asyncio.Event] = set()
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._reading.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._reading.close()
        self._reading.join()
        self._threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End every open stream. In the event loop."""
        self._closed = True
        self._reading.close()
        if self._watch is not None:
            self._watch.cancel()
        self._wake()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """*function*'s result, from a thread: it may block. Reading gives way to it."""
        with self._reading.giving_way():
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _decided(self, fresh: Mapping[str, Decided]) -> None:
        """From the reading thread: a line more is there, with these decisions in it."""
        with self._lock:
            standing = {item: self._standing.setdefault(item, decided) for item, decided in fresh.items()}
        self._from_thread(self._broadcast, standing)

    def _ended(self) -> None:
        """From the reading thread."""
        if self._reading.failure:
            self._tell(f"error: {self._reading.failure}")
        self._tell_findings()
        self._from_thread(self._after_reading)

    def _from_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(function, *arguments)

    async def items(self) -> AsyncIterator[bytes]:
        """Lines of :func:`packed` items as they are read; the last one says that there are no more, or why not."""
        self._here()
        place, bell = 0, asyncio.Event()
        self._readers.add(bell)
        try:
            while not self._closed:
                bell.clear()
                ended = self._reading.ended
                for line in self._reading.lines[place:]:
                    place += 1
                    yield line
                if ended:
                    yield json.dumps({"end": True, "failure": self._reading.failure}).encode() + b"\n"
                    return
                await bell.wait()
        finally:
            self._readers.discard(bell)

    # -- deciding --------------------------------------------------------------------------------------------------

    async def decide(self, changes: Mapping[str, Word | None], by: str) -> Stored:
        """Store *changes*, tell all pages, and say what could not be stored."""
        self._here()
        if not self._reading.ended and not all(
            item in self._reading.groups for item in changes
        ):  # of a page that outlived a server
            return Stored(dict.fromkeys(changes, "still reading the data set"), again=True)
        standing, stored = await self.call(self._store, changes, by)
        fresh = {item: standing.get(item) for item in {*changes, *standing} if item not in stored.failed}
        self._broadcast(fresh)
        return stored

    def _store(self, changes: Mapping[str, Word | None], by: str) -> tuple[Mapping[str, Decided], Stored]:
        """All at once; where that fails for good, group by group, so that one bad group takes no other with it."""
        try:
            return self.catalogue.decide(changes, by), Stored({})
        except EdgeCaptureError as error:
            apart = self._apart(changes)
            if error.retryable or len(apart) <= 1:
                return {}, Stored(dict.fromkeys(changes, str(error)), again=error.retryable)
        standing: dict[str, Decided] = {}
        failed: dict[str, str] = {}
        for part in apart:
            try:
                standing.update(self.catalogue.decide(part, by))
            except EdgeCaptureError as error:
                failed.update(dict.fromkeys(part, str(error)))
        return standing, Stored(failed)

    def _apart(self, changes: Mapping[str, Word | None]) -> list[dict[str, Word | None]]:
        groups: dict[str, dict[str, Word | None]] = {}
        for item, word in changes.items():
            groups.setdefault(self._reading.groups.get(item, ""), {})[item] = word
        return list(groups.values())

    # -- telling ---------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Raises Full."""
        if len(self._clients) >= CLIENTS:
            raise Full

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: all ``standing`` decisions first, then who ``decided`` what, and ``findings``."""
        self._here()
        client = _Client()
        self._clients.add(client)
        if self._watch is None:
            self._watch = asyncio.create_task(self._follow())
        try:
            with self._lock:
                standing = dict(self._standing)
            yield f"event: standing\ndata: {_words(standing)}\n\n"
            yield self._findings()
            while not self._closed:
                try:
                    await asyncio.wait_for(client.bell.wait(), QUIET_SECONDS)
                except TimeoutError:
                    yield ": nothing new\n\n"
                client.bell.clear()
                fresh, client.fresh = client.fresh, {}
                notes, client.notes = client.notes, {}
                if fresh:
                    yield f"event: decided\ndata: {_words(fresh)}\n\n"
                for message in notes.values():
                    yield message
        finally:
            self._clients.discard(client)
            if not self._clients and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def _follow(self) -> None:
        """Look at what others decided, for as long as somebody has the page open."""
        while True:
            await asyncio.sleep(NEWS_SECONDS)
            try:
                self._broadcast(await self.call(self.catalogue.news))
                self._note("trouble", json.dumps(""))
            except EdgeCaptureError as error:
                self._note("trouble", json.dumps(str(error)))
            self.look_for_findings()

    def look_for_findings(self) -> None:
        """Tell terminal and pages what was found wrong since the last time. In the event loop."""
        if self._tell_findings():
            self._note("findings", self._findings(), whole=True)

    def _tell_findings(self) -> bool:
        """Tell the terminal; whether there was anything new. From any thread."""
        with self._telling:
            findings = self.catalogue.findings()
            if findings.total == self._found:
                return False
            self._found = findings.total
            for line in map(str, findings):
                if line not in self._told:
                    self._told.add(line)
                    self._tell(line)
            return True

    def _findings(self) -> str:
        findings = self.catalogue.findings()
        document = {"total": findings.total, "counts": dict(findings.counts), "lines": list(findings.lines())}
        return f"event: findings\ndata: {json.dumps(document)}\n\n"

    def _note(self, kind: str, data: str, *, whole: bool = False) -> None:
        for client in self._clients:
            client.notes[kind] = data if whole else f"event: {kind}\ndata: {data}\n\n"
            client.bell.set()

    def _broadcast(self, fresh: Mapping[str, Decided | None]) -> None:
        with self._lock:
            self._standing.update(fresh)  # None stays: a line read before that is told of later says no other
        for client in self._clients if fresh else ():
            client.fresh.update(fresh)
            client.bell.set()
        for bell in self._readers:
            bell.set()

    def _after_reading(self) -> None:
        self._note("findings", self._findings(), whole=True)
        self._wake()

    def _here(self) -> None:
        """Let threads know the loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def _wake(self) -> None:
        for bell in (*self._readers, *(client.bell for client in self._clients)):
            bell.set()


def _words(decisions: Mapping[str, Decided | None]) -> str:
    """``{"ann": {"keep": [id, …], "drop": […]}, "": {"none": […]}}``."""
    document: dict[str, dict[str, list[str]]] = {}
    for item, decided in decisions.items():
        by, word = (decided.by, decided.word) if decided else ("", "none")
        document.setdefault(by, {}).setdefault(word, []).append(item)
    return json.dumps(document, separators=(",", ":"))
