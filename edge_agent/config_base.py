"""What every part of the settings is made of: strict models, our checks as theirs, spans of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from edge_agent.errors import EdgeCaptureError
from edge_agent.redact import safe
from edge_agent.span import parse_span

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)  # a Greengrass configuration delivers numbers as strings


def checked(check: Callable[[Any], object]) -> AfterValidator:
    """A validator that changes nothing; our errors become pydantic's, so that they are reported with their path."""

    def validate(value: Any) -> Any:
        try:
            check(value)
        except EdgeCaptureError as error:
            raise ValueError(safe(str(error))) from error
        return value

    return AfterValidator(validate)


class StrictSettings(BaseModel):
    """A part of the settings: what it does not know is refused, as are infinite numbers; nothing changes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _seconds(value: object) -> object:
    try:
        return parse_span(value) if isinstance(value, str) and not _NUMBER.fullmatch(value) else value
    except EdgeCaptureError as error:
        raise ValueError(str(error)) from error


Span = Annotated[float, BeforeValidator(_seconds)]
"""Seconds: ``90s``, ``10m``, ``1h30m``, ``2d``, or a number."""
