"""Statistics of a manifest as a picture: a panel for each kind of count that says something. Needs matplotlib."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.dataset.stats import GRID, NOT_KNOWN, SIZES, Stats
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
_COLORS = ("#2f6f9f", "#e0913a", "#5a9c5a", "#b4564f", "#7d6aa8", "#8a7256", "#c77fb0", "#6f7f88")
_SIDES = {"train": "#4f9a63", "validation": "#e0913a", "test": "#7d6aa8"}  # none is the blue of bars without sides
_OTHER_SIDES, _NO_SIDE = ("#b4564f", "#8a7256", "#c77fb0"), "#b9c0c6"
_INK, _FAINT, _LINES = "#22262b", "#6b737c", "#e3e6ea"
_BARS = 10  # of one panel: what comes after is summed up
_STYLE: Any = {
    "text.parse_math": False,  # a class called '$x' is no formula
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _FAINT,
    "axes.edgecolor": _LINES,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": _FAINT,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": _LINES,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "edge-capture",  # the same counts give the same file
}

Panel = Callable[["Axes"], None]


def check_target(path: Path) -> Path:
    """*path*, if a plot can be written there. Raises ConfigInvalid."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigInvalid("is no .png or .svg", where=str(path), fix="name it --plot FILE.png or FILE.svg")
    return path


def draw(stats: Stats, title: str, path: Path) -> None:
    """Write all panels of *stats* to *path*, as its suffix says. Raises ConfigInvalid."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigInvalid("plots need matplotlib", fix="pip install 'edge-capture[curate]'") from error
    panels = panels_of(stats)
    columns = 2 if len(panels) < 5 else 3
    rows = max(1, -(-len(panels) // columns))
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure = Figure(figsize=(5.2 * columns, 0.7 + 3.3 * rows), dpi=130, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15, wspace=0.04, hspace=0.06)  # type: ignore[union-attr, call-arg]
        figure.suptitle(
            f"{shown(title, 90)}   {stats.lines:,} lines", x=0.012, ha="left", fontsize=14, fontweight="bold"
        )
        for number, panel in enumerate(panels, 1):
            panel(figure.add_subplot(rows, columns, number))
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        try:
            figure.savefig(path, facecolor="white", metadata=metadata)
        except OSError as error:
            raise ConfigInvalid(f"cannot be written: {error.strerror}", where=str(path)) from error


def panels_of(stats: Stats) -> list[Panel]:
    """What there is to draw."""
    found: list[Panel] = []
    counts = stats.counts
    for name in ("class", "device", "camera"):
        if name in counts:
            sides = sides_of(counts[name], stats.class_splits if name == "class" else {})
            found.append(_bars(f"Lines by {name}", counts[name], sides))
    if "day" in counts and len(set(counts["day"]) - {NOT_KNOWN}) > 1:
        found.append(_days(counts["day"]))
    if "video" in counts:
        few = len(counts["video"]) <= _BARS
        sides = sides_of(counts["video"], stats.video_splits)
        found.append(_bars("Lines by video", counts["video"], sides) if few else _videos(len(counts["video"]), sides))
    if stats.labels:
        found.append(_bars("Labels", stats.labels, sides_of(stats.labels, {})))
    if stats.boxes:
        ranked = Counter({name: one.count for name, one in stats.boxes.items()})
        found.append(_bars("Boxes by label", ranked, sides_of(ranked, {})))
        found += [_per_picture(stats), _sizes(stats), _centres(stats)]
    return found


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a split has of each value; without a name where there is no split."""

    name: str
    color: str
    counts: Counter[str]


def sides_of(counts: Counter[str], parts: Mapping[tuple[str, str], int]) -> list[Side]:
    """*counts* by side, as *parts* of (value, side) say, and what they do not say as one more. Pure."""
    if not parts:
        return [Side("", _COLORS[0], counts)]
    found: dict[str, Counter[str]] = {}
    left = counts.copy()
    for (value, name), number in parts.items():
        found.setdefault(name, Counter())[value] += number
        left[value] -= number
    others = iter(_OTHER_SIDES)
    sides = [Side(name, _SIDES.get(name) or next(others, _NO_SIDE), found[name]) for name in sorted(found, key=_order)]
    return [*sides, Side(NOT_KNOWN, _NO_SIDE, +left)] if +left else sides


