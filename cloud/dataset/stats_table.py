"""Statistics of a manifest as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cloud.dataset.stats import NOT_KNOWN, Stats, median
from cloud.words import counted

_ROWS = 12  # of one kind: what comes after is summed up
_BAR = 30  # characters of the longest bar
_WIDEST = 48


def lines(stats: Stats) -> Iterator[str]:
    """Each kind of count as a table with bars, the largest first; days in their order."""
    for name, counts in stats.counts.items():
        yield from _table(name, counts, stats.lines, by_name=name == "day")
    if stats.labels:
        yield from _table("label", stats.labels, stats.lines)
    if stats.boxes:
        boxes = Counter({name: one.count for name, one in stats.boxes.items()})
        yield from _table("boxes of", boxes, boxes.total())
        for name, one in sorted(stats.boxes.items())[:_ROWS]:
            if (side := median(one.side)) is not None:
                across, down = median(one.width) or 0, median(one.height) or 0
                yield f"  {_shown(name)}: half are under {side:.0%} of the picture's side ({across:.0%} x {down:.0%})"
        empty = stats.per_picture[0]
        most = max(stats.per_picture)
        yield f"  {empty} of {stats.per_picture.total()} labelled pictures have no box, the fullest has {most}"
    if set(stats.states) - {"unlabelled"}:
        yield ""
        whole = counted(stats.lines, "line")
        yield ", ".join(f"{number:,} of {whole} {state}" for state, number in stats.states.most_common())


def _table(name: str, counts: Counter[str], whole: int, *, by_name: bool = False) -> Iterator[str]:
    ranked = sorted(counts.items()) if by_name else sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ranked.sort(key=lambda item: item[0] == NOT_KNOWN)
    rows = [(_shown(value), number) for value, number in ranked[:_ROWS]]
    longest, rest = max(number for _, number in rows), sum(number for _, number in ranked[_ROWS:])
    if rest:
        rows.append((f"… {len(ranked) - _ROWS:,} more", rest))
    wide, digits = max(len(value) for value, _ in rows), len(f"{max(longest, rest):,}")
    yield ""
    yield f"{name} ({len(counts):,})"
    for value, number in rows:
        bar = "█" * max(1, round(_BAR * number / longest)) if number <= longest else ""
        yield f"  {value:<{wide}}  {number:>{digits},}  {number / whole:>4.0%}  {bar}".rstrip()


def _shown(text: str) -> str:
    """*text* as it may stand in a terminal: nothing unprintable, not too long."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text)
    return safe if len(safe) <= _WIDEST else f"{safe[: _WIDEST - 1]}…"
