"""How long the agent takes to notice what it should send, and what it holds while it cannot."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

from benchmarks.harness import against, table, wait_for
from benchmarks.support.upload_peers import agent, fresh_spool, publish, segment_of, stub


def latency(root: Path, count: int, returns: int) -> None:
    """From the rename into ready/, and from the link's return, to the first byte at the server."""
    waits = renames(root, count)
    ordered = sorted(waits)
    p50, p99 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    rows = [
        ("rename into ready/, p50", f"{p50:.1f} ms", against(round(p50, 1), 20)),
        ("rename into ready/, p99", f"{p99:.1f} ms", against(round(p99, 1), 150)),
        ("rename into ready/, most", f"{ordered[-1]:.1f} ms", ""),
    ]
    if os.geteuid() == 0:
        found = sorted(link_returns(root, returns))
        most = found[-1]
        rows.append((f"link returns, {returns} times, median", f"{statistics.median(found):.2f} s", ""))
        rows.append((f"link returns, {returns} times, most", f"{most:.2f} s", against(round(most, 2), 2)))
    else:
        rows.append(("link returns", "not measured", "a network namespace needs root"))
    table(f"To the first byte on the wire, {count} files one at a time", ("what", "measured", "target"), rows)


def _first_bytes(requests: Sequence[dict[str, object]]) -> dict[str, float]:
    first: dict[str, float] = {}
    for seen in requests:
        first.setdefault(Path(str(seen["key"])).stem, float(str(seen["began"])))
    return first


def renames(root: Path, count: int) -> list[float]:
    """Milliseconds from each rename to the first byte, files coming at odd moments to an idle agent."""
    chance = random.Random(2)
    spool = fresh_spool(root / "latency-spool")
    published = {}
    with stub(root / "latency") as server, agent(spool, server.url):
        publish(spool, 0, b"warm")
        wait_for(lambda: server.stored() == 1, "the first upload")
        for number in range(1, count + 1):
            time.sleep(chance.uniform(0.02, 0.06))
            segment, at = publish(spool, number, chance.randbytes(50_000))
            published[segment.name.stem] = at
        wait_for(lambda: server.stored() == count + 1, "all uploads", 60)
        first = _first_bytes(server.requests())
    return [(first[stem] - at) * 1000 for stem, at in published.items()]


def link_returns(root: Path, times: int) -> list[float]:
    """Seconds from the return of the agent's network to the first byte, in a network namespace of its own.

    Server and agent share the namespace's loopback; it goes down together with a virtual Ethernet pair, whose return
    is what the kernel tells of.
    """
    chance = random.Random(3)
    up = "ip link set lo up; ip link add w0 type veth peer name w1; ip addr add 198.18.0.1/30 dev w0"
    ready = f'{up}; ip link set w0 up; ip link set w1 up; exec "$@"'
    spool = fresh_spool(root / "return-spool")
    found = []
    with stub(root / "return", before=["unshare", "-n", "sh", "-c", ready, "sh"]) as server:
        inside = ["nsenter", f"--net=/proc/{server.pid}/ns/net"]

        def all_links(state: str) -> float:
            order = "; ".join(f"ip link set {name} {state}" for name in ("lo", "w0", "w1"))
            at = time.monotonic()
            subprocess.run([*inside, "sh", "-c", order], check=True)
            return at

        with agent(spool, server.url, before=inside):
            publish(spool, 0, b"warm")
            wait_for(lambda: server.stored() == 1, "the first upload")
            for number in range(1, times + 1):
                all_links("down")
                segment, _ = publish(spool, number, b"x" * 1000 + str(number).encode())
                time.sleep(chance.uniform(3, 9))
                at = all_links("up")
                wait_for(lambda: segment.name.stem in _first_bytes(server.requests()), "the link's return", 60)  # noqa: B023
                found.append(_first_bytes(server.requests())[segment.name.stem] - at)
    return found


def memory(root: Path, count: int) -> None:
    """Memory of the upload process with *count* segments queued: while the link is dead, and while it uploads."""
    spool = fresh_spool(root / "memory-spool")
    body = b"sparse" * 10
    segment = segment_of(0, len(body), "")
    for number in range(count):
        segment = segment_of(number, len(body), "")
        (spool.ready / f"{segment.name}.json").write_text(segment.to_json())
        (spool.ready / f"{segment.name}.mp4").write_bytes(body)
    with stub(root / "memory-port") as server:
        port = int(server.url.rpartition(":")[2])
    rows = []
    began = time.monotonic()
    with agent(spool, f"http://127.0.0.1:{port}") as process:
        log = spool.root / "log"
        wait_for(lambda: "upload_postponed" in log.read_text(), "the first scan", 120)
        rows.append(("to the first try, link dead", f"{time.monotonic() - began:.1f} s", ""))
        time.sleep(5)
        rows.append(("resident, link dead", *_memory(process.pid)))
        with stub(root / "memory", port=port) as server:
            wait_for(lambda: server.stored() > 0, "the first upload", 60)
            time.sleep(10)
            rows.append((f"resident, {server.stored() / 10:.0f} uploads a second", *_memory(process.pid)))
        rows.append(("peak", *_memory(process.pid, peak=True)))
        process.send_signal(signal.SIGKILL)  # what is left would take minutes, and nobody looks at it
        process.wait()
    table(f"Upload process with {count} segments queued", ("what", "measured", "target, MB"), rows)


def _memory(pid: int, *, peak: bool = False) -> tuple[str, str]:
    """Resident or peak megabytes (10^6), shared pages in full; the proportional share beside."""
    if peak:
        (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        resident = int(line.split()[1]) * 1024 / 1e6
        return f"{resident:.0f} MB", against(round(resident), 90)
    held = psutil.Process(pid).memory_full_info()
    return f"{held.rss / 1e6:.0f} MB (proportional {held.pss / 1e6:.0f} MB)", against(round(held.rss / 1e6), 90)
