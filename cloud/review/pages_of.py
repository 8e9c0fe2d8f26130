"""Contact sheets of all pictures of a manifest, page by page: memory is that of one page, however long the manifest."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.pictures import AHEAD, THREADS, Pictures
from cloud.decode.jpeg import encode_jpeg
from cloud.labeling.output import Record
from cloud.pipelining import pipelined
from cloud.review.drawing import CARD, GAP, MARGIN, PAPER, QUALITY, TITLE, filled, title_strip
from cloud.review.tiles import CAPTION, Card, card_of
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from cloud.decode.sample import Picture

_MAX_SIDE = 65_500  # pixels, of a JPEG
_FIXES = {
    "missing_picture": "put it there, or say where it is: --images DIR",
    "broken_picture": "make it anew",
    "wrong_size": "the boxes are of another picture: put that one there",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How pages are laid out. A tile of 240 pixels is an eighth of full HD, which decodes fastest."""

    tile_width: int = 240
    columns: int = 8
    per_page: int = 200

    def __post_init__(self) -> None:
        rows = -(-self.per_page // self.columns)
        down, across = rows * (self.tile_width + CAPTION + GAP), self.columns * (self.tile_width + GAP)
        if max(down, across) + TITLE + 2 * MARGIN > _MAX_SIDE:
            fix = "give fewer pictures a page, or smaller tiles"
            raise ConfigInvalid(f"a page would be larger than {_MAX_SIDE:,} pixels", fix=fix)


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its number from 1, the lines it shows, and the sheet as a JPEG."""

    number: int
    first: int
    last: int
    pictures: int
    jpeg: bytes


@dataclass(slots=True)
class _Sheet:
    """The page at work: whole rows, and the cards of the row at work."""

    look: Look
    rows: list[Picture] = field(default_factory=list)
    cards: list[Picture] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    boxes: int = 0
    bad: int = 0

    def add(self, record: Record, card: Card) -> None:
        self.cards.append(card.pixels)
        self.lines.append(record.line.number)
        self.boxes += len(record.example.boxes or ())
        self.bad += card.code in ("missing_picture", "broken_picture")
        if len(self.cards) == self.look.columns:
            self.end_row()

    def end_row(self) -> None:
        if not self.cards:
            return
        width = self.look.tile_width
        height = max(card.shape[0] for card in self.cards)
        columns = self.look.columns if self.rows else len(self.cards)
        row = filled(height + GAP, columns * (width + GAP) - GAP, PAPER)
        for place, card in enumerate(self.cards):
            left = place * (width + GAP)
            row[:height, left : left + width] = CARD
            top = height - card.shape[0]  # captions of a row stand on one line
            row[top:height, left : left + width] = card
        self.rows.append(row)
        self.cards.clear()

    def render(self, title: str, number: int) -> Page:
        self.end_row()
        facts = [f"page {number}", f"lines {self.lines[0]} to {self.lines[-1]}", f"{len(self.lines)} shown"]
        facts += [f"{self.boxes} boxes"] if self.boxes else []
        facts += [f"{self.bad} missing or broken"] if self.bad else []
        head = title_strip(title, "  |  ".join(facts))
        across = max(head.shape[1], self.rows[0].shape[1])
        down = TITLE + sum(row.shape[0] for row in self.rows) - GAP
        sheet = filled(down + 2 * MARGIN, across + 2 * MARGIN, PAPER)
        sheet[MARGIN : MARGIN + head.shape[0], MARGIN : MARGIN + head.shape[1]] = head
        top = MARGIN + TITLE
        for row in self.rows:
            sheet[top : top + row.shape[0] - GAP, MARGIN : MARGIN + row.shape[1]] = row[:-GAP]
            top += row.shape[0]
        return Page(number, self.lines[0], self.lines[-1], len(self.lines), encode_jpeg(sheet, QUALITY))


def pages(
    records: Iterable[Record], pictures: Pictures, title: str, findings: Findings, look: Look | None = None
) -> Generator[Page, None, None]:
    """All pages, in order. Pictures are read and decoded several at once.

    Findings: ``missing_picture`` and ``broken_picture``, each also a card that says so, and ``wrong_size``.
    Raises what keeps the whole store from being read.
    """
    look = look or Look()
    number, sheet = 1, _Sheet(look)
    width = look.tile_width
    cards = pipelined(records, lambda record: card_of(record, pictures, width), workers=THREADS, ahead=AHEAD)
    for record, card in cards:
        if card.code:
            fix = card.fix or _FIXES[card.code]
            findings.add(Finding(card.code, record.line.where, record.line.number, card.what, fix))
        sheet.add(record, card)
        if len(sheet.lines) == look.per_page:
            yield sheet.render(title, number)
            number, sheet = number + 1, _Sheet(look)
    if sheet.lines:
        yield sheet.render(title, number)
