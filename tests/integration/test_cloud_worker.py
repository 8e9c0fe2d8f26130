"""Real workers on a real queue: S3 announces videos, workers die, are stopped, lose the link, and nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from cloud.bell import Bell, PatientBell, Stopped
from cloud.engine import EventHandler
from cloud.queue import Letter, Queue
from cloud.settings import Settings
from cloud.watch import notification
from cloud.worker import Heartbeat, Worker
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid, ContainerMissing, ObjectNotFound, StoreUnreachable
from edge_agent.store import ObjectInfo
from edge_agent.store.s3 import S3Store
from tests.support.clips import make_clip
from tests.support.clock import FakeClock
from tests.support.forwarding import forwarding
from tests.support.http_server import Answer, Request
from tests.support.queueing import Queued, logged, make_queue
from tests.support.wait import until

SETTINGS = Settings.model_validate({"raw": "x", "dataset": "x", "sampling": {"every": 100}})


@pytest.fixture
def queued(s3_store: S3Store, moto_endpoint: str) -> Iterator[Queued]:
    made = make_queue(s3_store, moto_endpoint)
    yield made
    made.sqs.close()


@pytest.fixture
def queue(queued: Queued) -> Iterator[Queue]:
    made = Queue(queued.url)
    yield made
    made.close()


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """Many frames to store, so that a kill finds a worker in the middle of them."""
    return make_clip(tmp_path / "long.mp4", frames=160, gop=40)


class Gate:
    """Lets so many *frames* into the bucket; whoever brings the next one waits there until :meth:`open`."""

    def __init__(self, frames: int) -> None:
        self.reached = threading.Event()
        self._frames = itertools.count(1 - frames)
        self._open = threading.Event()
        self._answer: Answer | None = None

    def __call__(self, request: Request) -> Answer | None:
        if request.method == "PUT" and "/frames/" in request.path and next(self._frames) > 0:
            self.reached.set()
            assert self._open.wait(60)
            return self._answer
        return None

    def open(self) -> None:
        self._open.set()

    def shut(self) -> None:
        """Whoever waits goes in no more."""
        self._answer = Answer(503)
        self._open.set()


@contextmanager
def gated(queued: Queued, gate: Gate) -> Iterator[tuple[Gate, Queued]]:
    """*queued* as it is seen through *gate*."""
    with forwarding(queued.endpoint, gate) as url:
        yield gate, replace(queued, endpoint=url, url=url + urlsplit(queued.url).path)


def working(store: S3Store, queue: Queue, bell: Bell | None = None) -> Worker:
    bell = bell or Bell()
    handler = EventHandler(SETTINGS, SystemClock(), bell.check, opener=lambda _: store)
    return Worker(queue, handler, SystemClock(), bell)


@pytest.mark.parametrize("bridge", [False, True], ids=["s3", "event-bridge"])
def test_what_lands_is_processed_and_the_queue_is_empty(
    s3_store: S3Store, moto_endpoint: str, black_cup: Path, tmp_path: Path, bridge: bool
) -> None:
    """A put into the bucket alone, through S3's notification or EventBridge, ends in manifest lines."""
    queued = make_queue(s3_store, moto_endpoint, bridge=bridge)
    s3_store.put("videos/dock7/black_cup_1.mp4", black_cup)
    until(queued.waiting, "the notification")
    log = tmp_path / "log"
    with queued.worker(log, every=100) as process:
        until(lambda: queued.empty, "the queue to be empty", 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert s3_store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 3
    assert "video_processed" in logged(log)
    queued.sqs.close()


def test_a_killed_workers_video_is_done_by_another_to_the_byte(queued: Queued, long_clip: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a video: the message comes back, and everything is as if nothing had happened."""
    log, store = tmp_path / "log", queued.store
    store.put("videos/dock7/black_cup_1.mp4", long_clip)
    with queued.worker(log, every=2):
        until(lambda: queued.empty, "an undisturbed run", 60)
    clean = queued.derived()
    assert len(clean) == 80 + 3
    queued.forget()
    event = notification(store.name, store.head("videos/dock7/black_cup_1.mp4"))
    queued.sqs.send_message(QueueUrl=queued.url, MessageBody=json.dumps(event))
    with gated(queued, Gate(6)) as (gate, through), through.worker(log, "--visibility", "3", every=2) as process:
        assert gate.reached.wait(60)
        process.kill()
        process.wait()
        gate.shut()
    assert not list(store.list("manifests/"))
    assert queued.held() == 1
    with queued.worker(log, "--visibility", "3", every=2):
        until(lambda: queued.empty, "the video to be done after all", 60)
    assert queued.derived() == clean


def test_one_process_of_several_may_die(queued: Queued, black_cup: Path, tmp_path: Path) -> None:
    """A killed worker process is replaced, and SIGTERM ends all of them with status 0."""
    log = tmp_path / "log"
    with queued.worker(log, "--processes", "2", every=100) as process:
        parent = psutil.Process(process.pid)

        def workers() -> list[psutil.Process]:
            found = []
            for child in parent.children():
                with suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        found.append(child)
            return found

        until(lambda: len(workers()) == 2, "two workers")
        os.kill(workers()[0].pid, signal.SIGKILL)
        until(lambda: "worker_died" in logged(log), "its death to be noticed")
        until(lambda: len(workers()) == 2, "its successor")
        queued.store.put("videos/black_cup_1.mp4", black_cup)
        until(lambda: queued.empty and list(queued.store.list("manifests/")), "the video to be done", 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not parent.is_running()


@pytest.mark.parametrize("drain", ["60", "0"])
def test_sigterm_finishes_the_video_or_gives_it_back(
    queued: Queued, long_clip: Path, tmp_path: Path, drain: str
) -> None:
    """Within the time to drain the video is finished; after it the message is there for others at once."""
    log, store = tmp_path / "log", queued.store
    store.put("videos/dock7/black_cup_1.mp4", long_clip)
    with gated(queued, Gate(6)) as (gate, through), through.worker(log, "--drain", drain, every=1) as process:
        assert gate.reached.wait(60)
        process.send_signal(signal.SIGTERM)
        gate.open()
        assert process.wait(60) == 0
    if drain == "0":
        assert (queued.waiting(), list(store.list("manifests/"))) == (1, [])
        assert logged(log)[-1] == "video_given_back"
    else:
        assert queued.empty
        assert store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 160


def test_a_video_that_takes_long_stays_hidden(queued: Queued, queue: Queue) -> None:
    """The heartbeat keeps a message from others for longer than it was hidden at first; the end of it gives it back.

    Tried again only where this process itself stood still: then nobody said in time that it is to stay hidden.
    """
    queued.sqs.send_message(QueueUrl=queued.url, MessageBody="{}")
    clock = SystemClock()
    for _ in range(5):
        letter = until(lambda: queue.receive(1, 4), "the message")
        assert letter is not None
        with Heartbeat(queue, letter, clock, 4):
            looks = [clock.monotonic()]
            while not (came := queued.waiting()) and looks[-1] - looks[0] < 6:
                looks.append(clock.monotonic())
        if not came or max(later - look for look, later in itertools.pairwise(looks)) < 1:
            break
    assert not came
    until(queued.waiting, "the message to come back")


def test_poison_goes_to_the_dead_letters_and_holds_up_no_other(
    s3_store: S3Store, moto_endpoint: str, black_cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is tried as often as the queue says, while others are done; then it is a dead letter."""
    monkeypatch.setattr("cloud.worker.back_off", lambda _: 0)
    queued = make_queue(s3_store, moto_endpoint, receives=2)
    queue = Queue(queued.url)
    s3_store.put("videos/black_cup_2.mp4", b"rubbish" * 99)
    queued.sqs.send_message(QueueUrl=queued.url, MessageBody="no event at all")
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    worker = working(s3_store, queue)
    while not queued.empty:
        worker.run_once()
    assert queued.waiting(queued.dead) == 2
    assert s3_store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 3
    assert [info.key for info in s3_store.list("failed/")]
    queue.close()
    queued.sqs.close()


class Away(S3Store):
    """A bucket that cannot be reached while it is told so."""

    down = True

    def head(self, key: str) -> ObjectInfo:
        if self.down:
            self.down = False
            raise StoreUnreachable("no route", where=key)
        return super().head(key)


def test_an_outage_of_the_store_gives_the_message_back_and_pauses(
    queued: Queued, queue: Queue, black_cup: Path, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the link counts against no video: the worker waits, then does it."""
    monkeypatch.setattr("cloud.worker.back_off", lambda _: 0.2)
    store = Away(queued.store.name, endpoint_url=moto_endpoint, region="us-east-1")
    queued.store.put("videos/black_cup_1.mp4", black_cup)
    worker = working(store, queue)
    with pytest.raises(StoreUnreachable):
        worker.run_once()
    assert queued.waiting() == 1
    assert worker.run_once()
    assert queued.empty
    store.close()


def test_a_worker_outlives_its_queue_and_its_credentials(queued: Queued, black_cup: Path) -> None:
    """A queue that is away, and keys that are refused, are waited for with growing pauses."""
    clock, bell = FakeClock(), Bell()
    failures = [StoreUnreachable("no route"), ContainerMissing("no such queue"), StoreUnreachable("no route")]

    class Troubled(Queue):
        def receive(self, wait: int, visibility: int) -> Letter | None:
            if failures:
                raise failures.pop()
            bell.stop()
            return super().receive(0, visibility)

    queued.store.put("videos/black_cup_1.mp4", black_cup)
    queue = Troubled(queued.url)
    handler = EventHandler(SETTINGS, clock, opener=lambda _: queued.store)
    Worker(queue, handler, clock, bell, 3600).run()
    assert clock.monotonic() >= 1 + 2 + 4
    assert queued.empty
    queue.close()


def test_a_queue_says_what_is_wrong_in_one_line(queued: Queued, queue: Queue) -> None:
    """No queue, no URL, and a message that is somebody else's by now are errors of ours."""
    absent = Queue(queued.url + "-absent")
    with pytest.raises(ContainerMissing, match="no such queue; create it"):
        absent.receive(0, 30)
    absent.close()
    for url in ("videos", "ftp://host/1/videos", "https://host/videos"):
        with pytest.raises(ConfigInvalid, match="is no queue URL"):
            Queue(url)
    queued.sqs.send_message(QueueUrl=queued.url, MessageBody="{}")
    letter = queue.receive(0, 30)
    assert letter is not None
    assert (letter.body, letter.receives) == ("{}", 1)
    queue.delete(letter)
    with pytest.raises(ObjectNotFound, match="somebody else"):
        queue.hide(letter, 30)


def test_a_patient_bell_counts_from_the_first_stop() -> None:
    """Until the grace is over nothing ends the video at hand; being told twice takes none of it away."""
    clock = FakeClock()
    bell = PatientBell(clock, 20)
    clock.advance(100)
    bell.check()
    bell.stop()
    clock.advance(15)
    bell.stop()
    bell.check()
    assert bell.stopping
    clock.advance(5)
    with pytest.raises(Stopped):
        bell.check()
