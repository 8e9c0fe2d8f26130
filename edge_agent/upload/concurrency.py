"""How many segments are sent at once. Pure.

One more stream is tried when the ones there are do well, and kept only if more arrives by it: on a slow link a second
stream adds nothing and only delays the first file, while small files over a long way fill the link several at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MOST_STREAMS = 4
"""What hides a round trip for files of 100 KB; more take memory, and the share of the link's other users."""

GAIN = 1.15  # a stream more must bring this much more, or it goes again: less is within the noise of a radio link
WINDOW_SECONDS = 1.0  # goodput is measured over no less, and
WINDOW_FILES = 4  # over no fewer files for each stream: one large file's end says nothing
HOLD_SECONDS = 60.0  # how long a number that was found best is kept before one more is tried again


@dataclass(frozen=True, slots=True)
class Streams:
    """How many streams there may be, and what was measured so far. Moments in monotonic seconds.

    ``before`` is the goodput, bytes a second, with one stream less, while one more is on trial.
    """

    limit: int = 1
    before: float | None = None
    held_until: float = 0.0
    since: float | None = None
    size: int = 0
    files: int = 0


def begun(streams: Streams, now: float) -> Streams:
    """Sending begins after there was nothing to send: what is measured starts here."""
    return streams if streams.since is not None else replace(streams, since=now, size=0, files=0)


def idle(streams: Streams) -> Streams:
    """There is nothing more to send: time from here on says nothing about the link."""
    return replace(streams, since=None)


def delivered(streams: Streams, size: int, now: float) -> Streams:
    """A file of *size* bytes has arrived."""
    since = now if streams.since is None else streams.since
    streams = replace(streams, since=since, size=streams.size + size, files=streams.files + 1)
    if now - since < WINDOW_SECONDS or streams.files < WINDOW_FILES * streams.limit:
        return streams
    goodput = streams.size / (now - since)
    fresh = replace(streams, since=now, size=0, files=0)
    if streams.before is not None and goodput < streams.before * GAIN:
        return replace(fresh, limit=max(1, streams.limit - 1), before=None, held_until=now + HOLD_SECONDS)
    if streams.limit < MOST_STREAMS and now >= streams.held_until:
        return replace(fresh, limit=streams.limit + 1, before=goodput)
    return replace(fresh, before=None)


def failed(streams: Streams, now: float) -> Streams:
    """The link failed or was told to slow down: one stream, and no more until it has held for a while."""
    return Streams(held_until=max(streams.held_until, now + WINDOW_SECONDS))
