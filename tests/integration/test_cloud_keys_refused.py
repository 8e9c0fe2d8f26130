"""A worker whose keys stop to count in the middle of a video."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog

from cloud.bell import Bell
from cloud.engine import EventHandler
from cloud.queue import Queue
from cloud.settings import Settings
from cloud.worker import Worker
from edge_agent.clock import SystemClock
from edge_agent.store.s3 import S3Store
from tests.support.clips import make_clip
from tests.support.forwarding import forwarding
from tests.support.http_server import Answer, Request
from tests.support.queueing import Queued, make_queue
from tests.support.wait import until

XML = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
JSON = b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The provided token has expired."}'


class Door:
    """Refuses the keys ``old`` from frame number *after* on; when it has done so *times* times, there are new ones."""

    def __init__(self, after: int, times: int) -> None:
        self.frames = self.refused = 0
        self._after, self._times = after, times

    def __call__(self, request: Request) -> Answer | None:
        self.frames += request.method == "PUT" and "/frames/" in request.path
        if self.frames < self._after or "Credential=old/" not in request.headers.get("authorization", ""):
            return None
        self.refused += 1
        if self.refused == self._times:
            os.environ["AWS_ACCESS_KEY_ID"] = "new"  # put back by the fixture
        if "x-amz-target" in request.headers:
            return Answer(400, JSON, {"Content-Type": "application/x-amz-json-1.0"})
        return Answer(400, XML, {"Content-Type": "application/xml"})


@pytest.fixture
def queued(s3_store: S3Store, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queued]:
    made = make_queue(s3_store, moto_endpoint, receives=3)
    s3_store.client  # noqa: B018 - with the keys of before
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "old")
    monkeypatch.setattr("cloud.worker.back_off", lambda _: 0.05)
    monkeypatch.setattr("cloud.worker.POLL_SECONDS", 0)
    yield made
    made.sqs.close()


def test_refused_keys_are_said_once_and_waited_for(queued: Queued, moto_endpoint: str, tmp_path: Path) -> None:
    """The video comes again and is done with the new keys; of all the refusals in between one line tells."""
    queued.store.put("videos/black_cup_1.mp4", make_clip(tmp_path / "clip.mp4", frames=40, gop=10))
    bell, door = Bell(), Door(after=8, times=12)
    with forwarding(moto_endpoint, door) as url:
        store = S3Store(queued.store.name, endpoint_url=url, region="us-east-1")
        queue = Queue(url + urlsplit(queued.url).path)
        settings = Settings.model_validate({"raw": "x", "dataset": "x", "sampling": {"every": 2}})
        handler = EventHandler(settings, SystemClock(), bell.check, opener=lambda _: store)
        thread = threading.Thread(target=Worker(queue, handler, SystemClock(), bell, visibility=2).run)
        with structlog.testing.capture_logs() as logged:
            thread.start()
            until(lambda: queued.empty or not thread.is_alive(), "the video to be done", 60)
            bell.stop()
            thread.join()
        queue.close()
        store.close()
    assert door.refused == 12
    assert queued.waiting(queued.dead) == 0
    assert queued.store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 20
    events = [line["event"] for line in logged if line["event"] != "heartbeat_failed"]
    assert events[:2] == ["video_failed", "worker_waits"]
    assert sorted(events[2:]) == ["video_processed", "worker_goes_on"]  # it may go on before the video is there again
    waits = next(line for line in logged if line["event"] == "worker_waits")
    assert waits["error"] == "CredentialsRefused"
    assert "The provided token has expired" in waits["reason"]
    assert "\n" not in waits["reason"]
