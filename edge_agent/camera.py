"""What can be set of one camera: checked by the configuration, handed as it is to the capture process.

Plain dataclasses, so that a capture process need not import the configuration library to read its orders. The bounds in
the annotations are checked by pydantic when a settings file is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

_FORBID_EXTRA = {"extra": "forbid"}

Fraction01 = Annotated[float, Ge(0), Le(1)]
Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures are encoded where the camera sends none that can be stored as they are.

    ``fps``: None for the camera's own. ``gop``: frames from keyframe to keyframe, a second's worth when None; set it to
    the cloud's ``sampling.every``, and extraction decodes keyframes only. ``quality``: x264's CRF, 0 best, 51 worst.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_EXTRA

    fps: Annotated[float, Gt(0), Le(240)] | None = None
    gop: Annotated[int, Ge(1), Le(600)] | None = None
    quality: Annotated[int, Ge(0), Le(51)] = 23
    codec: Literal["x264", "v4l2m2m"] = "x264"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What of the camera's view is recorded.

    ``schedule``: weekly windows such as ``mon-fri 08:00-18:00``; none: always. The other values are for ``motion``:
    ``sensitivity`` 0 (only large changes) to 1; seconds recorded at least, after the last motion, and before the first
    (held encoded in memory, at most ``pre_roll_bytes``); ``ignore``: rectangles ``[x, y, width, height]`` as fractions
    of the picture.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_EXTRA

    mode: Literal["continuous", "motion", "on_demand"] = "continuous"
    schedule: tuple[str, ...] = ()
    sensitivity: Fraction01 = 0.5
    minimum_seconds: Annotated[float, Ge(0), Le(3600)] = 5.0
    cool_down_seconds: Annotated[float, Ge(0), Le(3600)] = 5.0
    pre_roll_seconds: Annotated[float, Ge(0), Le(60)] = 3.0
    pre_roll_bytes: Annotated[int, Ge(0), Le(1 << 30)] = 16 << 20
    ignore: tuple[tuple[Fraction01, Fraction01, Fraction01, Fraction01], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """When a picture counts as bad. One keyframe every ``check_seconds`` is looked at; 0 turns the checks off."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_EXTRA

    check_seconds: Annotated[float, Ge(0), Le(3600)] = 5.0
    frozen_seconds: Annotated[float, Gt(0), Le(86400)] = 60.0
