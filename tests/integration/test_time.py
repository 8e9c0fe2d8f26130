"""Clocks that are not set, cameras that tell the time, pictures that change their size: what ends up in names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent import spool as spool_module
from edge_agent.capture.report import STATUS
from edge_agent.durable import write_durably
from edge_agent.segment import Segment, SegmentName, Take
from edge_agent.spool import Spool
from edge_agent.store.directory import DirectoryStore
from edge_agent.upload.correction import HOLD_SECONDS
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.rows import State
from edge_agent.upload.uploader import Uploader
from tests.support.capture import YELLOW, capturing, job_for, record, recorded_in
from tests.support.clips import make_clip
from tests.support.clock import FakeClock
from tests.support.rtsp import rtsp_camera
from tests.support.upload import fresh_spool, names_in, publish, segment_of, videos_in
from tests.support.wait import until

WRONG = datetime(1970, 1, 1, 0, 10, tzinfo=UTC)  # what a box without a battery says after ten minutes
RIGHT = 1_795_000_000.0  # seconds the clock is then set by


class Crash(Exception):
    """The process ends here."""


def unset(spool: Spool, number: int, boot: str, monotonic: float, **changes: str) -> Segment:
    """A finished segment that began *monotonic* seconds into *boot*, with the clock not set."""
    body = f"body {number} ".encode()
    start = WRONG + timedelta(seconds=monotonic)
    name = SegmentName(YELLOW, str(Take("dock7", "cam1", start)))
    made = replace(segment_of(body), name=name, start=start, clock="unsynchronised", boot=boot, monotonic=monotonic)
    part = spool.reserve_name(name)
    part.write_bytes(body)
    spool.finish(part, made)
    return made


@contextmanager
def uploading(root: Path, spool: Spool, clock: FakeClock) -> Iterator[tuple[Uploader, Ledger]]:
    with Ledger(root / LEDGER_FILE) as ledger:
        (root / "store").mkdir(exist_ok=True)
        yield Uploader(spool, DirectoryStore(root / "store"), ledger, clock, "dock7", ("color", "object")), ledger


def stored(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "store" / "videos").rglob("*.mp4"))


def named(moment: datetime) -> str:
    return f"{SegmentName(YELLOW, str(Take('dock7', 'cam1', moment)))}.mp4"


def test_a_segment_made_before_the_clock_was_set_says_so_and_when_in_which_boot(tmp_path: Path) -> None:
    """Its sidecar has all that is needed to correct it later, also after a crash."""
    clock = FakeClock(WRONG)
    clock.is_synchronised = False
    recorded = record(job_for(tmp_path, "synthetic:?size=160x120&seconds=2"), clock=clock)
    (segment,) = recorded.segments
    assert (segment.clock, segment.boot) == ("unsynchronised", clock.boot)
    assert segment.start == WRONG + timedelta(seconds=segment.monotonic)


def test_segments_get_their_right_names_before_they_are_uploaded(tmp_path: Path) -> None:
    """Held while the clock is not set; corrected and uploaded once it is, in their order, under the right day."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG)
    clock.is_synchronised = False
    for number in range(3):
        unset(spool, number, clock.boot, 10.0 * number)
    clock.advance(40)
    with uploading(tmp_path, spool, clock) as (uploader, ledger):
        uploader.run_once()
        assert stored(tmp_path) == []
        clock.step(RIGHT)
        clock.is_synchronised = True
        uploader.run_once()
        assert ledger.counts()[State.EVICTED] == 0
    expected = [named(WRONG + timedelta(seconds=RIGHT + 10 * number)) for number in range(3)]
    assert stored(tmp_path) == expected
    kept = [spool.sidecar(spool.uploaded / name) for name in expected]
    assert [(segment.clock, segment.start) for segment in kept if segment] == [
        ("corrected", WRONG + timedelta(seconds=RIGHT + 10 * number)) for number in range(3)
    ]
    assert names_in(spool.ready) == []


def test_a_clock_that_is_never_set_holds_nothing_up_for_ever(tmp_path: Path) -> None:
    """After ten minutes a segment goes as it is."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG)
    clock.is_synchronised = False
    made = unset(spool, 0, clock.boot, 0.0)
    with uploading(tmp_path, spool, clock) as (uploader, _):
        clock.advance(HOLD_SECONDS)
        uploader.run_once()
        assert stored(tmp_path) == []
        clock.advance(made.duration + 1)
        uploader.run_once()
    assert stored(tmp_path) == [f"{made.name.stem}.mp4"]


def test_where_nobody_will_set_the_clock_nothing_waits(tmp_path: Path) -> None:
    """A machine without a time service, whose clock looks right, uploads at once."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock()
    clock.is_synchronised = clock.is_setting_expected = False
    made = unset(spool, 0, clock.boot, 0.0)
    with uploading(tmp_path, spool, clock) as (uploader, _):
        uploader.run_once()
    assert stored(tmp_path) == [f"{made.name.stem}.mp4"]


def test_a_segment_of_an_earlier_boot_goes_as_it_is(tmp_path: Path) -> None:
    """Nothing is known of when that boot was; guessing would be a lie."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock()
    made = unset(spool, 0, "another boot", 5.0)
    with uploading(tmp_path, spool, clock) as (uploader, _):
        uploader.run_once()
    assert stored(tmp_path) == [f"{made.name.stem}.mp4"]


def test_a_clock_that_was_right_all_along_changes_no_name(tmp_path: Path) -> None:
    """When the time service only confirms the clock, names stay."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG + timedelta(seconds=RIGHT))
    name = SegmentName(YELLOW, str(Take("dock7", "cam1", clock.now())))
    segment = replace(segment_of(b"x"), name=name, start=clock.now(), clock="unsynchronised", boot=clock.boot)
    part = spool.reserve_name(name)
    part.write_bytes(b"x")
    spool.finish(part, segment)
    with uploading(tmp_path, spool, clock) as (uploader, _):
        uploader.run_once()
    assert stored(tmp_path) == [f"{name.stem}.mp4"]
    kept = spool.sidecar(spool.uploaded / f"{name.stem}.mp4")
    assert kept is not None
    assert kept.clock == "synchronised"


