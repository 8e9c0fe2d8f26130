"""What extraction costs: ours against an OpenCV loop, ffmpeg, PyAV, torchcodec and decord, in one run.

``python benchmarks/extract.py [--quick] [--seconds N] [--only PART]``. All decode the same clips and store the same
frames as JPEGs of the same quality; CPU and memory are of whole processes, as the kernel counted them. Contenders take
turns. Every figure is of this machine and this run; the ratios are what is to be compared. torchcodec and decord live
in an environment of their own: ``make bench-peers``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

from benchmarks.harness import Spread, against, machine, ratio, table
from benchmarks.support import extract_costs
from benchmarks.support.extract_clips import RATE, Clip, long_groups, motion_jpeg, real, short_groups
from benchmarks.support.extract_runs import (
    Contender,
    Found,
    contest,
    ffmpeg,
    ffmpeg_copy,
    loop,
    our_own,
    present,
)

EVERY_FRAME = "OpenCV loop, every frame"
FLOOR = "floor: libav and libjpeg-turbo alone, levels wrong"
PIPELINE, UNJUDGED = "ours, whole pipeline, all judges", "ours, whole pipeline, judges off"
FILES, DECODED = "ours, frames to files", "ours, decoder"
_MADE = ("frames", "KB", "PSNR")


def _made(found: Found) -> list[str]:
    made = found.made
    return [f"{made['frames']:.0f}", f"{made['bytes'] / 1000:.0f}", f"{made['psnr']:.1f} dB"]


def _after_imports(found: Found) -> Spread:
    """CPU seconds; of whole processes where they do not tell."""
    return found.spread(lambda used: float(used.told.get("cpu", used.cpu)))


def _rows(found: Mapping[str, Found], ours: str, targets: Mapping[str, str]) -> list[list[str]]:
    """A row for each contender: what it used, *ours* by it, what it made, and its target."""
    mine = found[ours]
    return [
        [
            name,
            one.cpu.show(),
            one.wall.show(),
            f"{one.peak:.0f}",
            ratio(mine.cpu, one.cpu).show(3),
            ratio(mine.wall, one.wall).show(3),
            *_made(one),
            targets.get(name, ""),
        ]
        for name, one in found.items()
    ]


def _best(found: Mapping[str, Found], ours: str) -> None:
    """Print *ours* by the best of the others, in CPU and in elapsed time."""
    peers = {
        name: one for name, one in found.items() if not name.startswith("ours") and name not in (EVERY_FRAME, FLOOR)
    }
    spreads = {
        "CPU": {name: one.cpu for name, one in found.items()},
        "elapsed": {name: one.wall for name, one in found.items()},
    }
    for what, spread in spreads.items():
        name = min(peers, key=lambda name: spread[name].median)
        by = ratio(spread[ours], spread[name])
        print(f"  {ours} by the best peer in {what}, {name}: {by.show(3)}; {against(round(by.median, 2), 1)}")


def sparse(root: Path, clips: Sequence[Clip], rounds: int) -> None:
    """One frame in thirty, judged and stored, against writing every frame and against the peers' own sampling."""
    for place, clip in enumerate(clips):
        contenders = [
            loop(EVERY_FRAME, "opencv", 1),
            loop("OpenCV grab, retrieve 1 in 30", "grab", RATE),
            ffmpeg("ffmpeg select, 1 in 30", RATE),
            loop("PyAV, all decoded, 1 in 30", "pyav", RATE),
            our_own(FILES, "frames", RATE),
            our_own(UNJUDGED, "pipeline", RATE, "off"),
            our_own(PIPELINE, "pipeline", RATE, "flag"),
        ]
        if place == 0:
            contenders[4:4] = [loop("PyAV, keyframes only", "keyframes", RATE), loop(FLOOR, "keyframe-planes", RATE)]
        found = contest(root, clip.path, contenders, rounds, store=True)
        by = ratio(found[PIPELINE].cpu, found[EVERY_FRAME].cpu)
        warm = ratio(_after_imports(found[PIPELINE]), _after_imports(found[EVERY_FRAME]))
        targets = {EVERY_FRAME: against(round(by.median, 4), 0.0667)} if place == 0 else {}
        head = ("who", "CPU s", "elapsed s", "peak MB", "ours' CPU by it", "elapsed", *_MADE, "CPU, 1/15")
        table(f"1 frame in 30 to JPEG: {clip.what}", head, _rows(found, PIPELINE, targets))
        of_a_loop = f"{warm.show(4)} = 1/{1 / warm.median:.1f} of the OpenCV loop that writes every frame"
        print(f"  {PIPELINE}, CPU after the imports: {of_a_loop} (whole processes: 1/{1 / by.median:.1f})")
        _best({name: one for name, one in found.items() if name not in (PIPELINE, UNJUDGED)}, FILES)


def decode(root: Path, clips: Sequence[Clip], rounds: int) -> None:
    """One frame in thirty to an array and no further."""
    for place, clip in enumerate(clips):
        contenders = [
            loop("OpenCV grab, retrieve", "grab", RATE),
            loop("PyAV, all decoded", "pyav", RATE),
            loop("torchcodec, exact", "torchcodec", RATE),
            loop("torchcodec, approximate", "torchcodec-approximate", RATE),
            loop("decord", "decord", RATE),
            our_own(DECODED, "decode", RATE),
        ]
        if place == 0:
            contenders.insert(2, loop("PyAV, keyframes only", "keyframes", RATE))
        found = contest(root, clip.path, present(contenders), rounds, store=False)
        rows = [_decode_row(name, one, found[DECODED]) for name, one in found.items()]
        head = ("who", "CPU s", "elapsed s", "peak MB", "ours' CPU by it", "elapsed", "memory", "frames", "targets")
        table(f"1 frame in 30 to an array, seconds after the imports: {clip.what}", head, rows)


