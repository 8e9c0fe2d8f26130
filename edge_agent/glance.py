"""A camera opened for a moment, in a process of its own: one blocked in C cannot be interrupted, only killed.

``python -m edge_agent.glance`` is that process. It is told a :class:`CaptureJob` as one line on standard input, for no
secret stands on a command line, and answers with one JSON line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_agent import errors
from edge_agent.capture.job import CaptureJob
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeCaptureError, SourceLost, SourceStalled
from edge_agent.redact import redact

if TYPE_CHECKING:
    from edge_agent.capture.sources.base import Source

LIMIT_SECONDS = 20.0  # opening takes 10 s at most, and a keyframe every 5 s is no rarity
_SPAN_SECONDS = 1.0  # of pictures, from which their rate is taken
_MOST_PICTURES = 250


@dataclass(frozen=True, slots=True)
class Glance:
    """What a camera delivers. ``rate`` in frames a second, None where one second had no two; ``keyframe`` in seconds
    from connecting to the first."""

    codec: str
    width: int
    height: int
    rate: float | None
    keyframe: float

    def __str__(self) -> str:
        rate = f", {self.rate:.3g} frames a second" if self.rate else ""
        return f"{self.codec} {self.width}x{self.height}{rate}, first keyframe after {self.keyframe:.1f} s"


def glance(job: CaptureJob, seconds: float = LIMIT_SECONDS) -> Glance:
    """What *job*'s camera delivers now. Raises ConfigInvalid or SourceError; ends within *seconds* and a little."""
    where = "exec:" if job.source.startswith("exec:") else redact(job.source)
    command = [sys.executable, "-m", "edge_agent.glance"]
    try:
        done = subprocess.run(
            command, input=job.to_line(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SourceStalled(
            f"no picture within {seconds:.0f} s", where=where, fix="check the camera and its network"
        ) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise SourceLost(f"ended the process that opened it (status {done.returncode})", where=where) from error
    if "code" in answer:
        kind: type[EdgeCaptureError] = getattr(errors, answer["code"])
        raise kind(answer["what"], where=answer["where"], fix=answer["fix"])
    return Glance(**answer)


def look(source: Source, since: float, clock: SystemClock) -> Glance:
    """What *source* delivers; *since* is when it was being opened, monotonic. Raises SourceError."""
    stamps: list[float] = []
    first = 0.0
    for packet in source.packets():
        if packet.stream.type != "video" or (not stamps and not packet.is_keyframe):
            continue
        if not stamps:
            first = clock.monotonic() - since
        stamps.append(float((packet.pts or 0) * (packet.time_base or 0)))
        if max(stamps) - min(stamps) >= _SPAN_SECONDS or len(stamps) >= _MOST_PICTURES:
            break
    if not stamps:
        raise SourceLost("ended before its first keyframe", fix="check that it sends keyframes")
    span = max(stamps) - min(stamps)
    found = source.format
    return Glance(found.codec, found.width, found.height, (len(stamps) - 1) / span if span else None, first)


def main() -> None:
    from edge_agent.capture.sources.opening import open_source

    job = CaptureJob.from_line(sys.stdin.readline())
    clock = SystemClock()
    since = clock.monotonic()
    answer: dict[str, Any]
    try:
        source = open_source(job, clock, threading.Event())
        try:
            answer = asdict(look(source, since, clock))
        finally:
            source.close()
    except EdgeCaptureError as error:
        answer = {"code": error.code, "what": error.what, "where": redact(error.where), "fix": error.fix}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # a thread blocked in C would hold an ordinary exit up


if __name__ == "__main__":
    main()
