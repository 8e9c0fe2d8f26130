"""What the review page shows and decides about: frames of a data set, or labels that came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cloud.labeling.labels import Box

if TYPE_CHECKING:
    from cloud.dataset.findings import Findings

Word = Literal["keep", "drop"]


LONGEST_NAME = 80  # characters, of a reviewer


def is_name(text: object) -> bool:
    """Whether a reviewer can be called *text*: one line, and not a long one. Pure."""
    return isinstance(text, str) and 0 < len(text) <= LONGEST_NAME and text.isprintable()


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's word on an item, and the person."""

    word: Word
    by: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A picture on the page. ``id`` is unique in the catalogue and safe in a URL; ``group`` is its video.

    ``verdict`` and ``reasons`` are the machine's, ``decision`` is a person's and wins. ``scores`` feed the sliders: the
    higher, the worse. ``time`` is seconds into the video, ``at`` the UTC moment (ISO 8601) where it is known.
    """

    id: str
    group: str
    name: str
    tag: str
    verdict: Literal["kept", "rejected", "flagged"]
    reasons: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    time: float | None = None
    at: str | None = None
    camera: str = ""
    decision: Decided | None = None
    boxes: tuple[Box, ...] = ()
    width: int | None = None
    height: int | None = None


class Catalogue(Protocol):
    """A source of items. Methods may be called from several threads. They raise EdgeCaptureError and nothing else."""

    @property
    def title(self) -> str:
        """What is under review, for a person."""

    def groups(self) -> Iterator[Sequence[Item]]:
        """All items, a group at a time in a stable order, read as they are asked for. Asked for once.

        What cannot be read is a finding, and is passed over.
        """

    def findings(self) -> Findings:
        """What was found wrong so far; the caller's own copy."""

    def picture(self, item: str) -> tuple[bytes, str]:
        """The bytes and media type of the picture of the item with that id. Raises ObjectNotFound."""

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        """Store *changes* by id (None takes a decision back) durably; the decisions that now stand in those groups.

        What others decided meanwhile is kept. An error says that not all of *changes* were stored.
        """

    def news(self) -> Mapping[str, Decided | None]:
        """What others decided (None: took back) since the last call, as far as it changed. Asked every few seconds."""
