"""The per-video record ``index/<stem>.json``: what was made of a video, from which version, under which settings.

Two shapes stand at that key. A :class:`Claim` says that frames are being made; the :class:`VideoIndex` that replaces it
says that they are all there. Both are pure functions of (video version, settings).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

JSON = "application/json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def to_json(self) -> bytes:
        return (self.model_dump_json(indent=1, by_alias=True) + "\n").encode()


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
    """How the pass went, as :class:`cloud.decode.decoder.Report` says, and in words why frames were ``lost``."""

    mode: str
    frames: int
    decoded: int
    packets: int
    packet_errors: int
    mended: int
    lost: int
    truncated: bool
    why: tuple[str, ...] = ()


class FrameFacts(_Record):
    """A sampled frame: ordinal, seconds after the first frame, UTC moment where the start is known.

    ``size`` (bytes) and ``checksum`` (``crc64nvme:<base64>``) are of the stored file. ``scores`` are by judge;
    ``reasons`` are the judges that speak against the frame. A rejected frame is stored like the others. ``look`` is
    what it looks like (:mod:`cloud.judge.looks`); None where every judge was off, and in records of before looks.
    """

    index: int
    time: float
    at: str | None
    key: str
    size: int
    checksum: str
    verdict: Literal["kept", "rejected", "flagged"]
    reasons: tuple[str, ...] = ()
    scores: dict[str, float] = Field(default_factory=dict)
    look: str | None = None


class Claim(_Record):
    """Frames are being made of ``video`` under ``settings``, or were when a worker died."""

    format: Literal[2] = 2
    state: Literal["begun"] = "begun"
    settings: str
    video: VideoFacts


class VideoIndex(_Record):
    """The whole record. The same video version and settings give the same bytes.

    ``preview`` is the contact sheet's key; ``preview_size`` and ``preview_checksum`` are as those of a frame.
    """

    format: Literal[2] = 2
    state: Literal["done"] = "done"
    settings: str
    video: VideoFacts
    segment: SegmentFacts
    probe: ProbeFacts
    decode: DecodeFacts
    preview: str
    preview_size: int
    preview_checksum: str
    manifest: str
    frames: tuple[FrameFacts, ...]

    @classmethod
    def from_json(cls, document: bytes) -> VideoIndex | None:
        """The record *document* holds; None when it is a claim, damaged or of another format: then it is made anew."""
        try:
            return cls.model_validate_json(document)
        except ValidationError:
            return None

    @property
    def kept(self) -> tuple[FrameFacts, ...]:
        """The frames that belong into the manifest: kept or flagged."""
        return tuple(frame for frame in self.frames if frame.verdict != "rejected")

    @property
    def claim(self) -> Claim:
        """What stood in this record's place while it was made."""
        return Claim(settings=self.settings, video=self.video)


class Origins(_Record):
    """What every format of the record has: which video it is about."""

    video: VideoFacts

    @classmethod
    def video_in(cls, document: bytes) -> VideoFacts | None:
        """The video *document* is about; None when it is damaged."""
        try:
            return cls.model_validate_json(document).video
        except ValidationError:
            return None
