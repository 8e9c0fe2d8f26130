"""Stands before every request: who calls, from where, with which token, how much; and what answers must say."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from edge_agent.control.web.callers import Throttle, host_of, is_known, is_own_origin
from edge_agent.control.web.token import TokenFile, is_same, session

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge_agent.clock import Clock

BODY_BYTES = 4096  # of a request; the largest command has some 200
COOKIE = "edge_agent"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = frozenset({"/", "/page.js", "/page.css", "/icon.svg", "/healthz", "/readyz", "/api/v1/session"})
"""What tells nothing of the box; the page's own files, and by which it is let in."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Refusal(Exception):
    """Answered with *status* and *why*; nothing else of the request is looked at."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = headers


class Guard:
    """ASGI middleware. ``token`` None: the page is for this box alone, and asks for none."""

    def __init__(self, app: ASGIApp, clock: Clock, names: Collection[str], token: TokenFile | None) -> None:
        self._app = app
        self._clock = clock
        self._names = frozenset(name.lower() for name in names)
        self._token = token
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, _bounded(receive), send_safely)
        except Refusal as refusal:
            answer = JSONResponse({"error": refusal.why}, refusal.status, refusal.headers)
            await answer(scope, receive, send_safely)

    def let_in(self, scope: Scope, token: str) -> str | None:
        """The cookie for one who shows *token*; None where none is needed. Raises Refusal."""
        if self._token is None:
            return None
        self._check(scope, token, self._token.read())
        return session(self._token.read())

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        called = headers.get("host", "")
        host = host_of(called)
        if host is None or not is_known(host, self._names, is_local=self._token is None):
            raise Refusal(403, "called by a foreign name; add it to web.hosts in the settings")
        _check_origin(scope, headers, called)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:18]) > BODY_BYTES:
            raise Refusal(413, f"a request has at most {BODY_BYTES} bytes")
        if self._token is not None and scope["path"] not in PUBLIC:
            self._authorise(scope, headers, self._token.read())

    def _authorise(self, scope: Scope, headers: Headers, token: str) -> None:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._check(scope, bearer.strip(), token)
            return
        cookie = _cookie(headers.get("cookie", ""))
        if cookie is None:
            raise Refusal(401, "a token is needed: run 'edge-agent web-link'", {"www-authenticate": "Bearer"})
        if not is_same(cookie, session(token)):  # of a token that was renewed, rather than a guess: it is not counted
            raise Refusal(401, "the token has changed: run 'edge-agent web-link'", {"www-authenticate": "Bearer"})

    def _check(self, scope: Scope, given: str, wanted: str) -> None:
        address = (scope.get("client") or ("?", 0))[0]
        now = self._clock.monotonic()
        if seconds := self._throttle.blocked(address, now):
            raise Refusal(429, "too many wrong tokens; wait a minute", {"retry-after": f"{seconds:.0f}"})
        if not is_same(given, wanted):
            self._throttle.failed(address, now)
            raise Refusal(401, "wrong token: run 'edge-agent web-link'", {"www-authenticate": "Bearer"})


def _check_origin(scope: Scope, headers: Headers, called: str) -> None:
    """Refuse what another site's page sends in a visitor's name. A link to this page may stand anywhere."""
    origin = headers.get("origin")
    if origin is not None and not is_own_origin(origin, called):
        raise Refusal(403, "sent by another site's page")
    site = headers.get("sec-fetch-site", "none")
    navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] in _SAFE
    if site not in ("same-origin", "none") and not navigates:
        raise Refusal(403, "sent by another site's page")


def _cookie(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _bounded(receive: Receive) -> Receive:
    """*receive*, which refuses a body that is longer than it was said to be."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES:
            raise Refusal(413, f"a request has at most {BODY_BYTES} bytes")
        return message

    return bounded
