"""Faults before and after each side effect of an upload: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import EdgeCaptureError, StoreThrottled, StoreUnreachable
from edge_agent.segment import Segment, video_key
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.report import Happened
from edge_agent.upload.rows import State
from tests.support import upload_process
from tests.support.upload import Rig, StoreBetween, body_of, fresh_spool, names_in, publish, videos_in

ROOT = Path(__file__).parents[2]


class PowerCut(BaseException):
    """Ends the uploader as a kill would: nothing of its own may handle it."""


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


def assert_all_arrived_once(spool: Spool, store: ObjectStore, segments: list[Segment]) -> None:
    """One object per segment with its bytes, every file in uploaded/ with its sidecar, nothing anywhere else."""
    assert sorted(info.key for info in store.list()) == sorted(video_key(segment) for segment in segments)
    for number, segment in enumerate(segments):
        assert store.get(video_key(segment)).body == body_of(number)
        assert spool.sidecar(spool.uploaded / f"{segment.name}.mp4") == segment
    assert len(names_in(spool.uploaded)) == 2 * len(segments)
    assert names_in(spool.ready) == names_in(spool.failed) == []


def test_an_uploader_killed_again_and_again_stores_every_segment_once(spool: Spool, tmp_path: Path) -> None:
    """Ten SIGKILLs in the middle of the work: exactly one object per segment, every file in uploaded/, none failed."""
    segments: list[Segment] = []
    (tmp_path / "store").mkdir()
    command = [sys.executable, upload_process.__file__, str(spool.root), str(tmp_path / "store")]
    dice, killed = random.Random(7), 0
    final = False
    while not final:
        final = killed == 10
        while not final and len(videos_in(spool.ready)) < 60:
            segments.append(publish(spool, len(segments)))
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdout is not None
            seen, wanted = 0, dice.randint(1, 12)
            while line := process.stdout.readline():
                seen += line.startswith(b"segment_uploaded")
                if seen >= wanted and not final:
                    process.kill()
                    break
            process.stdout.read()
        assert process.returncode in (0, -9)  # it may have been through before the kill came
        killed += process.returncode == -9
    assert killed == 10
    assert process.returncode == 0
    assert_all_arrived_once(spool, DirectoryStore(tmp_path / "store"), segments)
    with Ledger(spool.root / LEDGER_FILE) as ledger:
        assert ledger.counts()[State.VERIFIED] == len(segments)
        assert ledger.torn is None


class CutLedger(Ledger):
    """Loses power at a chosen note, before or after it is written."""

    cut = ""

    def uploading(self, stem: str, now: float) -> None:
        cut_at(self.cut, "before uploading")
        super().uploading(stem, now)
        cut_at(self.cut, "after uploading")

    def verified(self, stem: str, now: float, *, key: str, size: int, checksum: str, etag: str = "") -> None:
        cut_at(self.cut, "before verified")
        super().verified(stem, now, key=key, size=size, checksum=checksum, etag=etag)
        cut_at(self.cut, "after verified")

    def quarantined(self, stem: str, error: EdgeCaptureError, now: float) -> None:
        cut_at(self.cut, "before quarantined")
        super().quarantined(stem, error, now)
        cut_at(self.cut, "after quarantined")


class CutStore(StoreBetween):
    """Loses power before or after the put."""

    cut = ""

    def before_put(self, key: str) -> None:
        cut_at(self.cut, "before put")

    def after_put(self, key: str) -> None:
        cut_at(self.cut, "after put")


def cut_at(wanted: str, here: str) -> None:
    if wanted == here:
        raise PowerCut(here)


def run_with_cut(spool: Spool, store: ObjectStore, cut: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """An uploader that loses power at *cut*, then one that does not: objects before the second one, and its puts."""
    between = CutStore(store)
    with monkeypatch.context() as patch:
        between.cut = cut
        patch.setattr(CutLedger, "cut", cut)
        patch.setattr("tests.support.upload.Ledger", CutLedger)
        with Rig(spool, between) as rig, pytest.raises(PowerCut):
            rig.run_until_empty()
    there = len(list(store.list()))
    after = StoreBetween(store)
    with Rig(spool, after) as rig:
        rig.run_until_empty()
        assert list(rig.ledger.waiting()) == []
    return there, after.calls.get("put_if_absent", 0)


@pytest.mark.parametrize(
    ("cut", "puts_again"),
    [
        ("before uploading", 3),
        ("after uploading", 3),
        ("before put", 3),
        ("after put", 2),
        ("before verified", 2),
        ("after verified", 2),
    ],
)
def test_power_lost_at_any_step_costs_at_most_the_step(
    spool: Spool, store: ObjectStore, cut: str, puts_again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step the power fails at, the next start finishes the work, and sends nothing the store has."""
    segments = [publish(spool, number) for number in range(3)]
    there, puts = run_with_cut(spool, store, cut, monkeypatch)
    # What was handed out ahead may have arrived before the power went.
    assert puts == len(segments) - there <= puts_again
    assert_all_arrived_once(spool, store, segments)


