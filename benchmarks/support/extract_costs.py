"""What the extraction benchmark measures beside the contests: appends, start, memory, and what it all costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Spread, against, ratio, table
from benchmarks.support.extract_clips import RATE, Clip
from benchmarks.support.extract_runs import loop, ours, run

MEMORY_MB = 1769  # of the function in cloud/template.yaml; AWS gives one vCPU at this size
GB_SECOND = 0.0000166667  # USD, Lambda on x86 in us-east-1, first tier
REQUEST = 0.20 / 1e6  # USD, Lambda
PUT = 0.005 / 1000  # USD, S3 Standard in us-east-1
LABEL = 0.04  # USD an object: Ground Truth's list price, and the default of the setting price_per_label
SEGMENT = 60  # seconds: a video, an invocation
SMALL = 1000  # lines: one partition of the ordinary size


def memory(root: Path, clip: Clip) -> None:
    """Peak of the whole pipeline on *clip*, one frame a second, all judges on."""
    out = root / "hour"
    used = run(ours("pipeline", str(clip.path), str(out), str(RATE), "flag"))
    rows = [
        ("peak resident memory", f"{used.peak:.0f} MB", against(round(used.peak), 300)),
        ("frames", str(used.told["frames"]), ""),
        ("CPU", f"{used.cpu:.1f} s", ""),
    ]
    table(f"Memory: {clip.what}; whole pipeline, 1 frame a second, all judges", ("what", "measured", "MB"), rows)


def append(root: Path, lines: int, rounds: int) -> None:
    """The append of a video's lines to a data set of :data:`SMALL` and of *lines*, in turns; and 32 at once."""
    sizes = (SMALL, lines)
    for size in sizes:
        run(ours("fill", str(root / f"lines-{size}"), str(size)))
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            told = run(ours("append", str(root / f"lines-{size}"), str(size), "40")).told
            found[size].append(sorted(told["milliseconds"])[20])
    small, large = (Spread(tuple(values)) for values in found.values())
    by = ratio(large, small)
    rows = [(f"{SMALL} lines", small.show(2, " ms"), "", "")]
    rows.append((f"{lines} lines", large.show(2, " ms"), by.show(3), against(round(by.median, 3), 1.1)))
    head = ("the data set holds", "an append, median of 40", f"by that at {SMALL}", "ratio")
    table(f"Appending 60 lines to a partition of {SMALL}, others beside it; {rounds} rounds in turn", head, rows)
    at_once = [run(ours("appenders", str(root / f"at-once-{number}"), "32")).told for number in range(rounds)]
    whole = all(one["videos"] == 32 and one["lines"] == 32 * 60 and not one["failed"] for one in at_once)
    took = Spread(tuple(one["wall"] for one in at_once))
    verdict = "all 32 finish, 1920 lines: " + ("met" if whole else "NOT met")
    title = "32 processes append to one partition at once"
    table(title, ("until all are in", "target"), [(took.show(2, " s"), verdict)])


def ready(rounds: int) -> None:
    """CPU seconds of a fresh process until it answers."""
    bare = ["-c", "pass"]
    commands = {
        "python, nothing imported": [ours("")[0], *bare],
        "handler imported, settings read, first event answered": ours("ready", "no"),
        "and what a first video needs: cv2, av, numpy, boto3": ours("ready", "yes"),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            found[name].append(run(command).cpu)
    rows = []
    for place, (name, values) in enumerate(found.items()):
        spread = Spread(tuple(values[1:]))  # the first reads the disk
        rows.append((name, spread.show(2, " s"), against(round(spread.median, 2), 0.6) if place == 1 else ""))
    table(f"Import to ready, CPU of a fresh process; {rounds} rounds in turn", ("until", "CPU", "seconds"), rows)


def price(root: Path, clip: Clip, rounds: int) -> None:
    """Milliseconds billed and dollars for an hour of video like *clip*, and what the OpenCV loop would cost there."""
    walls, cpus, puts, frames = [], [], 0, 0
    for number in range(rounds):
        out = root / f"price-{number}"
        out.mkdir()
        told = run(ours("billed", str(clip.path), str(out), str(RATE))).told
        walls.append(told["wall"])
        cpus.append(told["cpu"])
        puts, frames = told["puts"], told["frames"]
    plain = root / "price-plain"
    plain.mkdir()
    opencv = run(loop("", "opencv", 1).command(clip.path, str(plain)))
    hour = 3600 / clip.seconds
    wall, cpu = Spread(tuple(walls)), Spread(tuple(cpus))
    ours_ms = Spread(tuple(max(a, b) * hour * 1000 for a, b in zip(walls, cpus, strict=True)))
    their_ms = max(opencv.cpu, opencv.told["wall"]) * hour * 1000
    rows = _bill(ours_ms.median, frames * hour, puts * hour, their_ms, RATE * 3600.0)
    print(
        f"\nPrice inputs: {MEMORY_MB} MB (one vCPU) at {GB_SECOND:.10f} USD a GB-s; {REQUEST * 1e6:.2f} USD a million "
        f"requests, videos of {SEGMENT} s; PUT {PUT * 1000} USD a thousand; {LABEL} USD a label.\n"
        f"Billed: the greater of elapsed and CPU time of a warm process on this machine, a directory as the store (a "
        f"video of {clip.seconds:.0f} s: {wall.show(2, ' s')} elapsed, {cpu.show(2, ' s')} CPU).\n"
        f"Not in it: waiting for S3, which puts do beside the decoding; storage; transfer; cold starts."
    )
    head = ("of a video hour", "ours, 1 frame a second, all judges", "OpenCV loop, every frame")
    table(f"Lambda and S3, {clip.what}", head, rows)


def _bill(ms: float, frames: float, puts: float, their_ms: float, their_frames: float) -> Sequence[Sequence[str]]:
    requests = 3600 / SEGMENT

    def compute(milliseconds: float) -> float:
        return milliseconds / 1000 * MEMORY_MB / 1024 * GB_SECOND + requests * REQUEST

    return [
        ("billed", f"{ms:,.0f} ms", f"{their_ms:,.0f} ms"),
        ("compute", f"{compute(ms):.5f} USD", f"{compute(their_ms):.5f} USD"),
        ("PUTs", f"{puts:,.0f}: {puts * PUT:.4f} USD", f"{their_frames:,.0f}: {their_frames * PUT:.4f} USD"),
        ("both", f"{compute(ms) + puts * PUT:.4f} USD", f"{compute(their_ms) + their_frames * PUT:.4f} USD"),
        ("labels, if every frame gets one", f"{frames * LABEL:,.2f} USD", f"{their_frames * LABEL:,.2f} USD"),
    ]
