"""The page and its API: which path does what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from edge_agent.control.commands import ClearClass, Command, Desired
from edge_agent.control.desired import DesiredState
from edge_agent.control.web import metrics, requests
from edge_agent.control.web.guard import COOKIE, Guard, Refusal
from edge_agent.control.web.hub import Full, Hub
from edge_agent.control.web.openapi import description
from edge_agent.control.web.thumbs import Thumbnails
from edge_agent.control.web.token import TokenFile
from edge_agent.errors import EdgeCaptureError, InvalidInput, NameInvalid, SpoolError
from edge_agent.segment import SegmentName, format_moment
from edge_agent.spool import Spool

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ExceptionHandler

    from edge_agent.clock import Clock
    from edge_agent.control.web.job import WebJob
    from edge_agent.control.web.state import Box

COOKIE_SECONDS = 30 * 86400
_DIGITS = 18  # of a picture's number; a box never makes so many
_FILES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css", "/icon.svg": "icon.svg"}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


class Page:
    """The handlers, over what they need. Blocking work runs on the hub's threads."""

    def __init__(self, job: WebJob, clock: Clock, box: Box, hub: Hub) -> None:
        self._job = job
        self._clock = clock
        self._box = box
        self._hub = hub
        self._spool = Spool(Path(job.spool))
        self._desired = DesiredState(Path(job.state), job.fields)
        self._thumbs = Thumbnails()
        token = None if job.is_local else TokenFile(Path(job.state))
        self._guard: Guard
        self._token = token

    def build(self) -> Guard:
        """The ASGI application."""
        app = Starlette(routes=self.routes(), exception_handlers=_HANDLERS)
        names = (*self._job.names, *((self._job.device, f"{self._job.device}.local") if self._token else ()))
        self._guard = Guard(app, self._clock, names, self._token)
        return self._guard

    def routes(self) -> list[Route]:
        """Every path there is."""
        camera = "/api/v1/cameras/{camera}"
        return [
            *(Route(path, partial(_file, name)) for path, name in _FILES.items()),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/snapshot/{camera}.jpg", self.snapshot),
            Route("/thumbnail/{stem}.jpg", self.thumbnail),
            Route("/api/v1/openapi.json", self.openapi),
            Route("/api/v1/state", self.state),
            Route("/api/v1/events", self.events),
            Route("/api/v1/session", self.sign_in, methods=["POST"]),
            Route("/api/v1/session", self.sign_out, methods=["DELETE"]),
            Route("/api/v1/upload", self.set_upload, methods=["PUT"]),
            Route(f"{camera}/class", self.set_class, methods=["PUT"]),
            Route(f"{camera}/class", self.clear_class, methods=["DELETE"]),
            Route(f"{camera}/recording", self.set_recording, methods=["PUT"]),
        ]

    # -- for machines ----------------------------------------------------------------------------------------------

    async def healthz(self, _request: Request) -> Response:
        running = (await self._hub.call(self._box.lately))["running"]
        return JSONResponse({"ok": running}, 200 if running else 503)

    async def readyz(self, _request: Request) -> Response:
        ready = (await self._hub.call(self._box.lately))["health"]["ok"]
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        document = await self._hub.call(self._box.lately)
        return Response(metrics.exposition(document), headers={"content-type": metrics.CONTENT_TYPE})

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(description(self._job.fields, list(self._job.cameras)))

    # -- what is shown ---------------------------------------------------------------------------------------------

    async def state(self, _request: Request) -> Response:
        return JSONResponse(await self._hub.call(self._box.look))

    async def events(self, _request: Request) -> Response:
        self._hub.admit()
        return StreamingResponse(self._hub.events(), media_type="text/event-stream")

    async def snapshot(self, request: Request) -> Response:
        number = request.query_params.get("number", "")
        known = int(number) if number.isdecimal() and len(number) <= _DIGITS else None
        jpeg = await self._hub.snapshot(self._camera(request), known)
        if jpeg is None:
            raise HTTPException(404, "the camera gives no picture now")
        return Response(jpeg, media_type="image/jpeg")

    async def thumbnail(self, request: Request) -> Response:
        try:
            stem = SegmentName.parse(request.path_params["stem"], self._job.fields).stem
        except NameInvalid as error:
            raise HTTPException(404, "there is no such segment") from error
        jpeg = await self._hub.call(self._thumbs.of, stem, partial(self._spool.published, stem))
        if jpeg is None:
            raise HTTPException(404, "there is no such segment")
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400, immutable"})

    # -- what is ordered -------------------------------------------------------------------------------------------

    async def set_class(self, request: Request) -> Response:
        camera = self._camera(request)
        body = await _json(request)
        return await self._order(request, requests.class_wanted(body, self._job, camera, self._clock.now()))

    async def clear_class(self, request: Request) -> Response:
        return await self._order(request, ClearClass(self._camera(request)))

    async def set_recording(self, request: Request) -> Response:
        camera = self._camera(request)
        return await self._order(request, requests.recording_wanted(await _json(request), camera))

    async def set_upload(self, request: Request) -> Response:
        now = self._clock.now()
        command = requests.upload_wanted(await _json(request), now)
        order = await self._hub.call(self._desired.apply_upload, command, _who(request), now)
        self._hub.hurry()
        until = format_moment(order.until) if order.until else None
        return JSONResponse({"paused": not order.on, "set_by": order.set_by, "set_at": order.set_at, "until": until})

    async def _order(self, request: Request, command: Command) -> Response:
        """Keep *command*, durably: the file is the only way by which it takes effect."""
        wanted = await self._hub.call(self._desired.apply, command, _who(request), self._clock.now())
        self._hub.hurry()
        return JSONResponse(_wanted(wanted))

    async def sign_in(self, request: Request) -> Response:
        cookie = self._guard.let_in(request.scope, requests.token_shown(await _json(request)))
        response = Response(status_code=204)
        if cookie:
            response.set_cookie(COOKIE, cookie, COOKIE_SECONDS, httponly=True, samesite="strict")
        return response

    async def sign_out(self, _request: Request) -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    def _camera(self, request: Request) -> str:
        camera: str = request.path_params["camera"]
        if camera not in self._job.cameras:
            raise HTTPException(404, "no camera is called that")
        return camera


async def _json(request: Request) -> bytes:
    """The body. A type that a foreign page's form cannot send is demanded."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    return await request.body()


def _who(request: Request) -> str:
    return f"page:{request.client.host if request.client else 'local'}"


def _wanted(desired: Desired) -> dict[str, object]:
    choice, switch = desired.choice, desired.recording
    return {
        "class": choice.tag.as_dict() if choice else None,
        "until": format_moment(choice.until) if choice and choice.until else None,
        "recording": switch.on if switch else None,
    }


async def _file(name: str, _request: Request) -> Response:
    content = resources.files(__package__).joinpath("static", name).read_bytes()
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers={"cache-control": "no-cache"})


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status)

    return answer


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": error.why}, error.status, error.headers)


async def _full(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "too many pages are open; close some"}, 429)


_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    HTTPException: _http,
    Refusal: _refused,
    Full: _full,
    InvalidInput: _answer(400),
    SpoolError: _answer(503),
    EdgeCaptureError: _answer(404),
}
