"""What operating a box costs and how quick it is: the page, the parent, a change of class, a start.

``python benchmarks/agent.py [--quick] [--only paint|parent|class|start]``. One agent with its page, four cameras (a
1080p30 clip of about 4 Mb/s, a keyframe a second, played at its own pace) and a real browser on the loopback interface.
Every figure is of this machine and this run; the targets stand beside them. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

import psutil  # type: ignore[import-untyped, unused-ignore]
import yaml

from benchmarks.capture import make_clip
from benchmarks.harness import Spread, against, machine, resident_mb, shares, table, wait_for
from edge_agent.capture.boxes import extent_of
from tests.support.browser import chromium
from tests.support.ports import free_port

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

CAMERAS = 4
GOP_MS = 1000.0  # of the clip
SETTLE_SECONDS = 11.0  # past the first segment's end: what is imported for it is imported once
CLASSES = ("black_cup", "red_box")
LOOK_SECONDS = 0.002  # how late what is waited for may be noticed
PICTURES = ("/snapshot/", "/thumbnail/")
PAINT = "return (performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime || 0"
SENT = """
return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .map((entry) => [new URL(entry.name).pathname, entry.transferSize]);
"""


@dataclass(frozen=True)
class Box:
    """A settings file, the spool and the page's address of an agent that is running, and its pid."""

    parent: int
    spool: Path
    url: str

    def children(self, kind: str) -> list[int]:
        return [child.pid for child in psutil.Process(self.parent).children() if kind in child.cmdline()]


def settings(root: Path, clip: Path, cameras: int, port: int) -> Path:
    """Write the settings of an agent with *cameras* that play *clip*."""
    root.mkdir()
    camera = {
        "source": f"file:{clip}?loop=true",
        "class": dict(zip(("color", "object"), CLASSES[0].split("_"), strict=True)),
        "segment_seconds": 10,
    }
    document = {
        "device": "bench",
        "spool": str(root / "spool"),
        "store": {"url": str(root / "store")},
        "cameras": {f"cam{number}": camera for number in range(cameras)},
        "web": {"listen": f"127.0.0.1:{port}", "classes": list(CLASSES)},
        "disk": {"free": 0},
        "log": {"format": "json"},
    }
    path = root / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.contextmanager
def agent(root: Path, clip: Path, cameras: int) -> Iterator[Box]:
    """``edge-agent run``; all cameras record and the page is served."""
    port = free_port()
    path = settings(root, clip, cameras, port)
    with started(path) as process:
        box = Box(process.pid, root / "spool", f"http://127.0.0.1:{port}")
        wait_for(lambda: state(box)["health"]["ok"], f"{cameras} cameras and the page", 60)
        yield box


