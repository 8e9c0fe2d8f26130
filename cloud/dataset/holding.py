"""Who may say what was made of a video: compare-and-swap on its ``index/<stem>.json``.

A worker claims the record before it touches a frame and seals it when all are there; each step replaces exactly what
the worker saw before. So of racing workers the last to claim wins, the others learn of it at their next step, and two
new videos of one name are seen before the second overwrites a frame. A worker that dies leaves its claim: whoever
handles the event next goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud.dataset.index import JSON, Claim, Origins, VideoFacts, VideoIndex
from edge_agent.errors import ObjectExists, ObjectNotFound, PreconditionFailed
from edge_agent.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Held:
    """What stands at an index key: nothing (``etag`` None), the record of ``video``, finished if ``index`` is there."""

    etag: str | None = None
    body: bytes = b""
    video: VideoFacts | None = None
    index: VideoIndex | None = None


def look(store: ObjectStore, key: str) -> Held:
    """What stands at *key* now."""
    try:
        found = store.get(key)
    except ObjectNotFound:
        return Held()
    return Held(found.info.etag, found.body, Origins.video_in(found.body), VideoIndex.from_json(found.body))


def is_still(store: ObjectStore, key: str, etag: str | None) -> bool:
    """Whether *key* has *etag*, and None means that nothing is there."""
    try:
        return store.head(key).etag == etag
    except ObjectNotFound:
        return etag is None


def claim(store: ObjectStore, key: str, held: Held, wanted: Claim) -> str | None:
    """Replace *held* by the claim; its ETag, None when somebody was faster. An equal claim is joined, not written."""
    body = wanted.to_json()
    return held.etag if held.body == body else _swap(store, key, held.etag, body)


def seal(store: ObjectStore, key: str, etag: str, index: VideoIndex) -> str | None:
    """Replace the claim with *etag* by *index*; its ETag, None when the claim was taken over.

    Others at work on the same version under the same settings make the same frames: that they sealed it, or began
    anew, is no loss of the claim.
    """
    body = index.to_json()
    sealed = _swap(store, key, etag, body)
    if sealed is None:
        now = look(store, key)
        if now.body == body:
            return now.etag
        if now.body == index.claim.to_json() and now.etag is not None:
            return _swap(store, key, now.etag, body)
    return sealed


def _swap(store: ObjectStore, key: str, etag: str | None, body: bytes) -> str | None:
    try:
        if etag is None:
            return store.put_if_absent(key, body, content_type=JSON).etag
        return store.put_if_match(key, body, etag, content_type=JSON).etag
    except (ObjectExists, PreconditionFailed):
        return None
