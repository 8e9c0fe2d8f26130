"""The review as one HTML file that needs no server, no script and nothing from outside: counts, money, pictures.

The file is bounded: at most :data:`PICTURES` frames are shown, spread evenly over all, and the file says so.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path

from cloud.dataset.findings import Findings
from cloud.judge.savings import Savings, savings
from cloud.review.catalogue import Catalogue, Item
from cloud.review.spread import Spread
from cloud.review.web.thumbs import shrunk
from edge_agent.errors import ConfigInvalid, EdgeCaptureError

PICTURES = 600
"""At some 7 KB each, the file stays under 6 MB: it goes through mail."""

_WIDTH, _HEIGHT = 240, 180  # pixels, of a picture in the report
_VIDEOS = 200  # rows of the table of videos
_BARS = 40


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: ``items`` counted, ``pictures`` of them shown."""

    items: int
    pictures: int
    findings: Findings


@dataclass(slots=True)
class _Count:
    items: int = 0
    labels: int = 0


@dataclass(slots=True)
class _Sums:
    """Everything the report says in figures; grows with classes, videos and reasons, not with frames."""

    whole: _Count = field(default_factory=_Count)
    tags: dict[str, _Count] = field(default_factory=dict)
    videos: dict[str, _Count] = field(default_factory=dict)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    scores: dict[str, list[int]] = field(default_factory=dict)
    parts: list[Savings] = field(default_factory=list)

    def add(self, group: Sequence[Item], price: float) -> None:
        judged = (item for item in group if item.reasons or item.verdict != "rejected")
        self.parts.append(savings(judged, price))
        for item in group:
            counts = (self.whole, self.tags.setdefault(item.tag, _Count()))
            for count in (*counts, self.videos.setdefault(item.group, _Count())):
                count.items += 1
                count.labels += is_wanted(item)
            self.verdicts[item.verdict] += 1
            self.reasons.update((reason, item.verdict) for reason in item.reasons)
            if item.decision is not None:
                self.decided[item.decision.word] += 1
            for name, score in item.scores.items():
                if 0 <= score <= 1:
                    bars = self.scores.setdefault(name, [0] * _BARS)
                    bars[min(_BARS - 1, int(score * _BARS))] += 1


def is_wanted(item: Item) -> bool:
    """Whether *item* is to be labelled: a person's word wins over the machine's. Pure."""
    return item.decision.word == "keep" if item.decision else item.verdict != "rejected"


def write(catalogue: Catalogue, path: Path, price: float, now: datetime) -> Report:
    """Write the report on all of *catalogue* to *path*; a label costs *price*, USD. Raises ConfigInvalid."""
    sums, spread = _Sums(), Spread[Item](PICTURES)
    for group in catalogue.groups():
        sums.add(group, price)
        for item in group:
            if spread.takes_next():
                spread.kept.append(item)
    tiles = [_tile(catalogue, item) for item in spread.kept]
    page = _page(catalogue.title, sums, spread, tiles, catalogue.findings(), price, now)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"cannot be written: {error.strerror}", where=str(path)) from error
    return Report(sums.whole.items, len(tiles), catalogue.findings())


def _tile(catalogue: Catalogue, item: Item) -> str:
    try:
        jpeg = shrunk(catalogue.picture(item.id)[0], _WIDTH, _HEIGHT)
        picture = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
    except EdgeCaptureError:
        picture = "<p>picture missing</p>"
    kind = "" if is_wanted(item) else " no"
    kind += " doubt" if item.verdict == "flagged" and item.decision is None else ""
    words = [f"{reason.replace('_', ' ')} {item.scores.get(reason, '')}".strip() for reason in item.reasons]
    why = f"<b>{escape(', '.join(words))}</b>" if words else ""
    if item.decision is not None:
        who = escape(item.decision.by or "somebody")
        why += f'<b class="said {item.decision.word}">{item.decision.word}, said {who}</b>'
    return f'<figure class="{kind.strip()}">{picture}<figcaption>{escape(item.name)}{why}</figcaption></figure>'