def _decode_row(name: str, one: Found, mine: Found) -> list[str]:
    def told(found: Found, what: str) -> Spread:
        return found.spread(lambda used: float(used.told[what]))

    cpu, memory = ratio(told(mine, "cpu"), told(one, "cpu")), mine.peak / one.peak
    exact = name == "torchcodec, exact"  # the approximate one trusts the container's frame rate
    targets = f"CPU {against(round(cpu.median, 2), 1)}; memory {against(round(memory, 3), 0.333)}" if exact else ""
    return [
        name,
        told(one, "cpu").show(),
        told(one, "wall").show(),
        f"{one.peak:.0f}",
        cpu.show(3),
        ratio(told(mine, "wall"), told(one, "wall")).show(3),
        f"{memory:.2f}",
        f"{one.runs[0].told['frames']}",
        targets,
    ]


def every(root: Path, clips: Sequence[Clip], rounds: int) -> None:
    """Every frame to JPEG."""
    for clip in clips:
        contenders: list[Contender] = [
            loop(EVERY_FRAME, "opencv", 1),
            ffmpeg("ffmpeg", 1),
            loop("PyAV and imwrite", "pyav", 1),
            loop(FLOOR, "planes", 1),
            loop("torchcodec and imwrite", "torchcodec", 1),
            loop("decord and imwrite", "decord", 1),
            our_own(FILES, "frames", 1),
            our_own(UNJUDGED, "pipeline", 1, "off"),
            our_own(PIPELINE, "pipeline", 1, "flag"),
        ]
        found = contest(root, clip.path, present(contenders), rounds, store=True)
        base, rows = found[EVERY_FRAME], []
        for name, one in found.items():
            speed = Spread(tuple(one.made["frames"] / used.cpu for used in one.runs))
            more, faster = ratio(base.cpu, one.cpu), ratio(base.wall, one.wall)
            met = against(round(more.median, 2), 1.3, most=False) if name == FILES else ""
            figures = [speed.show(1), more.show(), one.wall.show(1), faster.show(), f"{one.peak:.0f}"]
            rows.append([name, *figures, *_made(one), met])
        head = ("who", "frames a CPU s", "by OpenCV", "elapsed s", "OpenCV by it", "peak MB", *_MADE, "a CPU s")
        table(f"Every frame to JPEG: {clip.what}", head, rows)
        _best(found, FILES)


def copy(root: Path, clip: Clip, rounds: int) -> None:
    """Motion JPEG: the packet is the picture."""
    contenders = [
        loop(EVERY_FRAME, "opencv", 1),
        ffmpeg_copy(),
        our_own(FILES, "frames", 1),
        our_own(UNJUDGED, "pipeline", 1, "off"),
        our_own(PIPELINE, "pipeline", 1, "flag"),
    ]
    found = contest(root, clip.path, contenders, rounds, store=True)
    start = contest(root, clip.path, [our_own(FILES, "frames", 1_000_000)], rounds, store=True)[FILES].cpu
    net, loops = _after_imports(found[FILES]), _after_imports(found[EVERY_FRAME])
    rows = []
    for name, one in found.items():
        more, faster = ratio(found[EVERY_FRAME].cpu, one.cpu), ratio(found[EVERY_FRAME].wall, one.wall)
        met = against(round(ratio(loops, net).median, 1), 50, most=False) if name == FILES else ""
        after = _after_imports(one)
        figures = [one.cpu.show(), more.show(1), after.show(3), ratio(loops, after).show(1), faster.show(1)]
        rows.append([name, *figures, *_made(one), met])
    head = ("who", "CPU s", "OpenCV by it", "after imports", "OpenCV by it", "elapsed", *_MADE, "after imports")
    table(f"Every frame kept: {clip.what} (a process that copies one: {start.show()} s)", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["sparse", "decode", "every", "copy", "memory", "append", "ready", "price"]
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the clips that are made")
    parser.add_argument("--quick", action="store_true", help="one short run of everything, for trying")
    parser.add_argument("--only", choices=parts, action="append", help="one part alone; may be repeated")
    options = parser.parse_args()
    quick = options.quick
    seconds, rounds, hour = (3.0, 1, 60.0) if quick else (options.seconds, 3, 3600.0)
    print(f"{machine()}; {rounds} rounds in turn, median (least-most); load {os.getloadavg()[0]:.1f}")
    print("quality 95, 4:2:0, libjpeg-turbo for all but ffmpeg (-q:v 1); PSNR: of brightness, against libav's decoder")
    if quick:
        print("quick: such short clips are mostly start-up, so targets are not to be judged by them")
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as directory:
        root = Path(directory)

        def made() -> list[Clip]:
            return [short_groups(root, seconds), long_groups(root, seconds)]

        work: dict[str, Callable[[], None]] = {
            "sparse": lambda: sparse(root, [*made(), *real()], rounds),
            "decode": lambda: decode(root, made(), rounds),
            "every": lambda: every(root, [*made(), *([] if quick else real())], rounds),
            "copy": lambda: copy(root, motion_jpeg(root, seconds), rounds),
            "memory": lambda: extract_costs.memory(root, short_groups(root, hour)),
            "append": lambda: extract_costs.append(root, 50_000 if quick else 1_000_000, rounds),
            "ready": lambda: extract_costs.ready(2 if quick else 7),
            "price": lambda: extract_costs.price(root, short_groups(root, seconds), rounds),
        }
        for name in options.only or parts:
            work[name]()


if __name__ == "__main__":
    main()