def _bars(title: str, counts: Counter[str], sides: Sequence[Side]) -> Panel:
    """Horizontal bars, the largest on top, in parts by side."""

    def panel(axes: Axes) -> None:
        ranked = counts.most_common()[:_BARS]
        if (rest := counts.total() - sum(number for _, number in ranked)) > 0:
            ranked.append((f"{len(counts) - _BARS:,} more", rest))
        names, numbers = [name for name, _ in ranked], [number for _, number in ranked]
        places = range(len(names))
        starts = [0] * len(names)
        for side in sides:
            widths = [side.counts[name] for name, _ in ranked]
            if rest > 0:
                widths[-1] = side.counts.total() - sum(widths)
            axes.barh(places, widths, left=starts, color=side.color, height=0.68, label=shown(side.name, 20))
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        if sides[0].name:
            axes.legend(loc="lower right", fontsize=8)
        for place, number in zip(places, numbers, strict=True):
            axes.annotate(f" {number:,}", (number, place), va="center", fontsize=8, color=_FAINT)
        axes.set_yticks(list(places), [shown(name, 28) for name in names])
        axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
        axes.set_xlim(0, max(numbers) * 1.14)
        axes.set_xticks([])
        axes.spines[["bottom"]].set_visible(False)
        axes.set_title(title)

    return panel


def _days(counts: Counter[str]) -> Panel:
    def panel(axes: Axes) -> None:
        days = sorted(day for day in counts if day != NOT_KNOWN)
        axes.bar(range(len(days)), [counts[day] for day in days], color=_COLORS[0], width=0.8)
        step = max(1, -(-len(days) // 6))
        axes.set_xticks(range(0, len(days), step), days[::step], fontsize=8)
        _upright(axes, f"Lines by day ({len(days)} with any)", "")

    return panel


def _videos(videos: int, sides: Sequence[Side]) -> Panel:
    def panel(axes: Axes) -> None:
        start = 0
        for side in sides:
            numbers = sorted(side.counts.values(), reverse=True)
            end = start + len(numbers)
            edges, heights = range(start, end + 1), [*numbers, numbers[-1]]
            axes.fill_between(edges, heights, step="post", color=side.color, linewidth=0, label=shown(side.name, 20))
            start = end
        axes.set_xlim(0, start)
        axes.locator_params(axis="x", integer=True, nbins=6)
        _upright(axes, f"Lines of each of {videos:,} videos", "videos, the largest first")
        if sides[0].name:
            axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # the legend stands above the bars
            axes.legend(loc="upper right", ncols=len(sides), columnspacing=1, fontsize=8)

    return panel


def _per_picture(stats: Stats) -> Panel:
    def panel(axes: Axes) -> None:
        most = max(stats.per_picture)
        numbers = range(most + 1)
        axes.bar(numbers, [stats.per_picture[number] for number in numbers], color=_COLORS[0], width=0.8)
        axes.set_xlim(-0.6, max(most, 4) + 0.6)
        axes.locator_params(axis="x", integer=True, nbins=8)
        _upright(axes, "Boxes in a picture", f"boxes; {stats.per_picture[0]:,} pictures have none")

    return panel


def _sizes(stats: Stats) -> Panel:
    def panel(axes: Axes) -> None:
        ranked = sorted(stats.boxes.items(), key=lambda item: -item[1].count)[: len(_COLORS)]
        edges = [step / SIZES * 100 for step in range(SIZES + 1)]
        for (name, one), color in zip(ranked, _COLORS, strict=False):
            axes.stairs(one.side, edges, color=color, fill=len(ranked) == 1, linewidth=1.6, label=shown(name, 20))
        if len(ranked) > 1:
            axes.legend(fontsize=8)
        axes.set_xlim(0, 100)
        _upright(axes, "Size of boxes", "square root of the share of the picture's area, %")

    return panel


def _centres(stats: Stats) -> Panel:
    def panel(axes: Axes) -> None:
        image = axes.imshow(
            stats.centres, cmap="Blues", extent=(0, 100, 100, 0), aspect=9 / 16, interpolation="nearest"
        )
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.outline.set_visible(False)
        axes.set_xticks([0, 50, 100], ["left", "", "right"])
        axes.set_yticks([0, 50, 100], ["top", "", "bottom"])
        axes.set_title(f"Where the middles of boxes lie ({GRID} x {GRID})")

    return panel


def _upright(axes: Axes, title: str, below: str) -> None:
    axes.grid(axis="y")
    axes.spines[["left"]].set_visible(False)
    axes.locator_params(axis="y", integer=True, nbins=5)
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_xlabel(below)


def _order(side: str) -> tuple[int, str]:
    known = list(_SIDES)
    return (known.index(side) if side in known else len(known)), side


def shown(text: str, most: int) -> str:
    """*text* with nothing unprintable, cut in its middle to *most* characters."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text)
    return safe if len(safe) <= most else f"{safe[: most // 2 - 1]}…{safe[-(most - most // 2) :]}"
