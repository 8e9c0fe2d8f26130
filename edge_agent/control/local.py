"""The running agent's local socket: one JSON request a line, one JSON answer, guarded by file permissions."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.durable import os_errors
from edge_agent.errors import EdgeCaptureError, SpoolUnusable

Answer = Callable[[dict[str, Any]], dict[str, Any]]
SOCKET_NAME = "agent.sock"
UPLOAD_SOCKET_NAME = "upload.sock"
"""Of an agent that only uploads: one that only captures may run beside it."""
RETUNE = "retune"
"""The command by which an agent that only uploads hands on what the shadow has changed for the cameras."""
PING_SECONDS = 1.0
_LIMIT = 65536  # bytes of a request; far above any command


class NotRunning(EdgeCaptureError):
    """Nobody answers on the socket."""


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address of *path* within the 108 bytes a Unix socket's may have, however deep the directory lies."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


@contextmanager
def serve(path: Path, answer: Answer) -> Iterator[None]:
    """Answer requests at the socket *path* while the block lasts. Raises SpoolUnusable when another agent does."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 5.0

        def handle(self) -> None:
            try:
                request = json.loads(self.rfile.readline(_LIMIT))
                reply = answer(request) if isinstance(request, dict) else {"error": "request is no JSON object"}
            except ValueError:
                reply = {"error": "request is no JSON"}
            except EdgeCaptureError as error:
                reply = {"error": str(error)}
            except OSError:
                return
            self.wfile.write(json.dumps(reply).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64  # or, on a busy box, whoever comes sixth finds the agent "not running"

        def handle_error(self, *_: object) -> None:
            """A client that hung up before its answer is its own affair."""

    refuse_second(path)
    with os_errors(path), _address(path) as address:
        path.unlink(missing_ok=True)
        server = Server(address, Handler)
        path.chmod(0o600)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="local-socket")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        path.unlink(missing_ok=True)


def ask(path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """The running agent's answer. Raises NotRunning."""
    try:
        with _address(path) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as reply:
                answer = json.loads(reply.readline())
    except (OSError, ValueError) as error:
        raise NotRunning("agent is not running", where=str(path), fix="start it with 'edge-agent run'") from error
    return answer if isinstance(answer, dict) else {}


@dataclass(slots=True)
class Agents:
    """What runs on one spool now, as one agent or as two, and what they say of cameras, disk and shadow."""

    captures: bool = False
    uploads: bool = False
    cameras: dict[str, Any] = field(default_factory=dict)
    disk: dict[str, Any] = field(default_factory=dict)
    link: dict[str, Any] = field(default_factory=dict)


def agents(state: Path) -> Agents:
    """Ask the agents whose state directory is *state*."""
    found = Agents()
    for name in (UPLOAD_SOCKET_NAME, SOCKET_NAME):
        with suppress(NotRunning):
            answer = ask(state / name, {"command": "status"})
            found.captures = found.captures or bool(answer.get("captures"))
            found.uploads = found.uploads or bool(answer.get("uploads"))
            found.cameras.update(answer.get("cameras", {}))
            found.disk.update(answer.get("disk", {}))
            found.link.update(answer.get("link") or {})
    return found


def refuse_second(path: Path) -> None:
    """Raise SpoolUnusable when another agent answers at *path*."""
    if is_running(path):
        raise SpoolUnusable("another agent is running on this spool", where=str(path), fix="stop it first")


def is_running(path: Path) -> bool:
    """Whether an agent listens at *path*: one that is too busy to answer runs all the same."""
    try:
        ask(path, {"command": "ping"}, PING_SECONDS)
    except NotRunning as error:
        return isinstance(error.__cause__, TimeoutError | BlockingIOError)  # the latter: its queue is full
    return True
