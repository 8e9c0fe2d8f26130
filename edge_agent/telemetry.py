"""Structured logs: facts with fields, one line each, secrets cut out, on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import structlog

from edge_agent.redact import redact

LogFormat = Literal["auto", "json", "console"]


def configure(
    level: str = "info", log_format: LogFormat = "auto", keep: Callable[[Mapping[str, Any]], None] | None = None
) -> None:
    """Send structlog's events to standard error: JSON for machines, aligned text for a terminal; and each to *keep*."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redacted,
            *([_kept(keep)] if keep else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _redacted(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def _kept(keep: Callable[[Mapping[str, Any]], None]) -> structlog.typing.Processor:
    def pass_on(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        keep(event)
        return event

    return pass_on
