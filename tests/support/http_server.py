"""A tiny real HTTP server of which a test says how it answers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. None as an answer hangs up without one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def http_server(
    answer: Callable[[Request], Answer | None], *, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[str]:
    """The URL of a server that gives what *answer* returns to every request, until the block ends.

    With *tls* it speaks HTTPS. *port* 0 takes a free one.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            given = answer(Request(self.command, self.path, headers, self.rfile.read(length)))
            self.close_connection = True
            if given is None:
                return
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in given.headers:  # what a HEAD tells is the length of what it does not send
                self.send_header("Content-Length", str(len(given.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(given.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # then closing the server joins them

        def handle_error(self, request: Any, client_address: Any) -> None:
            if tls is None:  # over TLS, those who are refused leave in the middle of the handshake
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", port), Handler) as server:
        if tls is not None:
            # The handshake then happens in the thread of the connection, not in the one that accepts them all.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
