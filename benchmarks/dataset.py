"""What work on a data set costs: build, validate, review, sheets, export; and sheets against the scripts people write.

``python benchmarks/dataset.py [--quick] [--only PART] [--ten-million]``. Commands run as processes, as a person runs
them; CPU and memory are as the kernel counted them. Contenders take turns. All data is made by the script. Bounds are
those the project set itself; absolute ones say as much of the machine as of the program. scikit-image, Pillow and
torchvision live in an environment of their own: ``make bench-peers``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

from benchmarks.harness import Spread, against, machine, ratio, table
from benchmarks.support.extract_runs import PEERS, ROOT, Used, run
from benchmarks.support.review_view import view

COMMAND = [sys.executable, "-m", "cloud.cli"]
SCRIPT = ROOT / "benchmarks/support/sheet_peers.py"
VIDEO = ROOT / "tests/footage/yellow_box_1.mp4"
OURS = "edge-cloud manifest show"
PEER_NAMES = {
    "skimage": "scikit-image, appended to an array",
    "opencv": "OpenCV, read whole",
    "pillow": "Pillow, decoder shrinks",
}
MEMORY = 300  # MB


def _command(*arguments: object, rounds: int = 1) -> list[Used]:
    return [run([*COMMAND, *map(str, arguments)]) for _ in range(rounds)]


def _made(what: str, path: Path, *rest: object) -> Path:
    """*path*, made by ``dataset_made.py``."""
    run([sys.executable, "-m", "benchmarks.support.dataset_made", what, str(path), *map(str, rest)])
    return path


def _wall(runs: list[Used]) -> Spread:
    return Spread(tuple(used.wall for used in runs))


def _row(what: str, runs: list[Used], seconds: float | None, memory: int | None = MEMORY) -> list[str]:
    wall, peak = _wall(runs), max(used.peak for used in runs)
    return [
        what,
        wall.show(2, " s"),
        against(round(wall.median, 2), seconds) if seconds is not None else "",
        Spread(tuple(used.cpu for used in runs)).show(2, " s"),
        f"{peak:.0f} MB",
        against(round(peak), memory) if memory is not None else "",
    ]


_HEAD = ("what", "elapsed", "seconds", "CPU", "peak memory", "MB")


def validate(root: Path, lines: int, rounds: int, *, ten_million: bool) -> None:
    """All rules on good lines, on lines that are each listed twice, and on ten million."""
    good = _made("manifest", root / "good.manifest", lines)
    half = _made("manifest", root / "half.manifest", lines // 2)
    twice = root / "twice.manifest"
    twice.write_bytes(half.read_bytes() * 2)
    rows = [
        _row(f"{lines:,} good lines", _command("manifest", "validate", good, rounds=rounds), 5),
        _row(f"{lines:,} lines, each twice", _command("manifest", "validate", twice, rounds=rounds), 5),
        _row(f"stats of {lines:,} lines", _command("manifest", "stats", good, rounds=rounds), None),
    ]
    if ten_million:
        huge = _made("manifest", root / "huge.manifest", 10_000_000)
        # Refused for its number of items, which is status 1: the shell says so and goes on.
        command = [*COMMAND, "manifest", "validate", str(huge)]
        refused = ["sh", "-c", '"$@"; test $? -eq 1', "sh", *command]
        rows.append(_row(f"10,000,000 lines, {huge.stat().st_size / 1e9:.1f} GB", [run(refused)], None))
        huge.unlink()
    table(f"edge-cloud manifest validate; {rounds} rounds", _HEAD, rows)


def build(root: Path, lines: int, rounds: int) -> None:
    """A manifest of *lines* with all rules: balance, split, near-duplicates of other videos, extra keys, shards."""
    dataset = _made("dataset", root / "built", VIDEO, lines * 21 // 20)  # some are rejected
    rules = ["--drop-twins", "--balance", "class,camera", "--split", "80/10/10", "--seed", 7]
    keys = ["--extra", "captured,camera,device,frame,scores", "--rebase", "s3://bucket"]
    arguments = ["manifest", "build", dataset, "--out", root / "out.manifest"]
    rows = [_row(f"{lines:,} lines, no rule", _command(*arguments, rounds=rounds), None)]
    rows.append(_row(f"{lines:,} lines, all rules", _command(*arguments, *rules, *keys, rounds=rounds), 20))
    table(f"edge-cloud manifest build; {rounds} rounds", _HEAD, rows)


def sheet(root: Path, sizes: tuple[int, ...], rounds: int) -> None:
    """All pictures of a manifest on one sheet, in turns with the peers; and whether time grows as the number does."""
    known = _made("pictures", root / "pictures", 40)
    manifests = {size: _made("listed", root / f"sheet-{size}.manifest", known, size) for size in sizes}
    who = [name for name in PEER_NAMES if _is_there(name)]
    compared = sizes[len(sizes) // 2]  # the peers' time grows faster than the number of pictures
    found: dict[tuple[str, int], list[Used]] = {}
    for _ in range(rounds):
        for size, manifest in manifests.items():
            out = root / "sheets"
            command = ["manifest", "show", manifest, "--out", out, "--per-page", 1000]
            found.setdefault((OURS, size), []).extend(_command(*command))
            for name in who if size == compared else ():
                pictures = sorted(map(str, manifest.with_suffix("").iterdir()))
                peer = [_python(), str(SCRIPT), name, str(root / "peer.jpg"), *pictures]
                found.setdefault((PEER_NAMES[name], size), []).append(run(peer))
    rows = []
    for (name, size), runs in found.items():
        mine, cpu = found[OURS, size], Spread(tuple(used.cpu for used in runs))
        faster = ratio(_wall(runs), _wall(mine))
        bound = against(round(faster.median, 2), 1, most=False) if name == PEER_NAMES["skimage"] else ""
        peak = max(used.peak for used in runs)
        of_ours = "" if name == OURS else faster.show()
        rows.append([f"{size:,}", name, _wall(runs).show(2, " s"), cpu.show(2, " s"), of_ours, f"{peak:.0f} MB", bound])
    head = ("pictures", "who", "elapsed", "CPU", "elapsed by ours", "peak memory", "by ours")
    table(f"Sheets of full-HD JPEGs, tiles of 240 pixels, whole processes; {rounds} rounds in turn", head, rows)
    _linear(sizes, found)


def _linear(sizes: tuple[int, ...], found: dict[tuple[str, int], list[Used]]) -> None:
    """Print what CPU a picture more costs between sizes: elapsed time says as much of what else runs."""
    each = []
    for less, more in itertools.pairwise(sizes):
        steps = zip(found[OURS, less], found[OURS, more], strict=True)
        each.append(Spread(tuple((later.cpu - sooner.cpu) / (more - less) * 1000 for sooner, later in steps)))
        print(f"  {OURS}, CPU of a picture more between {less:,} and {more:,}: {each[-1].show(2, ' ms')}")
    if len(each) > 1:
        by = ratio(each[-1], each[0])
        print(f"  the last of these by the first: {by.show()}; {against(round(by.median, 2), 1.25)}")


def export(root: Path, boxes: int, rounds: int) -> None:
    """Boxes to COCO, without and with pictures; copying them is timed beside it."""
    manifest = _made("boxed", root / "boxes.manifest", boxes, _made("pictures", root / "few", 4))
    rows = []
    for what, seconds in (("none", 3.0), ("link", None), ("copy", None)):
        runs = []
        for number in range(rounds):
            out = root / f"coco-{what}-{number}"
            runs += _command("export", "coco", manifest, "--pictures", what, "--out", out)
        rows.append(_row(f"{boxes:,} boxes, pictures: {what}", runs, seconds))
    copies = [run(["cp", "-r", str(root / "labelled"), str(root / f"copy-{number}")]) for number in range(rounds)]
    rows.append(_row("cp of the same pictures", copies, None, None))
    table(f"edge-cloud export coco; {rounds} rounds", _HEAD, rows)


def review(root: Path, frames: int, rounds: int) -> None:
    """The command and its page in Chromium: until the pictures in view are painted, and every frame is known."""
    dataset = _made("dataset", root / "reviewed", VIDEO, frames)
    runs = [found for _ in range(rounds) if (found := view(dataset)) is not None]
    if not runs:
        print("\nmissing: chromium and chromedriver, for the review page")
        return

    def spread(name: str) -> Spread:
        return Spread(tuple(found[name] for found in runs))

    usable, whole = spread("usable"), Spread(tuple(found["listening"] + found["usable"] for found in runs))
    rows = [
        ("the command listens, from its start", spread("listening").show(2, " s"), ""),
        ("its processor time until then", spread("listening_cpu").show(2, " s"), ""),
        ("first tiles, from the start of the page", spread("tiles").show(2, " s"), ""),
        ("usable: all pictures in view, from the start of the page", *_bounded(usable)),
        ("usable, from the start of the command", *_bounded(whole)),
        ("all frames read, from the start of the page", spread("all").show(2, " s"), ""),
        ("memory of the server", spread("server_mb").show(0, " MB"), ""),
    ]
    head = ("until", "measured", "seconds")
    table(f"edge-cloud review on {frames:,} frames in Chromium; {rounds} rounds", head, rows)


def _bounded(seconds: Spread) -> tuple[str, str]:
    return seconds.show(2, " s"), against(round(seconds.median, 2), 1.5)


def _python() -> str:
    return str(Path(os.environ.get(PEERS) or ROOT / ".bench-venv") / "bin/python")


def _is_there(name: str) -> bool:
    """Whether the peers' environment has what *name* needs; says what it is, or that it is missing."""
    if not Path(_python()).exists():
        print(f"missing: {name}: {_python()} is not there; run: make bench-peers, or set {PEERS}")
        return False
    done = subprocess.run([_python(), str(SCRIPT), "version", name], capture_output=True, text=True, check=False)
    print(f"{PEER_NAMES[name]}: {done.stdout.strip() if not done.returncode else 'missing; run: make bench-peers'}")
    return not done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["validate", "build", "sheet", "export", "review"]
    parser.add_argument("--quick", action="store_true", help="one short run of everything, for trying")
    parser.add_argument("--only", choices=parts, action="append", help="one part alone; may be repeated")
    parser.add_argument("--ten-million", action="store_true", help="validate ten million lines as well: 2 GB of disk")
    options = parser.parse_args()
    quick, rounds = options.quick, 1 if options.quick else 3
    lines, frames = (5_000, 2_000) if quick else (100_000, 50_000)
    print(f"{machine()}; {rounds} rounds in turn, median (least-most); load {os.getloadavg()[0]:.1f}")
    work: dict[str, Callable[[Path], None]] = {
        "validate": lambda root: validate(root, lines, rounds, ten_million=options.ten_million),
        "build": lambda root: build(root, lines, rounds),
        "sheet": lambda root: sheet(root, (50, 100) if quick else (250, 1000, 4000), rounds),
        "export": lambda root: export(root, 1_000 if quick else 10_000, rounds),
        "review": lambda root: review(root, frames, rounds),
    }
    for name in options.only or parts:
        with tempfile.TemporaryDirectory(prefix="bench-dataset-") as directory:
            work[name](Path(directory))


if __name__ == "__main__":
    main()