@pytest.mark.parametrize("step", range(12))
def test_power_lost_inside_the_move_to_uploaded_leaves_nothing_half(
    spool: Spool, directory_store: DirectoryStore, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever within the move the power fails, file and sidecar end up together, once."""
    segments = [publish(spool, number) for number in range(2)]
    done = 0

    def counted(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if any("uploaded" in str(argument) or "/ready/" in str(argument) for argument in arguments[:2]):
                if done == step:
                    raise PowerCut(name)
                done += 1
            return original(*arguments, **options)

        patch.setattr(os, name, call)

    with monkeypatch.context() as patch, Rig(spool, directory_store) as rig:
        counted("link")
        counted("unlink")
        try:
            rig.run_until_empty()
        except PowerCut:
            assert done == step
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 2
    assert_all_arrived_once(spool, directory_store, segments)


@pytest.mark.parametrize("cut", ["before quarantined", "after quarantined"])
def test_power_lost_while_a_poison_file_is_set_aside_is_made_good(
    spool: Spool, directory_store: DirectoryStore, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poison file ends in failed/ with its reason, and the segments arrive."""
    (spool.ready / "yellow_box_1.mp4").write_bytes(b"no video")
    segments = [publish(spool, number) for number in range(2)]
    run_with_cut(spool, directory_store, cut, monkeypatch)
    assert names_in(spool.failed) == ["yellow_box_1.mp4", "yellow_box_1.mp4.reason"]
    shutil.rmtree(spool.failed)
    spool.failed.mkdir()
    assert_all_arrived_once(spool, directory_store, segments)


class LostReply(StoreBetween):
    """Stores the object, then loses the reply of the first *losses* puts."""

    losses = 1

    def after_put(self, key: str) -> None:
        if self.calls["put_if_absent"] <= self.losses:
            raise StoreUnreachable("connection reset", where=self.uri(key))


def test_a_lost_reply_stores_exactly_one_object(spool: Spool, store: ObjectStore) -> None:
    """A put whose reply is lost is found done: one object, no conflict, and the bytes are not sent again."""
    segments = [publish(spool, number) for number in range(2)]
    between = LostReply(store)
    with Rig(spool, between) as rig:
        rig.run_until_empty()
        assert [row.attempts for row in rig.ledger.recent(2)] == [0, 0]
    assert between.calls["put_if_absent"] == 2
    assert rig.happened(Happened.CONFLICTED) == []
    assert len(rig.happened(Happened.POSTPONED)) == 1
    assert_all_arrived_once(spool, store, segments)


class Stormy(StoreBetween):
    """Fails as *weather* says, call by call: not at all, before the put, or after it."""

    weather: list[str]
    now = "fair"

    def before_put(self, key: str) -> None:
        self.now = self.weather.pop() if self.weather else "fair"
        if self.now == "before":
            raise StoreThrottled("slow down", where=self.uri(key))

    def after_put(self, key: str) -> None:
        if self.now == "after":
            raise StoreUnreachable("connection reset", where=self.uri(key))


@settings(max_examples=40)
@given(weather=st.lists(st.sampled_from(["fair", "before", "after"]), max_size=20))
def test_any_weather_of_the_link_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, weather: list[str]
) -> None:
    """Whatever order the link fails in, every segment becomes exactly one object."""
    root = tmp_path_factory.mktemp("weather")
    spool = fresh_spool(root / "spool")
    (root / "store").mkdir()
    segments = [publish(spool, number) for number in range(4)]
    between = Stormy(DirectoryStore(root / "store"))
    between.weather = list(weather)
    with Rig(spool, between) as rig:
        rig.run_until_empty()
    assert_all_arrived_once(spool, between.inner, segments)


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_a_lost_ledger_is_rebuilt_and_nothing_is_sent_twice(spool: Spool, store: ObjectStore, damage: str) -> None:
    """With the ledger torn or gone, the spool says what waits and the store what it has: only the rest is sent."""
    segments = [publish(spool, number) for number in range(4)]
    for number in (0, 2):
        store.put_if_absent(
            video_key(segments[number]),
            body_of(number),
            content_type="video/mp4",
            metadata=segments[number].to_metadata(),
        )
    if damage == "torn":
        (spool.root / LEDGER_FILE).write_bytes(b"\0torn" * 1000)
    between = StoreBetween(store)
    with Rig(spool, between) as rig:
        assert (rig.ledger.torn is not None) == (damage == "torn")
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == 4
    assert between.calls["put_if_absent"] == 2
    assert_all_arrived_once(spool, store, segments)


def test_a_file_that_fails_like_a_link_does_not_hold_the_others_up(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """One object the store never answers for: the breaker opens, yet every other segment gets its turn."""
    segments = [publish(spool, number) for number in range(5)]
    stuck = video_key(segments[0])

    class Blackhole(StoreBetween):
        def before_put(self, key: str) -> None:
            if key == stuck and self.count("stuck") <= 6:
                raise StoreUnreachable("timed out", where=key)

    with Rig(spool, Blackhole(directory_store)) as rig:
        rig.run_until_empty()
    order = [event.stem for event in rig.happened(Happened.UPLOADED)]
    assert order[-1] == segments[0].name.stem
    assert sorted(order) == [segment.name.stem for segment in segments]
    assert videos_in(spool.ready) == []
