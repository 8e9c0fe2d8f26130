"""Real agent processes with real settings files, and what they left on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import yaml

from edge_agent.capture.salvage import salvage
from edge_agent.segment import Segment
from edge_agent.spool import Spool

ROOT = Path(__file__).parents[2]
PATIENT_CLI = (
    "from edge_agent.control import applied; applied.WAIT_SECONDS = 50; from edge_agent.cli import main; main()"
)
"""For ``python -c``: an ``edge-agent`` that waits for a busy machine to do what was ordered, as long as a test may."""


def write_settings(directory: Path, source: str, store: Mapping[str, Any] | str, **changes: Any) -> Path:
    """A settings file for one camera, ``cam1``, under *directory*; *changes* are for the camera."""
    camera = {"source": source, "class": {"color": "black", "object": "cup"}, "segment_seconds": 2, **changes}
    settings = {
        "device": "dock7",
        "spool": str(directory / "spool"),
        "store": {"url": store} if isinstance(store, str) else dict(store),
        "cameras": {"cam1": camera},
        "upload": {"rescan_seconds": 2},
    }
    path = directory / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@contextmanager
def process(module: str, *arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m module arguments`` while the block lasts; output is kept for ``communicate``."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.communicate(timeout=60)
                except subprocess.TimeoutExpired:
                    child.kill()


def frames_in(video: Path) -> int:
    """Frames a player would show, counted by decoding them all."""
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def packets_in(video: Path) -> list[bytes]:
    """The encoded pictures, in file order."""
    with av.open(str(video)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def mend(root: Path) -> None:
    """Publish the open segment, where a busy machine took longer to stop than it may: as the next start would."""
    salvage(Spool(root / "spool"), ("color", "object"), "dock7", lambda _: True)


def segments_in(directory: Path) -> list[tuple[Path, Segment]]:
    """Videos with their sidecars, in name order."""
    spool = Spool(directory.parent)
    found = []
    for video in sorted(directory.glob("*.mp4")):
        segment = spool.sidecar(video)
        assert segment is not None, f"{video.name} has no sidecar"
        found.append((video, segment))
    return found
