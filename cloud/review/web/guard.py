"""Stands before every request to a page of this package: who calls, from which other page, with which token.

The page is told nothing of its own by a request that is refused, and what it answers says how little it may do.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 4 * 1024 * 1024
"""Of a request; the page sends decisions in batches of some hundred kilobytes."""

SESSION = "/api/session"
_PUBLIC = frozenset({"/", SESSION})
_SAFE = frozenset({"GET", "HEAD"})
_TOKEN_BYTES = 24  # of randomness: nobody guesses 192 bits, however fast

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

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Lock:
    """The token a visitor must show, and the cookie that then stands for it. Made anew for each run."""

    token: str
    cookie: str = "edge_cloud"

    @classmethod
    def new(cls, port: int) -> Lock:
        """A lock nobody knows the token of; cookies know no ports, so its cookie is named after *port*."""
        return cls(secrets.token_urlsafe(_TOKEN_BYTES), f"edge_cloud_{port}")

    @property
    def session(self) -> str:
        """What the cookie holds in place of the token: of no use to make another."""
        return hmac.new(self.token.encode(), b"edge-cloud session", hashlib.sha256).hexdigest()

    def opens(self, token: str) -> bool:
        return is_same(token, self.token)


class Guard:
    """ASGI middleware. ``lock`` None: the page is for this machine alone, and asks for no token.

    ``public`` names the paths of the page's own files, which tell nothing: they come without a token.
    """

    def __init__(self, app: ASGIApp, lock: Lock | None, public: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._lock = lock
        self._public = _PUBLIC | public

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
            if scope["path"] == SESSION:
                await (await self._let_in(scope, receive))(scope, receive, send_safely)
                return
            await self._app(scope, _bounded(receive), send_safely)
        except Refusal as refusal:
            await JSONResponse({"error": refusal.why}, refusal.status)(scope, receive, send_safely)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        called = headers.get("host", "")
        if not is_known(host_of(called), is_local=self._lock is None):
            raise Refusal(403, "called by a foreign name; call it by its address")
        _check_origin(scope, headers, called)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:18]) > BODY_BYTES:
            raise Refusal(413, f"a request has at most {BODY_BYTES} bytes")
        if self._lock is not None and scope["path"] not in self._public:
            shown = _cookie(headers.get("cookie", ""), self._lock.cookie)
            if not is_same(shown, self._lock.session):
                raise Refusal(401, "open the link that the command printed: it has the token in it")

    async def _let_in(self, scope: Scope, receive: Receive) -> Response:
        """``POST {"token": "…"}``: the cookie for one who knows it."""
        if scope["method"] != "POST":
            raise Refusal(405, "only POST signs in")
        try:
            document = json.loads(await Request(scope, _bounded(receive)).body())
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "is no JSON") from error
        answer = Response(status_code=204)
        if self._lock is None:
            return answer
        token = document.get("token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not self._lock.opens(token):
            raise Refusal(401, "wrong token: open the link that the command printed")
        answer.set_cookie(self._lock.cookie, self._lock.session, path="/", httponly=True, samesite="strict")
        return answer


def is_same(given: str, wanted: str) -> bool:
    """Whether they are equal, in a time that does not tell how nearly; an empty one equals nothing. Pure."""
    return bool(wanted) and hmac.compare_digest(
        hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), hashlib.sha256(wanted.encode()).digest()
    )


def host_of(header: str) -> str:
    """The host in a ``Host`` header, lower-case, without port and brackets; empty where it is none. Pure."""
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or parts.path or parts.query or parts.fragment or parts.username is not None:
        return ""
    return host.rstrip(".")


def is_known(host: str, *, is_local: bool) -> bool:
    """Whether the page answers to *host*: an address, or localhost; for this machine alone, one of loopback. Pure.

    A page of somebody else's, whose name was made to point here (DNS rebinding), calls us by that name.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback if is_local else True


def _check_origin(scope: Scope, headers: Headers, called: str) -> None:
    """Refuse what another site's page sends in a visitor's name. A link to this page may stand anywhere."""
    origin = headers.get("origin")
    if origin is not None:
        scheme, mark, rest = origin.partition("://")
        if not mark or scheme not in ("http", "https") or rest.lower() != called.lower():
            raise Refusal(403, "sent by another site's page")
    site = headers.get("sec-fetch-site", "none")
    navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] in _SAFE
    if site not in ("same-origin", "none") and not navigates:
        raise Refusal(403, "sent by another site's page")


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


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
