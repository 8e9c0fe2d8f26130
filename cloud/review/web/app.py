"""The review page and what it asks for: which path does what."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cloud.dataset.pictures import media_type
from cloud.review.catalogue import LONGEST_NAME, is_name
from cloud.review.web.guard import Refusal
from cloud.review.web.room import Full, Room
from edge_agent.errors import EdgeCaptureError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, ExceptionHandler

    from cloud.review.catalogue import Word

_NAMES = (
    "page.html page.css page.js model.js filters.js sliders.js grid.js tiles.js viewer.js saving.js parts.js icon.svg"
)
_PATHS = {("/" if name == "page.html" else f"/{name}"): name for name in _NAMES.split()}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
FILES = frozenset(_PATHS)
"""The page's own files, which tell nothing of what is under review."""

_UNCHANGING = "private, max-age=86400, immutable"


class ReviewPage:
    """The handlers. ``by`` is the reviewer where the page says no other; a label costs ``price``, USD.

    ``price`` None: the labels are there already.
    """

    def __init__(self, room: Room, by: str, price: float | None) -> None:
        self._room = room
        self._by = by
        self._price = price
        self._run = secrets.token_urlsafe(6)  # a browser keeps pictures for as long as this run lasts

    def build(self) -> ASGIApp:
        """The ASGI application, to be served behind a guard."""
        return Starlette(
            routes=[
                *(Route(path, partial(_file, name)) for path, name in _PATHS.items()),
                Route("/api/items", self.items),
                Route("/api/events", self.events),
                Route("/api/decisions", self.decide, methods=["POST"]),
                Route("/thumb/{item}", self.thumb),
                Route("/picture/{item}", self.picture),
            ],
            exception_handlers=_HANDLERS,
        )

    async def items(self, _request: Request) -> Response:
        head = {"title": self._room.catalogue.title, "by": self._by, "price": self._price, "run": self._run}

        async def lines() -> Any:
            yield json.dumps(head).encode() + b"\n"
            async for line in self._room.items():
                yield line

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def events(self, _request: Request) -> Response:
        self._room.admit()
        return StreamingResponse(self._room.events(), media_type="text/event-stream")

    async def thumb(self, request: Request) -> Response:
        thumb = await self._looked(self._room.thumbs.of, request.path_params["item"])
        headers = {"etag": thumb.etag, "cache-control": _UNCHANGING}
        if request.headers.get("if-none-match") == thumb.etag:
            return Response(status_code=304, headers=headers)
        return Response(thumb.jpeg, media_type="image/jpeg", headers=headers)

    async def picture(self, request: Request) -> Response:
        body, _ = await self._looked(self._room.catalogue.picture, request.path_params["item"])
        kind = media_type(body)
        if kind is None:
            return JSONResponse({"error": "is no picture that a browser shows"}, 415)
        return Response(body, media_type=kind, headers={"cache-control": _UNCHANGING})

    async def decide(self, request: Request) -> Response:
        """``{"by": "ann", "changes": {"yellow_box_1_000023": "drop"}}``; null takes a decision back."""
        try:
            changes, by = self._wanted(json.loads(await request.body()))
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": f"request: {error}"}, 400)
        stored = await self._room.decide(changes, by)
        if stored.again:
            return JSONResponse({"error": next(iter(stored.failed.values()))}, 503)
        return JSONResponse({"failed": stored.failed})

    def _wanted(self, document: object) -> tuple[dict[str, Word | None], str]:
        if not isinstance(document, dict) or not isinstance(changes := document.get("changes"), dict):
            raise ValueError("has no object 'changes'")
        by = document.get("by") or self._by
        if not is_name(by):
            raise ValueError(f"'by' is no name of up to {LONGEST_NAME} characters")
        return dict(_known(changes)), by

    async def _looked(self, look: Callable[[str], Any], item: str) -> Any:
        try:
            return await self._room.call(look, item)
        except EdgeCaptureError:
            self._room.look_for_findings()
            raise


def _known(document: Mapping[str, Any]) -> Iterable[tuple[str, Word | None]]:
    """The pairs of *document*, read as hostile input. Raises ValueError."""
    for item, word in document.items():
        if word not in ("keep", "drop", None):
            raise ValueError(f"{ascii(word)[:40]} is no decision")
        yield item, word


async def _file(name: str, _request: Request) -> Response:
    content = resources.files(__package__).joinpath("static", name).read_bytes()
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers={"cache-control": "no-cache"})


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EdgeCaptureError)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": str(error)}, 503 if error.retryable else 404)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": error.why}, error.status)


async def _full(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "too many pages are open; close some"}, 429)


async def _nothing(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "there is nothing here"}, 404)


_Handler = Callable[["Request", Exception], Awaitable[Response]]
_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    404: _nothing,
    Refusal: _refused,
    Full: _full,
    EdgeCaptureError: _failed,
}
