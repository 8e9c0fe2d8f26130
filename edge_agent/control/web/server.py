"""The page's process: a web server of its own, so that whatever calls it can never hold up what records."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from edge_agent.capture.report import Event, Report
from edge_agent.clock import Clock
from edge_agent.control import local
from edge_agent.control.web.app import Page
from edge_agent.control.web.hub import Hub
from edge_agent.control.web.job import WebJob
from edge_agent.control.web.state import Box
from edge_agent.errors import EdgeCaptureError

CONNECTIONS = 64  # at once; a page has at most seven
HEADER_BYTES = 16384  # of a request's head, path included
ASK_SECONDS = 8.0  # the agent waits up to five seconds for a camera's picture


class NotListening(EdgeCaptureError):
    """The address cannot be listened on: taken, or none of this box's."""


def serve(job: WebJob, clock: Clock, stop: threading.Event, report: Report) -> None:
    """Serve until *stop*. Raises NotListening."""
    _log_to(report)
    with listening(job) as sock:
        report(Event("page_served", "web", {"url": f"http://{_shown(job)}/", "token": not job.is_local}))
        asyncio.run(serve_on(sock, job, clock, stop))


async def serve_on(sock: socket.socket, job: WebJob, clock: Clock, stop: threading.Event) -> None:
    """Serve at *sock*, as *job* says but for the address, until *stop*."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return local.ask(Path(job.state) / local.SOCKET_NAME, request, ASK_SECONDS)
        except local.NotRunning:
            return {}

    box = Box(job, clock)
    hub = Hub(box.look, ask, job.cameras)
    config = uvicorn.Config(
        Page(job, clock, box, hub).build(),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # or anybody on this box could write whose failures are counted
        server_header=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=1,
    )
    await _Server(config, stop, hub).serve([sock])


class _Server(uvicorn.Server):
    """Stops when told to, and leaves signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, hub: Hub) -> None:
        super().__init__(config)
        self._stop = stop
        self._hub = hub

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        if self._stop.is_set():
            self._hub.close()
            return True
        return ended


@contextlib.contextmanager
def listening(job: WebJob) -> Iterator[socket.socket]:
    """A listening socket on the page's address. Raises NotListening."""
    family = socket.AF_INET6 if ":" in job.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((job.host, job.port))
        except OSError as error:
            raise NotListening(
                f"cannot listen: {error.strerror}",
                where=f"web.listen {_shown(job)}",
                fix="stop what uses that port, or set another address",
            ) from error
        yield sock


def _shown(job: WebJob) -> str:
    return f"[{job.host}]:{job.port}" if ":" in job.host else f"{job.host}:{job.port}"


def _log_to(report: Report) -> None:
    """What the server has to say goes the way of all events: one line, without a traceback."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reason = repr(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
            error = " ".join(record.getMessage().splitlines()[:1])
            report(Event("page_problem", "web", {"error": f"{error} {reason}".strip()[:300]}))

    logger = logging.getLogger("uvicorn.error")
    logger.handlers, logger.propagate = [Handler(logging.WARNING)], False
