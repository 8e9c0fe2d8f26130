"""How long the agent takes to notice what it should send, and what it holds while it cannot."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
        chance = random.Random(3)
        for kind, outage in OUTAGES.items():
            outages = [(chance.choice((0, 0.5, 2)), chance.uniform(0.5, 12)) for _ in range(returns)]
            found = sorted(link_returns(root, outage, outages))
            most = found[-1]
            rows.append((f"{kind}, {returns} returns, median", f"{statistics.median(found):.2f} s", ""))
            rows.append((f"{kind}, {returns} returns, most", f"{most:.2f} s", against(round(most, 2), 2)))
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


@dataclass(frozen=True, slots=True)
class Outage:
    """How a link goes away and returns: shell commands at the server's end; ``$NS`` is the agent's namespace."""

    begin: str
    end: str


_SERVER, _AGENT = "198.18.0.1", "198.18.0.2"
_MAC, _ANOTHER = "02:00:00:00:00:01", "02:00:00:00:00:09"
OUTAGES = {
    "link down and up": Outage("ip -n $NS link set w0 down", "ip -n $NS link set w0 up"),
    # Nothing goes down, nobody tells, nothing is refused: as behind a modem that has lost its network.
    "silent black hole": Outage(
        f"ip -n $NS neigh replace {_SERVER} lladdr {_MAC} dev w0 nud permanent; ip link set w1 address {_ANOTHER}",
        f"ip link set w1 address {_MAC}",
    ),
    # What was connected before comes from an address that this box has no more.
    "another address": Outage(
        "ip -n $NS addr flush dev w0", "ip -n $NS addr add 198.18.0.$((3 + $(date +%s) % 200))/24 dev w0"
    ),
}
_JOINED = (
    f"ip link set lo up; ip link add w1 address {_MAC} type veth peer name w0; ip link set w0 netns $NS; "
    f"ip addr add {_SERVER}/24 dev w1; ip link set w1 up; ip -n $NS addr add {_AGENT}/24 dev w0; "
    'ip -n $NS link set lo up; ip -n $NS link set w0 up; exec "$@"'
)


@contextmanager
def _namespace() -> Iterator[str]:
    name = f"edge-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def link_returns(root: Path, outage: Outage, outages: Sequence[tuple[float, float]]) -> list[float]:
    """Seconds from the return of the agent's network to the first byte at the server, each in a namespace of its own.

    *outages*: seconds from the loss of the link until a segment is finished, and from then until the link returns.
    """
    root = Path(tempfile.mkdtemp(dir=root))
    spool = fresh_spool(root / "spool")
    found = []
    with _namespace() as name:
        joined = ["unshare", "-n", "env", f"NS={name}", "sh", "-c", _JOINED, "sh"]
        with stub(root / "stub", before=joined, host=_SERVER) as server:

            def order(command: str) -> float:
                at = time.monotonic()
                inside = ["nsenter", f"--net=/proc/{server.pid}/ns/net", "env", f"NS={name}"]
                subprocess.run([*inside, "sh", "-c", command], check=True)
                return at

            with agent(spool, server.url, before=["ip", "netns", "exec", name]):
                publish(spool, 0, b"warm")
                wait_for(lambda: server.stored() == 1, "the first upload")
                for number, (idle, waiting) in enumerate(outages, start=1):
                    order(outage.begin)
                    time.sleep(idle)
                    segment, _ = publish(spool, number, b"x" * 1000 + str(number).encode())
                    time.sleep(waiting)
                    at = order(outage.end)
                    stem = segment.name.stem
                    wait_for(lambda: stem in _first_bytes(server.requests()), "the link's return", 60)  # noqa: B023
                    found.append(_first_bytes(server.requests())[stem] - at)
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
