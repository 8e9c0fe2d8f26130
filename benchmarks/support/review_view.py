"""How long a person waits for the review page: a real browser on the real command."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import cpu_seconds, resident_mb, wait_for
from benchmarks.support.extract_runs import ROOT

# Usable: tiles are there, every picture in view is painted. All: the page has heard of every frame.
_WATCH = """
(() => {
  const look = () => {
    const tiles = [...document.querySelectorAll('#grid .tile')].filter((tile) => {
      const box = tile.getBoundingClientRect();
      return box.bottom > 0 && box.top < innerHeight && box.width > 0;
    });
    const shown = (tile) => { const shot = tile.querySelector("img"); return shot.complete && shot.naturalWidth; };
    const painted = tiles.filter(shown);
    if (!window.benchTiles && tiles.length) window.benchTiles = performance.now();
    const usable = tiles.length >= 4 && painted.length === tiles.length;
    if (!window.benchUsable && usable) window.benchUsable = performance.now();
    const read = document.querySelector('#read');
    const done = read && !read.textContent.includes("reading") && window.benchUsable;
    if (!window.benchAll && done) window.benchAll = performance.now();
    if (!window.benchAll) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""


@contextmanager
def serving(dataset: Path) -> Iterator[tuple[str, dict[str, float], subprocess.Popen[str]]]:
    """``edge-cloud review`` on *dataset*: its address, what it took until it said so, and its process."""
    began = time.perf_counter()
    command = [sys.executable, "-u", "-m", "cloud.cli", "review", str(dataset), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = next((line.strip() for line in process.stdout if line.startswith("http")), "")
            assert url, "the review page did not start"
            listening = {"listening": time.perf_counter() - began, "listening_cpu": cpu_seconds(process.pid)}
            yield url, listening, process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def view(dataset: Path) -> dict[str, Any] | None:
    """Seconds until it listens, tiles stand, pictures in view are painted, all is read; None without Chromium."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(programs):
        return None
    from tests.support.browser import chromium

    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        with serving(dataset) as (url, listening, process):
            driver.get(url)

            def told(name: str) -> float:
                return float(driver.execute_script(f"return window.{name} || 0") or 0) / 1000

            wait_for(lambda: told("benchAll") > 0, "the page to have read everything", 120)
            found = {name: told(f"bench{name.capitalize()}") for name in ("tiles", "usable", "all")}
            return {**listening, **found, "server_mb": resident_mb(process.pid)}
