"""What the review page shows of one processed video: of its index, only what is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.dataset.findings import Finding
from cloud.dataset.index import Claim
from cloud.origin import place
from cloud.review.catalogue import Decided, Item

FSCK = "run edge-cloud fsck"


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the page shows of a :class:`~cloud.dataset.index.FrameFacts`."""

    index: int
    time: float
    at: str | None
    key: str
    verdict: Literal["kept", "rejected", "flagged"]
    reasons: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Version(_Facts):
    etag: str


class _Segment(_Facts):
    class_: dict[str, str] = Field(alias="class")
    device: str | None = None
    camera: str | None = None


class Index(_Facts):
    """What the page shows of a :class:`~cloud.dataset.index.VideoIndex`: read in half the time of the whole."""

    format: Literal[2] = 2
    state: Literal["done"] = "done"
    video: _Version
    segment: _Segment
    frames: tuple[_Frame, ...]

    def items(self, stem: str, decisions: Mapping[int, Decided]) -> list[Item]:
        """The frames of the video *stem*, with what was decided on them by ordinal."""
        tag = "_".join(self.segment.class_.values())
        camera = place(self.segment.device, self.segment.camera)
        return [_item(stem, tag, camera, frame, decisions.get(frame.index)) for frame in self.frames]


def _item(stem: str, tag: str, camera: str, frame: _Frame, decision: Decided | None) -> Item:
    name = f"{stem}_{frame.index:06d}"
    return Item(
        id=name,
        group=stem,
        name=name,
        tag=tag,
        verdict=frame.verdict,
        reasons=frame.reasons,
        scores=frame.scores,
        time=frame.time,
        at=frame.at,
        camera=camera,
        decision=decision,
    )


def unusable(where: str, body: bytes) -> Finding:
    """Why *body*, which stands at *where*, is no :class:`Index`."""
    try:
        Claim.model_validate_json(body)
    except ValidationError:
        return Finding("damaged_index", where, None, "holds no index of a video", FSCK, dropped=True)
    what, fix = "the video is still being processed, or was when a worker died", "wait, or run edge-cloud extract again"
    return Finding("unfinished_video", where, None, what, fix, dropped=True)