def _page(
    title: str, sums: _Sums, spread: Spread[Item], tiles: Sequence[str], findings: Findings, price: float, now: datetime
) -> str:
    whole, shown = sums.whole, len(tiles)
    limit = "" if shown == whole.items else f" One frame in {spread.every} is shown: {shown:,} of {whole.items:,}."
    facts = [
        (f"{whole.items:,}", "frames"),
        (f"{whole.labels:,}", "to label"),
        (f"${whole.labels * price:,.2f}", f"at ${price:g} a label"),
        (f"${(whole.items - whole.labels) * price:,.2f}", "saved"),
        (f"{sums.decided.total():,}", "decided by hand"),
    ]
    cards = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in facts)
    style = resources.files(__package__).joinpath("static", "report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{escape(title)} – review</title>
<style>{style}</style></head><body>
<h1>{escape(title)}</h1><p class="soft">{len(sums.videos):,} videos, looked at {now:%Y-%m-%d %H:%M} UTC.</p>
<dl class="totals">{cards}</dl>
{_findings(findings)}
<div class="tables">{_savings(sums, price)}{_counts("By class", sums.tags, price)}</div>
<h2>Scores</h2><div class="scores">{"".join(_bars(name, bars) for name, bars in sums.scores.items())}</div>
{_videos(sums.videos, price)}
<h2>Frames</h2><p class="soft above">Green will be labelled, amber with a doubt, red will not.{limit}</p>
<div class="frames">{"".join(tiles)}</div>
</body></html>
"""


def _findings(findings: Findings) -> str:
    if not findings.total:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in findings.lines())
    return f'<section class="bad"><h2>{findings.total:,} found wrong</h2><ul>{lines}</ul></section>'


def _savings(sums: _Sums, price: float) -> str:
    names = dict.fromkeys(reason for reason, _ in sums.reasons)
    saved = Counter[str]()
    for part in sums.parts:
        saved.update({one.judge: one.labels for one in part.saved})
    rows = [
        (name.replace("_", " "), sums.reasons[name, "rejected"], sums.reasons[name, "flagged"], saved[name])
        for name in names
    ]
    cells = [[name, f"{no:,}", f"{doubt:,}", f"{less:,}", f"${less * price:,.2f}"] for name, no, doubt, less in rows]
    return _table("What the judges say", ["reason", "rejected", "flagged", "labels saved", "money saved"], cells)


def _counts(title: str, counts: dict[str, _Count], price: float) -> str:
    rows = [
        [name.replace("_", " ") or "none", f"{one.items:,}", f"{one.labels:,}", f"${one.labels * price:,.2f}"]
        for name, one in sorted(counts.items())
    ]
    return _table(title, ["class", "frames", "to label", "for"], rows)


def _videos(videos: dict[str, _Count], price: float) -> str:
    rows = [
        [name, f"{one.items:,}", f"{one.labels:,}", f"${one.labels * price:,.2f}"]
        for name, one in list(videos.items())[:_VIDEOS]
    ]
    more = f", the first {_VIDEOS}" if len(videos) > _VIDEOS else ""
    table = _table("", ["video", "frames", "to label", "for"], rows)
    return f"<details><summary>{len(videos):,} videos{more}</summary>{table}</details>"


def _table(title: str, names: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    above = f"<h2>{escape(title)}</h2>" if title else ""
    return f"<section>{above}<table><tr>{head}</tr>{body}</table></section>"


def _bars(name: str, bars: Sequence[int]) -> str:
    """A histogram over 0 to 1; the heights are square roots, so that few are seen too."""
    most = max(bars) ** 0.5 or 1
    tall = [0 if not count else max(1.5, count**0.5 / most * 40) for count in bars]
    rects = "".join(
        f'<rect x="{place * 5}" y="{40 - height:.1f}" width="4" height="{height:.1f}"/>'
        for place, height in enumerate(tall)
        if height
    )
    title = escape(name.replace("_", " "))
    svg = f'<svg viewBox="0 0 {5 * _BARS} 40" preserveAspectRatio="none" aria-hidden="true">{rects}</svg>'
    return f"<figure><figcaption>{title}</figcaption>{svg}</figure>"
