"""The handler: events of every route in, frames and manifest lines out, failures reported to whoever can retry them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from cloud.engine import EventHandler
from cloud.events import ObjectRef, s3_notification
from cloud.settings import Settings, StoreSettings
from edge_agent.errors import EventInvalid, NameInvalid, ObjectNotFound, VideoUnreadable
from edge_agent.store import ObjectStore
from edge_agent.store.s3 import S3Store
from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 22, 14, 31, 7, tzinfo=UTC)


def made(store: ObjectStore, raw: str | None = "raw") -> EventHandler:
    """A handler for which every store is *store*."""
    document = {"dataset": "dataset", "sampling": {"every": 100}, "sheet": {"tile_width": 64}}
    settings = Settings.model_validate({**document, **({"raw": raw} if raw else {})})
    return EventHandler(settings, FakeClock(), opener=lambda _: store)


def event(store: ObjectStore, key: str) -> dict[str, Any]:
    return s3_notification(ObjectRef(store.name, key, size=1, sequencer="00AA"), NOW)


def queued(*bodies: object) -> dict[str, Any]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    records = [{"messageId": f"m{i}", "eventSource": "aws:sqs", "body": text} for i, text in enumerate(texts)]
    return {"Records": records}


def bridged(store: ObjectStore, key: str) -> dict[str, Any]:
    detail = {"bucket": {"name": store.name}, "object": {"key": key, "size": 1, "sequencer": "00AA"}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def manifest(store: ObjectStore) -> bytes:
    return store.get("manifests/black_cup/undated.manifest").body


@pytest.mark.parametrize("route", ["direct", "bridge", "queue"])
def test_every_route_ends_in_the_same_lines(store: ObjectStore, black_cup: Path, route: str) -> None:
    """Directly, through EventBridge or through a queue: three frames, three lines."""
    store.put("videos/black_cup_1.mp4", black_cup)
    direct = event(store, "videos/black_cup_1.mp4")
    sent = {"direct": direct, "bridge": bridged(store, "videos/black_cup_1.mp4"), "queue": queued(direct)}[route]
    reply = made(store).handle(sent)
    assert reply == (
        {"batchItemFailures": []}
        if route == "queue"
        else {"videos": [{"uri": store.uri("videos/black_cup_1.mp4"), "outcome": "processed"}]}
    )
    assert manifest(store).count(b"\n") == 3


def test_only_the_bad_messages_of_a_batch_come_again(store: ObjectStore, black_cup: Path) -> None:
    """A gone object, rubbish and an unknown shape fail alone; the good message between them is done."""
    store.put("videos/black_cup_1.mp4", black_cup)
    store.put("videos/black_cup_2.mp4", b"no video" * 999)
    batch = queued(
        event(store, "videos/black_cup_9.mp4"),
        event(store, "videos/black_cup_1.mp4"),
        "nonsense",
        event(store, "videos/black_cup_2.mp4"),
    )
    assert made(store).handle(batch) == {
        "batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}, {"itemIdentifier": "m3"}]
    }
    assert manifest(store).count(b"\n") == 3


def test_a_direct_event_tries_all_records_then_raises(store: ObjectStore, black_cup: Path) -> None:
    """The first error is raised, so that the event comes again, but the other records were done."""
    store.put("videos/black_cup_1.mp4", black_cup)
    gone, there = event(store, "videos/black_cup_9.mp4"), event(store, "videos/black_cup_1.mp4")
    with pytest.raises(ObjectNotFound, match="gone"):
        made(store).handle({"Records": gone["Records"] + there["Records"]})
    assert manifest(store).count(b"\n") == 3


@pytest.mark.parametrize(
    "key", ["frames/black_cup_1/black_cup_1_000000.jpg", "videos/black_cup_1.json", "other/black_cup_1.mp4"]
)
def test_objects_that_are_no_landed_videos_are_ignored(store: ObjectStore, key: str) -> None:
    """What the handler itself writes, sidecars, and videos elsewhere start nothing, though none of them exists."""
    assert made(store).handle(event(store, key)) == {"videos": []}


def test_one_line_is_logged_for_each_video(store: ObjectStore, black_cup: Path) -> None:
    """A processed video and a failed one are one fact each, with what a person looks for."""
    store.put("videos/black_cup_1.mp4", black_cup)
    with structlog.testing.capture_logs() as logged:
        made(store).handle(queued(event(store, "videos/black_cup_1.mp4"), event(store, "videos/a_b_2.mp4"), "{}"))
    assert [line["event"] for line in logged] == ["video_processed", "video_failed", "event_refused"]
    assert (logged[0]["key"], logged[0]["lines"], logged[0]["lost"]) == ("videos/black_cup_1.mp4", 3, 0)
    assert (logged[1]["error"], logged[1]["key"]) == ("ObjectNotFound", "videos/a_b_2.mp4")


def test_another_bucket_than_the_configured_is_refused(store: ObjectStore) -> None:
    """An event about a store that is not the raw one is a clear error, not a lookup in the wrong place."""
    sent = s3_notification(ObjectRef("elsewhere", "videos/black_cup_1.mp4"), NOW)
    with pytest.raises(EventInvalid, match=f"'elsewhere', and the raw store is '{store.name}'"):
        made(store).handle(sent)


def test_without_a_raw_store_the_events_bucket_is_opened(s3_store: S3Store, black_cup: Path) -> None:
    """A function without a configured raw store takes videos from the bucket an event names, at the same provider."""
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    opened: list[StoreSettings] = []

    def opener(settings: StoreSettings) -> ObjectStore:
        opened.append(settings)
        return s3_store

    settings = Settings.model_validate({"dataset": {"url": "s3://dataset", "endpoint_url": "http://127.0.0.1:1"}})
    EventHandler(settings, FakeClock(), opener=opener).handle(event(s3_store, "videos/black_cup_1.mp4"))
    assert [(found.url, found.endpoint_url) for found in opened] == [
        (f"s3://{s3_store.name}", "http://127.0.0.1:1"),
        ("s3://dataset", "http://127.0.0.1:1"),
    ]


@pytest.mark.parametrize(
    ("key", "content", "error"),
    [("videos/black_cup_1.mp4", b"rubbish" * 99, VideoUnreadable), ("videos/cup.mp4", b"x", NameInvalid)],
)
def test_bad_videos_are_one_clear_line(store: ObjectStore, key: str, content: bytes, error: type[Exception]) -> None:
    """What cannot be processed names itself and the reason in one line."""
    store.put(key, content)
    with pytest.raises(error) as caught:
        made(store).handle(event(store, key))
    assert key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def deletion(store: ObjectStore, key: str) -> dict[str, Any]:
    record = event(store, key)["Records"][0]
    return {"Records": [{**record, "eventName": "ObjectRemoved:Delete"}]}


def test_a_removed_video_leaves_no_lines(store: ObjectStore, black_cup: Path) -> None:
    """The event of a deletion takes out what was made of the video, unless the video is there again."""
    store.put("videos/black_cup_1.mp4", black_cup)
    handler = made(store)
    handler.handle(event(store, "videos/black_cup_1.mp4"))
    assert handler.handle(deletion(store, "videos/black_cup_1.mp4"))["videos"][0]["outcome"] == "unchanged"
    assert manifest(store).count(b"\n") == 3
    store.delete("videos/black_cup_1.mp4")
    assert handler.handle(deletion(store, "videos/black_cup_1.mp4"))["videos"][0]["outcome"] == "removed"
    assert not [info.key for info in store.list("frames/")]
    assert not [info for info in store.list("manifests/") if info.size]
