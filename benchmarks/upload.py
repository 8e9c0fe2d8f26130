"""What uploading costs, and what a crash or a lost link costs: ours against boto3, aws-cli and rclone, in one run.

``python benchmarks/upload.py [--quick] [--only again|goodput|cpu|latency|small|memory]``. All upload to the same small
server (benchmarks/support/s3_stub.py), which keeps checksums and no bytes; where the link matters, through the tests'
own proxy, which counts and shapes. Every figure is of this machine and this run; the ratios are what is to be compared.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

from benchmarks.harness import Spread, against, machine, ratio, table, wait_for
from benchmarks.support.upload_peers import (
    FINISHED,
    Peer,
    agent,
    environment,
    four_threads,
    fresh_spool,
    our_cpu,
    peer_cpu,
    peers,
    queue,
    stub,
)
from benchmarks.support.upload_waits import latency, memory
from tests.support.proxy import Proxy, proxy
from tests.support.s3_http import Operation

MIB = 1 << 20
LINK = 20e6 / 8  # bytes a second of the shaped link
ROUND_TRIP = 0.04  # seconds, added by the proxy to each reply
OURS = "edge-agent upload process"


def make_files(directory: Path, count: int, size: int) -> list[Path]:
    """*count* files of *size* bytes, no two alike, none compressible."""
    directory.mkdir()
    chance = random.Random(4)
    block = chance.randbytes(min(size, 4 * MIB))
    files = []
    for number in range(count):
        path = directory / f"{number:05d}.mp4"
        with path.open("wb") as file:
            left = size
            for serial in itertools.count():
                if left <= 0:
                    break
                left -= file.write((f"{number}.{serial}.".encode() + block)[: min(left, len(block))])
        files.append(path)
    return files


# -- bytes sent again, goodput: through the proxy --------------------------------------------------------------------


def _complete(link: Proxy, count: int) -> bool:
    done = [seen for seen in list(link.exchanges) if seen.operation in FINISHED and seen.status == 200 and seen.ended]
    return len(done) >= count


def again(root: Path, tools: Sequence[Peer], size: int, speed: float) -> None:
    """Bytes sent again after kill -9 at 60 % of one object, counted at the proxy."""
    (whole,) = make_files(root / "one", 1, size)
    rows = []

    def kill_at_60(link: Proxy, process: subprocess.Popen[str]) -> None:
        wait_for(lambda: link.received() >= 0.6 * size, "60 % of the object", 120)
        process.kill()
        process.wait()

    for place, tool in enumerate([None, *tools]):
        with stub(root / f"again-{place}") as server, proxy(server.url) as link:
            link.shape(speed)
            if tool is None:
                spool = fresh_spool(root / "again-spool")
                queue(spool, [whole])
                with agent(spool, link.url) as process:
                    kill_at_60(link, process)
                with agent(spool, link.url):
                    wait_for(lambda: _complete(link, 1), "the object", 120)
            else:
                command = tool.command(whole.parent, link.url, "peer")
                kill_at_60(link, subprocess.Popen(command, env=environment(), text=True))
                subprocess.run(command, env=environment(), check=True)
            part = max([seen.received for seen in link.exchanges if seen.operation is Operation.PART], default=0)
            more = link.received() - size
        met = against(more / part, 1) if tool is None and part else ""
        name = tool.name if tool else OURS
        rows.append(
            (
                name,
                f"{more / MIB:.1f} MiB",
                f"{part / MIB:.0f} MiB" if part else "whole",
                f"{more / size:.0%} of it",
                met,
            )
        )
    head = ("who", "sent again", "part size", "", "parts per stream")
    table(f"kill -9 at 60 % of {size // MIB} MiB on {speed * 8 / 1e6:.0f} Mbit/s, then started again", head, rows)


def goodput(root: Path, tools: Sequence[Peer], size: int) -> None:
    """Share of a 20 Mbit/s link that is objects, from the first request to the last reply."""
    forms = {
        "one": make_files(root / "goodput-one", 1, size),
        "many": make_files(root / "goodput-many", 16, size // 16),
    }
    rows = []
    for place, tool in enumerate([None, *tools]):
        shares = []
        for form, files in forms.items():
            with stub(root / f"goodput-{place}-{form}") as server, proxy(server.url) as link:
                link.shape(LINK)
                link.reply_delay = ROUND_TRIP
                if tool is None:
                    spool = fresh_spool(root / f"goodput-spool-{form}")
                    queue(spool, files)
                    with agent(spool, link.url):
                        wait_for(lambda: _complete(link, len(files)), "the objects", 120)  # noqa: B023 - called at once
                else:
                    command = tool.command(files[0].parent, link.url, "peer")
                    subprocess.run(command, env=environment(), check=True)
                wait_for(lambda: _complete(link, len(files)), "the last reply")  # noqa: B023 - called at once
                seen = [seen for seen in list(link.exchanges) if seen.ended]
                seconds = max(one.ended for one in seen) - min(one.began for one in seen)
                shares.append(size / seconds / LINK)
        met = against(round(min(shares) * 100, 1), 95, most=False) if tool is None else ""
        rows.append((tool.name if tool else OURS, *(f"{share:.1%}" for share in shares), met))
    one, many = f"one of {size / 1e6:.0f} MB", f"16 of {size / 16e6:.1f} MB"
    title = f"Goodput on 20 Mbit/s shaped by the proxy both ways, {ROUND_TRIP * 1000:.0f} ms a reply, share of the link"
    table(title, ("who", one, many, "per cent"), rows)


# -- CPU: straight to the server -------------------------------------------------------------------------------------


def cpu_table(
    root: Path, title: str, tools: Sequence[Peer], files: list[Path], rounds: int, unit: float, bounds: Sequence[float]
) -> None:
    """CPU seconds of whole processes by *unit*, taken in turns; *bounds*: what ours may be of each tool's, at most.

    What a process costs before its first upload is measured with one tiny file, and shown without it too.
    """
    tiny = make_files(root / "tiny", 1, 1000)
    used: dict[str, list[float]] = {name: [] for name in (OURS, *(tool.name for tool in tools))}
    start = {name: list[float]() for name in used}
    for number, what in itertools.product(range(rounds), (tiny, files)):
        for place, tool in enumerate([None, *tools]):
            run = root / f"{what[0].parent.name}-{number}-{place}"
            with stub(run / "stub") as server:
                if tool is None:
                    spent = our_cpu(run / "spool", what, server)
                else:
                    spent = peer_cpu(tool, what[0].parent, server.url)
            (start if what is tiny else used)[tool.name if tool else OURS].append(spent / unit)
    spreads = {name: Spread(tuple(values)) for name, values in used.items()}
    nets = {name: Spread(tuple(a - b for a, b in zip(used[name], start[name], strict=True))) for name in used}
    limits = {OURS: 0.0, **dict(zip((tool.name for tool in tools), bounds, strict=True))}
    rows = []
    for name, spread in spreads.items():
        whole, net = ratio(spreads[OURS], spread), ratio(nets[OURS], nets[name])
        met = against(round(net.median, 2), limits[name]) if limits[name] else ""
        rows.append((name, spread.show(), nets[name].show(), whole.show(), net.show(), met))
    head = ("who", "CPU s", "without start", "ours by it", "without start", "without start")
    table(f"{title}; {rounds} rounds in turn", head, rows)


def cpu(root: Path, tools: Sequence[Peer], total: int, rounds: int) -> None:
    """CPU seconds per GiB."""
    files = make_files(root / "large", 4, total // 4)
    title = f"CPU seconds per GiB, {total // MIB} MiB in 4 objects"
    bounds = [1.2 if "boto3" in tool.name else 1.0 if "aws" in tool.name else 0.0 for tool in tools]
    cpu_table(root, title, tools, files, rounds, total / (1 << 30), bounds)


def small(root: Path, count: int, rounds: int) -> None:
    """CPU seconds for many small files, ours with its ledger."""
    files = make_files(root / "small", count, 100_000)
    tools = [four_threads("upload_file"), four_threads("put_object")]
    cpu_table(root, f"CPU seconds for {count} files of 100 KB", tools, files, rounds, 1.0, [1.2, 1.2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of everything, for trying")
    parts = ["again", "goodput", "cpu", "latency", "small", "memory"]
    parser.add_argument("--only", choices=parts, action="append", help="one part alone; may be repeated")
    options = parser.parse_args()
    quick = options.quick
    print(f"{machine()}; median (least-most); all peers against one stub server, load {os.getloadavg()[0]:.1f}")
    tools = peers()
    work: dict[str, Callable[[Path], None]] = {
        "again": lambda root: again(root, tools, (40 if quick else 100) * MIB, 20e6),
        "goodput": lambda root: goodput(root, tools, 6_000_000 if quick else 24_000_000),
        "cpu": lambda root: cpu(root, tools, (256 if quick else 1024) * MIB, 1 if quick else 3),
        "latency": lambda root: latency(root, 50 if quick else 200, 2 if quick else 20),
        "small": lambda root: small(root, 200 if quick else 1000, 1 if quick else 3),
        "memory": lambda root: memory(root, 10_000 if quick else 100_000),
    }
    for name in options.only or parts:
        with tempfile.TemporaryDirectory(prefix="bench-upload-") as directory:
            work[name](Path(directory))


if __name__ == "__main__":
    main()
