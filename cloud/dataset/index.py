"""The per-video record ``index/<stem>.json``: what was made of a video, from which version, under which settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class VideoFacts(_Record):
    """The very object that was processed."""

    uri: str
    key: str
    etag: str
    version: str | None
    size: int


class SegmentFacts(_Record):
    """Class and origin; ``device``, ``camera``, ``start`` and ``clock`` only where a name or metadata tell."""

    name: str
    class_: dict[str, str] = Field(alias="class")
    take: str
    device: str | None = None
    camera: str | None = None
    start: str | None = None
    clock: str | None = None
    recovered: bool | None = None


class ProbeFacts(_Record):
    codec: str
    width: int
    height: int
    fps: float | None
    duration: float | None


class DecodeFacts(_Record):
    """How the pass went: frames decoded, packets that failed, frames that could not be had."""

    frames: int
    packets: int
    packet_errors: int
    lost: int
    truncated: bool


class FrameFacts(_Record):
    """A sampled frame: ordinal, seconds after the first frame, UTC moment where the start is known."""

    index: int
    time: float
    at: str | None
    key: str
    verdict: Literal["kept"]


class VideoIndex(_Record):
    """The whole record. The same video version and settings give the same bytes."""

    format: Literal[1] = 1
    settings: str
    video: VideoFacts
    segment: SegmentFacts
    probe: ProbeFacts
    decode: DecodeFacts
    preview: str
    manifest: str
    frames: tuple[FrameFacts, ...]

    def to_json(self) -> bytes:
        return (self.model_dump_json(indent=1, by_alias=True) + "\n").encode()

    @classmethod
    def from_json(cls, document: bytes) -> VideoIndex | None:
        """The record *document* holds; None when it is damaged or of another format: then it is made anew."""
        try:
            return cls.model_validate_json(document)
        except ValidationError:
            return None

    @property
    def kept(self) -> tuple[FrameFacts, ...]:
        """The frames that belong into the manifest."""
        return tuple(frame for frame in self.frames if frame.verdict == "kept")
