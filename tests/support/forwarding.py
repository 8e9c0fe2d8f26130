"""A server in front of another: it answers by itself where a test wants it to, and passes the rest on."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from tests.support.http_server import Answer, Request, http_server

_OF_ONE_HOP = {"connection", "content-length", "transfer-encoding", "date", "server", "host", "expect"}


@contextmanager
def forwarding(to: str, answer: Callable[[Request], Answer | None]) -> Iterator[str]:
    """The URL of a server that gives what *answer* returns, or where that is None what the server at *to* answers."""
    host = urlsplit(to).netloc

    def serve(request: Request) -> Answer:
        return answer(request) or _passed_on(host, request)

    with http_server(serve) as url:
        yield url


def _passed_on(host: str, request: Request) -> Answer:
    headers = {name: value for name, value in request.headers.items() if name not in _OF_ONE_HOP}
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request(request.method, request.path, request.body, headers)
        reply = connection.getresponse()
        kept = {name: value for name, value in reply.getheaders() if name.lower() not in _OF_ONE_HOP}
        if request.method == "HEAD":
            kept["Content-Length"] = reply.getheader("Content-Length") or "0"
        return Answer(reply.status, reply.read(), kept)
