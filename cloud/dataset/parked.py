"""Parked videos: ``failed/<stem>.json`` says what could not be processed, why, and since when. It holds up no other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cloud.dataset import layout
from cloud.dataset.index import JSON
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, ObjectNotFound
from edge_agent.segment import format_moment
from edge_agent.store import ObjectStore


class Parked(BaseModel):
    """Why a video is parked: ``error`` is the error's class, ``what`` and ``fix`` its words, ``since`` a UTC moment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    video: str
    etag: str
    settings: str
    error: str
    what: str
    fix: str
    since: str

    def to_json(self) -> bytes:
        return (self.model_dump_json(indent=1) + "\n").encode()


def read(store: ObjectStore, key: str) -> Parked | None:
    """The record at *key*, None when there is none, or none that can be read."""
    try:
        return Parked.model_validate_json(store.get(key).body)
    except (ObjectNotFound, ValidationError):
        return None


def park(
    store: ObjectStore, key: str, video: str, etag: str, settings: str, error: EdgeCaptureError, clock: Clock
) -> None:
    """Record that *video*, the object with the key *key* at its URI, failed with *error*.

    The same failure of the same version keeps the moment it was first seen.
    """
    place = layout.failed_key(key)
    found = read(store, place)
    since = format_moment(clock.now())
    record = Parked(
        video=video, etag=etag, settings=settings, error=error.code, what=error.what, fix=error.fix, since=since
    )
    if found is None or found != record.model_copy(update={"since": found.since}):
        store.put(place, record.to_json(), content_type=JSON)


def release(store: ObjectStore, key: str, video: str) -> bool:
    """Forget that *video*, with the key *key*, ever failed; another video of its name stays parked.

    True when there was something to forget. It may have been about a version that came just now: ask afterwards.
    """
    place = layout.failed_key(key)
    found = read(store, place)
    if found is None or found.video != video:
        return False
    store.delete(place)
    return True