@contextlib.contextmanager
def started(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The agent's process while the block lasts; its log stands beside its settings."""
    with path.with_name("log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.cli", "run", "-c", str(path)], stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def state(box: Box) -> dict[str, Any]:
    """What the page shows; not healthy while nobody serves it."""
    try:
        with urllib.request.urlopen(f"{box.url}/api/v1/state", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {"health": {"ok": False}}


def until(probe: Callable[[], bool], what: str, seconds: float = 30.0) -> float:
    """The monotonic time at which *probe* was seen true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(LOOK_SECONDS)
    return time.monotonic()


# -- the page --------------------------------------------------------------------------------------------------------


def paint(box: Box, browser: WebDriver, runs: int) -> None:
    """First paint, each time with an empty cache, and what was sent until then."""
    paints, weights = [], []
    for _ in range(runs):
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        browser.get(box.url)
        wait_for(lambda: bool(browser.execute_script(PAINT)), "a paint")
        paints.append(float(browser.execute_script(PAINT)))
        wait_for(lambda: browser.execute_script("return Boolean(document.querySelector('#cameras h2'))"), "cameras")
        weights.append(sum(size for path, size in browser.execute_script(SENT) if not path.startswith(PICTURES)))
    first = json.dumps(state(box), separators=(",", ":"))  # the stream's own bytes are in no entry while it is open
    bytes_sent = Spread(tuple((weight + len(first)) / 1000 for weight in weights))
    painted = Spread(tuple(paints))
    rows = [
        ("first paint", painted.show(0, " ms"), against(round(painted.median), 300)),
        ("page and first state, without pictures", bytes_sent.show(1, " kB"), against(max(bytes_sent.values), 60)),
    ]
    table(f"Page of {CAMERAS} cameras in Chromium, {runs} times", ("what", "measured", "target (ms, kB)"), rows)


# -- the parent ------------------------------------------------------------------------------------------------------


def parent(box: Box, browser: WebDriver, seconds: float, runs: int) -> None:
    """What the parent takes with one open page, and what the page's and the upload's process take beside."""
    browser.get(box.url)
    groups = {"parent": [box.parent], "page": box.children("web"), "upload": box.children("upload")}
    time.sleep(SETTLE_SECONDS)
    shown = shares(groups, seconds, runs)
    memory = {name: sum(map(resident_mb, pids)) for name, pids in groups.items()}
    browser.get("about:blank")
    time.sleep(SETTLE_SECONDS)  # cameras go on drawing for as long as ten seconds
    alone = shares(groups, seconds, runs)
    rows = [
        ("parent, of a core", shown["parent"].show(2, " %"), against(round(shown["parent"].median, 2), 1)),
        ("parent, resident", f"{memory['parent']:.0f} MB", against(round(memory["parent"]), 70)),
        ("parent without a page, of a core", alone["parent"].show(2, " %"), ""),
        ("page's process, of a core", shown["page"].show(2, " %"), f"without a page {alone['page'].show(2, ' %')}"),
        ("page's process, resident", f"{memory['page']:.0f} MB", ""),
        ("upload process, of a core", shown["upload"].show(2, " %"), f"{memory['upload']:.0f} MB"),
    ]
    head = ("what", "measured", "target (%, MB)")
    table(f"{CAMERAS} cameras and one open page, {runs} windows of {seconds:.0f} s", head, rows)


# -- a change of class -----------------------------------------------------------------------------------------------


def change(box: Box, runs: int) -> None:
    """From the request to the API until a segment with the new class is open, at *runs* points of the GOP."""
    waits = []
    for run in range(runs):
        tag = CLASSES[(run + 1) % 2]
        before = set((box.spool / "recording").iterdir())
        body = json.dumps({"class": dict(zip(("color", "object"), tag.split("_"), strict=True))}).encode()
        request = urllib.request.Request(f"{box.url}/api/v1/cameras/cam0/class", body, method="PUT")
        request.add_header("content-type", "application/json")
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=10):
            answered = time.monotonic() - began
        opened = until(lambda: _opened(box.spool, tag, before), f"a segment of {tag}")  # noqa: B023 - called at once
        waits.append((answered, opened - began))
        time.sleep(1.0 + run / runs)  # each time at another point of the GOP
    answers = Spread(tuple(answered * 1000 for answered, _ in waits))
    opening = Spread(tuple(wait * 1000 for _, wait in waits))
    rows = [
        ("answer: kept on the disk", answers.show(0, " ms"), ""),
        (
            f"segment opened, GOP of {GOP_MS:.0f} ms",
            opening.show(0, " ms"),
            against(round(max(opening.values)), GOP_MS + 200),
        ),
    ]
    table(f"Class set by the page's API, {runs} times", ("what", "measured", "target (ms), of the slowest"), rows)


def _opened(spool: Path, tag: str, before: set[Path]) -> bool:
    return any(path not in before and path.name.startswith(f"{tag}_") for path in (spool / "recording").iterdir())


# -- a start ---------------------------------------------------------------------------------------------------------


def start(root: Path, clip: Path, runs: int) -> None:
    """From the start of ``edge-agent run`` with one camera until its first fragment is on the disk."""
    opened, durable = [], []
    for run in range(runs):
        path = settings(root / f"start-{run}", clip, 1, free_port())
        recording = path.parent / "spool" / "recording"
        began = time.monotonic()
        with started(path):
            opened.append(until(lambda: bool(_parts(recording)), "a segment") - began)  # noqa: B023 - called at once
            until(lambda: any(map(_fragment, _parts(recording))), "a fragment")  # noqa: B023
            for part in _parts(recording):
                with part.open("rb") as file:
                    os.fdatasync(file.fileno())  # when this returns it is there, whoever has asked first
            durable.append(time.monotonic() - began)
    first = Spread(tuple(durable))
    rows = [
        ("segment opened", Spread(tuple(opened)).show(2, " s"), ""),
        ("first fragment on the disk", first.show(2, " s"), against(round(first.median, 2), 2)),
    ]
    table(f"Start with one camera, {runs} times", ("what", "measured", "target (s)"), rows)


def _parts(recording: Path) -> list[Path]:
    return list(recording.glob("*.part")) if recording.exists() else []


def _fragment(path: Path) -> bool:
    """Whether *path*, an MP4 that is being written, has its first fragment, all of it."""
    found = extent_of(path)
    return found.has_media and found.end == path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of everything, for trying")
    parser.add_argument("--only", choices=["paint", "parent", "class", "start"], help="one part alone")
    options = parser.parse_args()
    if not all(map(shutil.which, ("ffmpeg", "chromium", "chromedriver"))):
        sys.exit("error: needs ffmpeg, chromium and chromium-driver; run: sh tests/system-packages.sh")
    wanted = {options.only} if options.only else {"paint", "parent", "class", "start"}
    runs = 3 if options.quick else 10
    seconds, windows = (5.0, 2) if options.quick else (12.0, 5)
    print(f"{machine()}; median (least-most)")
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as directory:
        root = Path(directory)
        clip, _ = make_clip(root, 0)
        if wanted & {"paint", "parent", "class"}:
            with agent(root / "box", clip, CAMERAS) as box:
                if wanted & {"paint", "parent"}:
                    with chromium(root / "browser") as browser:
                        if "paint" in wanted:
                            paint(box, browser, runs)
                        if "parent" in wanted:
                            parent(box, browser, seconds, windows)
                if "class" in wanted:
                    change(box, runs * 2)
        if "start" in wanted:
            start(root, clip, runs)


if __name__ == "__main__":
    main()
