"""Manifest partitions: JSON Lines that labelling services read, each video's lines in them exactly once.

A line is ``{"source-ref": "s3://bucket/frames/blue_box_1/blue_box_1_000023.jpg", "color": "blue", "object": "box"}``,
with the extra keys that settings ask for behind the class. A partition is blocks of lines, one block per video, ordered
by stem and then by frame index. So its bytes depend only on which videos are in it.
"""

from __future__ import annotations

import enum
import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.dataset.index import FrameFacts, SegmentFacts, VideoIndex
from edge_agent.clock import Clock
from edge_agent.errors import ObjectConflict, ObjectExists, ObjectNotFound, PreconditionFailed
from edge_agent.store import ObjectStore

CONTENT_TYPE = "application/x-ndjson"

# Of racing appenders one succeeds in every round, so 32 of them need 32 rounds at worst; waiting spreads them out.
ATTEMPTS = 128
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.5

_FRAME = re.compile(r"(?P<stem>[^/]+)_(?P<index>\d{6,})\.[A-Za-z0-9]+")


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    source: str = Field(alias="source-ref", min_length=1)


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """A line read back: its text without the line end, and which frame of which video it is about."""

    text: str
    source: str
    stem: str
    index: int


class Appended(enum.Enum):
    """What :func:`append` did. SUPERSEDED: nothing, the lines were no longer the ones to write."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"


def make_line(uri: str, class_: Mapping[str, str], extra: Mapping[str, object] | None = None) -> str:
    """The line, without line end, that lists the frame at *uri* under *class_*, with the keys of *extra* behind it."""
    return json.dumps({"source-ref": uri, **class_, **(extra or {})})


def lines_of(index: VideoIndex, uri: Callable[[str], str], extra: Sequence[str] = ()) -> list[str]:
    """All lines of a video: its kept and flagged frames, at *uri* of their keys, with the *extra* keys wanted. Pure."""
    return [
        make_line(uri(frame.key), index.segment.class_, extras_of(index.segment, frame, extra)) for frame in index.kept
    ]


def extras_of(segment: SegmentFacts, frame: FrameFacts, wanted: Sequence[str]) -> dict[str, object]:
    """What is known of the *wanted* keys (those of settings ``lines.extra``); what is not known is left out."""
    known: dict[str, object] = {
        "captured": frame.at,
        "camera": segment.camera,
        "device": segment.device,
        "frame": frame.index,
        "scores": frame.scores or None,
    }
    return {key: known[key] for key in wanted if known[key] is not None}


def parse_line(text: str) -> ManifestLine:
    """The inverse of :func:`make_line`. Raises ValueError, saying in a few words what is wrong."""
    try:
        source = _Line.model_validate_json(text).source
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError("no JSON" if first["type"] == "json_invalid" else "no object with a 'source-ref'") from error
    frame = _FRAME.fullmatch(source.rpartition("/")[2])
    if frame is None:
        raise ValueError(f"source-ref {ascii(source)[:120]} is no frame of a video")
    return ManifestLine(text, source, frame["stem"], int(frame["index"]))


def stem_of(source: str) -> str:
    """The video whose frame is at the URI *source*; empty when it is no frame."""
    frame = _FRAME.fullmatch(source.rpartition("/")[2])
    return frame["stem"] if frame else ""


def parse(partition: bytes, where: str) -> list[ManifestLine]:
    """All lines of *partition*, which stands at *where*. Raises ObjectConflict when one of them is damaged."""
    try:
        rows = partition.decode().split("\n")
    except UnicodeDecodeError as error:
        raise _corrupt("is not UTF-8 text", where) from error
    lines = []
    for number, row in enumerate(rows, 1):
        if row.strip():
            try:
                lines.append(parse_line(row))
            except ValueError as error:
                raise _corrupt(f"line {number} is damaged: {error}", where) from error
    return lines


def merge(partition: bytes, stem: str, lines: Iterable[str], where: str = "partition") -> bytes:
    """*partition* with *lines* as the only lines of the video *stem*; all others stay as they are. Pure.

    Idempotent, and the order in which videos are merged does not matter. Raises ObjectConflict rather than lose what a
    damaged partition holds.
    """
    others = [line for line in parse(partition, where) if line.stem != stem]
    merged = others + [parse_line(line) for line in lines]
    merged.sort(key=lambda line: (line.stem, line.index))
    return "".join(f"{line.text}\n" for line in merged).encode()


def append(
    store: ObjectStore,
    key: str,
    stem: str,
    lines: Sequence[str],
    clock: Clock,
    current: Callable[[], bool] = lambda: True,
) -> Appended:
    """Put *lines* into the partition *key* as the video's only ones, by compare-and-swap.

    *current* is asked between reading the partition and writing it: once it says no, nothing is written. So whoever
    makes newer lines, and changes what *current* looks at first, is never overwritten. The cost is that of one
    partition, whatever the data set holds. Raises ObjectConflict when the partition is damaged, PreconditionFailed when
    others kept winning the race.
    """
    never, where = threading.Event(), store.uri(key)
    for attempt in range(ATTEMPTS):
        if attempt:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempt, 10))
            clock.wait(never, random.uniform(0, wait))
        try:
            found = store.get(key)
        except ObjectNotFound:
            found = None
        before = found.body if found else b""
        after = merge(before, stem, lines, where)
        if after == before:
            return Appended.UNCHANGED
        if not current():
            return Appended.SUPERSEDED
        try:
            if found is None:
                store.put_if_absent(key, after, content_type=CONTENT_TYPE)
            else:
                store.put_if_match(key, after, found.info.etag, content_type=CONTENT_TYPE)
        except (ObjectExists, PreconditionFailed):
            continue
        return Appended.WRITTEN
    raise PreconditionFailed(
        f"other writers won {ATTEMPTS} times in a row", where=where, fix="process the video again when they are done"
    )


def _corrupt(what: str, where: str) -> ObjectConflict:
    return ObjectConflict(what, where=where, fix="mend it with edge-cloud fsck --repair")