def test_what_waited_for_the_network_longer_than_for_the_clock_is_corrected_too(tmp_path: Path) -> None:
    """A segment the ledger has already, but that was never sent, still gets its right name, and no tombstone."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG)
    clock.is_synchronised = clock.is_setting_expected = False
    with uploading(tmp_path, spool, clock) as (uploader, ledger):
        earlier = publish(spool)
        uploader.run_once()
        unset(spool, 0, clock.boot, 0.0)
        uploader.rescan()
        clock.step(RIGHT)
        clock.is_synchronised = True
        uploader.run_once()
        assert ledger.counts()[State.VERIFIED] == 2
        assert ledger.counts()[State.EVICTED] == 0
    assert stored(tmp_path) == sorted([f"{earlier.name.stem}.mp4", named(WRONG + timedelta(seconds=RIGHT))])


def test_on_a_new_box_too_what_was_never_sent_is_corrected(tmp_path: Path) -> None:
    """A ledger that begins empty cannot say that nothing was sent before it; that takes no segment its right name."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG)
    clock.is_synchronised = clock.is_setting_expected = False
    unset(spool, 0, clock.boot, 0.0)
    with uploading(tmp_path, spool, clock) as (uploader, ledger):
        uploader.rescan()
        clock.step(RIGHT)
        clock.is_synchronised = True
        uploader.run_once()
        assert ledger.counts()[State.VERIFIED] == 1
    assert stored(tmp_path) == [named(WRONG + timedelta(seconds=RIGHT))]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(12))
def test_a_crash_at_any_step_of_the_correction_loses_nothing_and_uploads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """Before and after every file operation of a correction: the next run ends with each segment stored once."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(WRONG)
    for which in range(2):
        unset(spool, which, clock.boot, 10.0 * which)
    clock.step(RIGHT)
    left = [number]

    def fail(operation: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named_arguments: object) -> object:
            left[0] -= 1
            if left[0] == -1 and not after:
                raise Crash
            result = operation(*arguments, **named_arguments)
            if left[0] == -1:
                raise Crash
            return result

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(spool_module, "write_durably", fail(write_durably))
        patched.setattr(os, "link", fail(os.link))
        patched.setattr(Path, "unlink", fail(Path.unlink))
        patched.setattr(Ledger, "renamed", fail(Ledger.renamed))
        with uploading(tmp_path, spool, clock) as (uploader, _), suppress(Crash):
            uploader.rescan()
    with uploading(tmp_path, spool, clock) as (uploader, ledger):
        uploader.run_once()
        assert ledger.counts()[State.VERIFIED] == 2
        assert sum(ledger.counts().values()) == 2
    assert stored(tmp_path) == [named(WRONG + timedelta(seconds=RIGHT + 10 * which)) for which in range(2)]
    assert names_in(spool.ready) == []
    assert len(videos_in(spool.uploaded)) == 2


def test_synchronised_segments_are_not_touched(tmp_path: Path) -> None:
    """What was recorded with the clock set goes at once, also while the clock is not trusted any more."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock()
    made = publish(spool)
    clock.is_synchronised = False
    with uploading(tmp_path, spool, clock) as (uploader, _):
        uploader.run_once()
    assert stored(tmp_path) == [f"{made.name.stem}.mp4"]


def test_a_camera_that_changes_its_size_gets_another_segment(tmp_path: Path) -> None:
    """The parameter sets in the packets tell; both segments hold all their frames and can be read."""
    small, large = make_clip(tmp_path / "small.ts"), make_clip(tmp_path / "large.ts", size=(320, 240))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    recorded = record(job_for(tmp_path, f"file:{both}"))
    sizes = [(segment.width, segment.height) for segment in recorded.segments]
    assert sizes == [(160, 120), (320, 240)]
    assert recorded.frames == [50, 50]
    assert [event.fields["reason"] for event in recorded.named("segment_closed")] == ["format_changed", "source_ended"]


def test_an_rtsp_cameras_sender_reports_are_believed_and_segments_follow_each_other(tmp_path: Path) -> None:
    """Against a real camera, also once it is read in handfuls: starts are a segment apart, as the clock says."""
    began = datetime.now(UTC)
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(), segment_seconds=1)) as capture:
        capture.wait_for("segment_closed", 9, 120.0)
        until(lambda: capture.events(STATUS)[-1].fields["healthy"], "it to be well")
        told = capture.events(STATUS)[-1].fields
        assert capture.stop() == 0
    assert told["camera_clock_ignored"] == 0
    assert told["picture"] in ("ok", "unknown")
    recorded = recorded_in(Spool(tmp_path / "spool"))
    assert sum(segment.frames for segment in recorded.segments) == len(recorded.packets)
    gaps = [
        abs((after.start - before.start).total_seconds() - before.duration)
        for before, after in pairwise(recorded.segments)
    ]
    # Two of them may be those to and from what came late, where the machine stood still.
    assert sorted(gaps)[-3] < 0.25
    assert began - timedelta(seconds=5) < recorded.segments[0].start < datetime.now(UTC)
