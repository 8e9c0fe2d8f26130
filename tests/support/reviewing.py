"""Data sets to review, made up or real, and the review page over them on a loopback port."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.dataset import layout
from cloud.dataset.index import DecodeFacts, FrameFacts, ProbeFacts, SegmentFacts, VideoFacts, VideoIndex
from cloud.dataset.overrides import Overrides, load
from cloud.extract import Extractor, Target, extract
from cloud.judge.policy import verdict
from cloud.judge.rules import JudgeRules
from cloud.review.catalogue import Catalogue
from cloud.review.frames import FrameCatalogue
from cloud.review.web.app import FILES, ReviewPage
from cloud.review.web.guard import Guard, Lock
from cloud.review.web.room import Room
from cloud.review.web.server import serve_on
from cloud.settings import Settings
from edge_agent.clock import SystemClock
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from tests.support.asking import Answer, Served

PRICE = 0.04
_DECODE = DecodeFacts(mode="all", frames=1, decoded=1, packets=1, packet_errors=0, mended=0, lost=0, truncated=False)


def picture(shade: int, width: int = 64, height: int = 40) -> bytes:
    """A small grey JPEG."""
    import numpy as np

    from cloud.decode.jpeg import encode_jpeg

    return encode_jpeg(np.full((height, width, 3), shade % 256, np.uint8), 80)


def invented(
    store: ObjectStore,
    stem: str,
    scores: Sequence[Mapping[str, float]],
    *,
    tag: Mapping[str, str] | None = None,
    pictures: bool = True,
) -> VideoIndex:
    """A processed video with a frame for each of *scores*, judged by the rules as they are shipped."""
    name, frames = SegmentName.parse(stem), []
    for place, of_frame in enumerate(scores):
        key, found = layout.frame_key(name, place * 30), verdict(of_frame, JudgeRules())
        jpeg = picture(place * 9)
        if pictures:
            store.put(key, jpeg, content_type="image/jpeg")
        frames.append(
            FrameFacts(
                index=place * 30,
                time=float(place),
                at=f"2026-11-22T14:31:{place % 60:02d}.000Z",
                key=key,
                size=len(jpeg),
                checksum="crc64nvme:AAAA",
                verdict=found.verdict,
                reasons=found.reasons,
                scores=dict(of_frame),
            )
        )
    index = VideoIndex(
        settings="0" * 16,
        video=VideoFacts(uri=f"file:///raw/{stem}.mp4", key=f"{stem}.mp4", etag="v1", version=None, size=1),
        segment=SegmentFacts(
            name=stem, class_=dict(tag or name.tag.as_dict()), take="1", device="dock7", camera="cam1"
        ),
        probe=ProbeFacts(codec="h264", width=64, height=40, fps=30, duration=1),
        decode=_DECODE,
        preview=layout.preview_key(name),
        preview_size=1,
        preview_checksum="x",
        manifest="m",
        frames=tuple(frames),
    )
    store.put(layout.index_key(name), index.to_json(), content_type="application/json")
    return index


def extracted(root: Path, *videos: Path, every: int = 30) -> DirectoryStore:
    """What the pipeline makes of real *videos*."""
    root.mkdir()
    store = DirectoryStore(root)
    settings = Settings.model_validate({"dataset": str(root), "sampling": {"every": every}})
    targets = [Target(None, str(video)) for video in videos]
    _, failures = extract(targets, Extractor(settings, store, SystemClock()), lambda _: None)
    assert not failures
    return store


def frames_of(store: ObjectStore) -> FrameCatalogue:
    return FrameCatalogue(store, SystemClock(), "dock 7")


def decisions(store: ObjectStore, stem: str) -> dict[int, tuple[str, str]]:
    """What stands in the store: word and person by ordinal."""
    index = VideoIndex.from_json(store.get(f"index/{stem}.json").body)
    assert index is not None
    found: Overrides = load(store, stem, index.video.etag)
    return {ordinal: (word.decision, word.by) for ordinal, word in found.decisions.items()}


@dataclass(frozen=True)
class Site(Served):
    """A page that is being served; ``told`` is what the terminal was told."""

    told: list[str] = field(default_factory=list)
    lock: Lock | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def items(self) -> list[dict[str, Any]]:
        """The lines of all items: a head, packed items, an end."""
        return [json.loads(line) for line in self.get("/api/items").body.splitlines()]

    def decide(self, by: str, changes: Mapping[str, str | None]) -> Answer:
        return self.call("POST", "/api/decisions", {"by": by, "changes": changes})


@contextmanager
def served(catalogue: Catalogue, by: str = "ann", *, locked: bool = False, port: int = 0) -> Iterator[Site]:
    """The review page on a loopback port; *locked* as it is on any other address."""
    stop, told = threading.Event(), list[str]()
    with Room(catalogue, told.append) as room, socket.create_server(("127.0.0.1", port)) as sock:
        place = sock.getsockname()[1]
        lock = Lock.new(place) if locked else None
        app = Guard(ReviewPage(room, by, PRICE).build(), lock, FILES)
        run = threading.Thread(target=asyncio.run, args=(serve_on(sock, app, stop, room.close, told.append),))
        run.start()
        try:
            yield Site(place, told, lock)
        finally:
            stop.set()
            run.join()
