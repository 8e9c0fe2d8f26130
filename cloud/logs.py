"""How log lines leave the process: facts, as JSON for machines or ``key=value`` for people, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def to_json(level: int = logging.INFO) -> None:
    """One JSON object a line, as log collectors want it."""
    _configure(structlog.processors.JSONRenderer(), level)


def to_people(level: int = logging.INFO) -> None:
    """One readable line for each fact."""
    _configure(structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]), level)


def to_logger(logger: Any, level: int = logging.INFO) -> None:
    """Through *logger*, a :mod:`logging` logger: the event is its message, the facts are its ``extra``."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=False,
    )


def _configure(renderer: Any, level: int) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
