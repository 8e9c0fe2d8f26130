"""``edge-agent record``: one take with a given name, for someone at a laptop."""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.report import STATUS, Event
from edge_agent.capture.sources.opening import open_source
from edge_agent.clock import SystemClock
from edge_agent.control.commands import TagChoice
from edge_agent.errors import NameInvalid, SourceLost
from edge_agent.segment import MAX_VALUE, SegmentName, check_fields
from edge_agent.source_url import check_source
from edge_agent.spool import VIDEO_SUFFIX, Spool

CAMERA = "laptop"
STALL_SECONDS = 10.0


class _OneTag:
    """The class the name carries, from the first packet to the last."""

    def __init__(self, choice: TagChoice) -> None:
        self._choice = choice

    def current(self) -> TagChoice:
        return self._choice

    def recording(self) -> None:
        """Nobody starts or stops a take from elsewhere."""


def record_take(
    name: str, source: str, out: Path, seconds: float | None, fields: tuple[str, ...], stop: threading.Event
) -> None:
    """Record *source* into ``<out>/<name>.mp4`` until q, Ctrl-C, *seconds* or the source's end.

    Raises NameInvalid when the name does not parse or is taken, SourceError when the camera fails; what was recorded
    until then is kept.
    """
    check_fields(fields)
    check_source(source)
    wanted = SegmentName.parse(name, fields)
    spool = Spool.flat(out)
    spool.prepare()
    video = out / f"{wanted.stem}{VIDEO_SUFFIX}"
    if video.exists():
        raise NameInvalid("this take exists already", where=str(video), fix="choose another --name")
    device = re.sub("[^A-Za-z0-9]+", "-", socket.gethostname())[:MAX_VALUE].strip("-") or "laptop"
    job = CaptureJob(
        device,
        CAMERA,
        fields,
        source,
        wanted.tag.as_dict(),
        str(out),
        str(out),
        segment_seconds=math.inf,  # one take, one file
        stall_seconds=STALL_SECONDS,
        take=wanted.take,
    )
    clock = SystemClock()
    timer = threading.Timer(seconds or 0, stop.set)
    timer.daemon = True

    with spool.only_one(wanted.stem), _shown() as line, _keys(stop):

        def report(event: Event) -> None:
            if seconds is not None and event.name == "segment_opened":  # connecting does not count
                timer.start()
            line(event)

        try:
            Recorder(
                job,
                spool,
                clock,
                _OneTag(TagChoice(wanted.tag, "name")),
                lambda closing: open_source(job, clock, closing),
                report,
                mine=lambda found: found == wanted,
            ).run_once(stop)
        finally:
            timer.cancel()
            spool.remove_if_idle()
    if not video.exists():
        raise SourceLost("nothing was recorded", where=name, fix="let the camera run until its first keyframe")
    print(f"{video}: {video.stat().st_size / 1e6:.1f} MB, with {video.with_suffix('.json').name} beside it")


@contextlib.contextmanager
def _shown() -> Iterator[_Line]:
    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield _Line(live)


class _Line:
    """One line on the terminal that says how long the take is by now."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._live.update(Text("connecting …"))

    def __call__(self, event: Event) -> None:
        if event.name == STATUS and event.fields["state"] == "recording":
            self._live.update(
                Text(f"● recording {event.fields['segment']}  {event.fields['seconds']} s   q or Ctrl-C ends it")
            )


@contextlib.contextmanager
def _keys(stop: threading.Event) -> Iterator[None]:
    """While the block lasts, q on the terminal sets *stop*. Without a terminal nothing is read."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    done, wake = os.pipe()

    def listen() -> None:
        while True:
            ready, _, _ = select.select([descriptor, done], [], [])
            if done in ready:
                return
            with contextlib.suppress(OSError):  # the terminal hung up
                if key := os.read(descriptor, 1):
                    if key in b"qQ":
                        stop.set()
                    continue
            return

    tty.setcbreak(descriptor)
    thread = threading.Thread(target=listen, name="keys")
    thread.start()
    try:
        yield
    finally:
        os.write(wake, b".")
        thread.join()
        os.close(done)
        os.close(wake)
        with contextlib.suppress(termios.error):  # the terminal hung up
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
