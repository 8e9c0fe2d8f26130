"""What each judge is asked to do: off, flag or reject, and from which score on.

The thresholds were chosen on the project's real footage so that no good frame of it is rejected: see docs/judges.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _off_is_no_boolean(value: object) -> object:
    return "off" if value is False else value  # YAML 1.1 reads a bare off as false


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Action = Annotated[Literal["off", "flag", "reject"], BeforeValidator(_off_is_no_boolean)]
Share = Annotated[float, BeforeValidator(_no_boolean), Field(gt=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class Rule(_Model):
    """A frame whose score, 0 to 1, is ``threshold`` or more is flagged, or rejected; ``off``: nobody looks."""

    action: Action = "flag"
    threshold: Share


class Blank(Rule):
    """1 less the spread of the picture: brightest less darkest tile, of 255. Rejected: a covered lens, no signal."""

    action: Action = "reject"
    threshold: Share = 0.98


class UnderExposed(Rule):
    """The share of the picture that is nearly black."""

    threshold: Share = 0.95


class OverExposed(Rule):
    """The share of the picture that is nearly white."""

    threshold: Share = 0.9


class Blur(Rule):
    """How much less sharp than this video's sharp frames: 0 as sharp, 1 without any detail."""

    threshold: Share = 0.5


class Background(Rule):
    """Likeness to this video's own background: 1 the same, 0 a tile differs by a quarter of the range or more."""

    threshold: Share = 0.85


class Duplicate(Rule):
    """Likeness to the last frame that was not rejected: 1 the same, 0 clearly another."""

    action: Action = "reject"
    threshold: Share = 0.93


class Faces(_Model):
    """The number of faces found. ``model`` is a YuNet ONNX file; without it, OpenCV's cascade looks.

    ``redact``: faces found are made unrecognisable before a frame is stored.
    """

    action: Action = "flag"
    threshold: Annotated[int, BeforeValidator(_no_boolean)] = Field(default=1, ge=1)
    model: str | None = Field(default=None, min_length=1)
    redact: bool = False

    @model_validator(mode="after")
    def _somebody_looks(self) -> Faces:
        if self.action == "off" and (self.redact or self.model is not None):
            raise ValueError("'model' and 'redact' need an 'action' other than off")
        return self


class JudgeRules(_Model):
    """One rule a judge, in the order in which reasons are given."""

    blank: Blank = Field(default_factory=Blank)
    under_exposed: UnderExposed = Field(default_factory=UnderExposed)
    over_exposed: OverExposed = Field(default_factory=OverExposed)
    blur: Blur = Field(default_factory=Blur)
    background: Background = Field(default_factory=Background)
    duplicate: Duplicate = Field(default_factory=Duplicate)
    faces: Faces = Field(default_factory=Faces)
