"""Live updates: whoever has the page open is sent what changed; while nobody has, nothing is looked at."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

EVERY_SECONDS = 0.9  # so that what is ordered elsewhere shows within a second, the look included
QUIET_SECONDS = 15.0  # after which a line is sent that says nothing, or a proxy would hang up
AGAIN_SECONDS = 1.0  # after a camera gave no picture, or the same one
CLIENTS = 16  # pages open at once
SNAPSHOT_SECONDS = 1.5  # a picture that came to an open page so lately is also the answer to a request for one
T = TypeVar("T")

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""Asks the agent over its local socket; blocks up to 8 s; {} when it does not answer."""


@dataclass(slots=True, eq=False)
class _Client:
    """What a page has not been sent yet: only the newest of each kind, however slow it is."""

    waiting: dict[str, str] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def give(self, kind: str, message: str) -> None:
        self.waiting[kind] = message
        self.bell.set()


@dataclass(frozen=True, slots=True)
class _Shot:
    number: int
    jpeg: bytes
    at: float


class Full(Exception):
    """As many pages are open as may be."""


class Hub:
    """Lives in one event loop; ``look`` and ``ask`` run on threads of its own."""

    def __init__(self, look: Callable[[], dict[str, Any]], ask: Ask, cameras: Iterable[str]) -> None:
        self._look = look
        self._ask = ask
        self._cameras = tuple(cameras)
        self._threads = ThreadPoolExecutor(len(self._cameras) + 6, "page")
        self._clients: set[_Client] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()
        self._shots: dict[str, _Shot] = {}
        self._taking = {camera: asyncio.Lock() for camera in self._cameras}
        self._state = ""
        self._closed = False

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """*function*'s result, from a thread: it may block."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def hurry(self) -> None:
        """Something has just been changed: look now."""
        self._hurry.set()

    def close(self) -> None:
        """End every open stream."""
        self._closed = True
        for client in self._clients:
            client.bell.set()
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def admit(self) -> None:
        """Raises Full."""
        if len(self._clients) >= CLIENTS:
            raise Full

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: ``state`` with the whole document, ``picture`` with a camera's name and number."""
        client = _Client()
        self._enter(client)
        try:
            while not self._closed:
                try:
                    await asyncio.wait_for(client.bell.wait(), QUIET_SECONDS)
                except TimeoutError:
                    yield ": nothing new\n\n"
                client.bell.clear()
                waiting, client.waiting = client.waiting, {}
                for message in waiting.values():
                    yield message
        finally:
            self._leave(client)

    async def snapshot(self, camera: str, number: int | None = None) -> bytes | None:
        """A JPEG at most some seconds old; None when the camera gives none.

        Whoever was told of picture *number* gets it or the one after it, however old: a page may be slow to ask, and
        the camera be stopped meanwhile.
        """
        told = self._shots.get(camera)
        if told is not None and number is not None and number <= told.number:
            return told.jpeg
        async with self._taking[camera]:
            shot = self._shots.get(camera)
            now = asyncio.get_running_loop().time()
            if shot is None or now - shot.at > SNAPSHOT_SECONDS:
                shot = self._keep(camera, await self.call(self._ask, {"command": "snapshot", "camera": camera}))
            return shot.jpeg if shot else None

    def _enter(self, client: _Client) -> None:
        self._clients.add(client)
        if not self._tasks:
            self._state = ""
            pictures = [asyncio.create_task(self._follow(camera)) for camera in self._cameras]
            self._tasks = [asyncio.create_task(self._watch()), *pictures]
        elif self._state:
            client.give("state", self._state)
            for camera, shot in self._shots.items():
                client.give(camera, _picture(camera, shot))

    def _leave(self, client: _Client) -> None:
        self._clients.discard(client)
        if not self._clients:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def _watch(self) -> None:
        while True:
            self._hurry.clear()
            self._state = f"event: state\ndata: {json.dumps(await self.call(self._look))}\n\n"
            self._tell("state", self._state)
            try:
                await asyncio.wait_for(self._hurry.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue

    async def _follow(self, camera: str) -> None:
        """Fetch each new picture of *camera*; that somebody asks is also what keeps it drawing."""
        number = 0
        while True:
            request = {"command": "snapshot", "camera": camera, "after": number}
            shot = self._keep(camera, await self.call(self._ask, request))
            if shot is None:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            number = shot.number
            self._tell(camera, _picture(camera, shot))

    def _keep(self, camera: str, answer: dict[str, Any]) -> _Shot | None:
        match answer:
            case {"number": int(number), "jpeg": str(jpeg)}:
                shot = _Shot(number, base64.b64decode(jpeg), asyncio.get_running_loop().time())
                self._shots[camera] = shot
                return shot
        return None

    def _tell(self, kind: str, message: str) -> None:
        for client in self._clients:
            client.give(kind, message)


def _picture(camera: str, shot: _Shot) -> str:
    return f"event: picture\ndata: {json.dumps({'camera': camera, 'number': shot.number})}\n\n"
