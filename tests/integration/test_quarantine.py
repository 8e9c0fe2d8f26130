"""What was set aside comes back, whole, once somebody says so; what waits is tried again when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.quarantine import chosen, quarantined, release, show
from edge_agent.spool import Spool
from edge_agent.upload.errands import Errands
from edge_agent.upload.foreign import Foreign
from edge_agent.upload.requests import Requests
from tests.support.disk import Disk, PowerCut
from tests.support.upload import DEVICE, FIELDS, fresh_spool, names_in, publish, videos_in
from tests.support.wait import until


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


def _fail(spool: Spool, number: int = 0) -> str:
    stem = publish(spool, number).name.stem
    spool.fail(spool.ready / f"{stem}.mp4", "is not the file its sidecar tells of")
    return stem


def test_what_was_set_aside_is_listed_with_its_reason(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file once, with the reason that stands beside it; sidecars and reasons are no files of their own."""
    stem = _fail(spool)
    (spool.failed / "holiday.mov").write_bytes(b"x")
    first, second = quarantined(spool)
    assert (first.stem, first.bytes, first.reason) == ("holiday.mov", 1, "")
    assert (second.stem, second.reason) == (stem, "is not the file its sidecar tells of")
    show([first, second])
    assert stem in capsys.readouterr().out


def test_a_released_segment_is_ready_again(spool: Spool) -> None:
    """Video and sidecar are back in ready/, the reason is gone, and nothing is left in failed/."""
    stem = _fail(spool)
    (item,) = quarantined(spool)
    video = release(spool, item)
    assert video == spool.ready / f"{stem}.mp4"
    assert spool.sidecar(video) is not None
    assert not names_in(spool.failed)


def test_a_release_overwrites_nothing(spool: Spool) -> None:
    """With another file of that name in ready/ it is refused, and both files stay."""
    stem = _fail(spool)
    (spool.ready / f"{stem}.mp4").write_bytes(b"another")
    (item,) = quarantined(spool)
    with pytest.raises(SpoolUnusable, match="another file of that name"):
        release(spool, item)
    assert (spool.ready / f"{stem}.mp4").read_bytes() == b"another"
    assert videos_in(spool.failed) == [f"{stem}.mp4"]


def test_a_release_that_is_cut_off_is_ended_by_the_next(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step it stops at, and even if the uploader was faster, a second release ends with one file."""
    step, total = 0, None
    while total is None or step < total:
        for path in [*spool.ready.iterdir(), *spool.uploaded.iterdir()]:
            path.unlink()
        stem = _fail(spool)
        content = (spool.failed / f"{stem}.mp4").read_bytes()
        with monkeypatch.context() as patch:
            disk = Disk(patch, step)
            try:
                release(spool, quarantined(spool)[0])
                total = len(disk.steps)
            except PowerCut:
                pass
        if step % 2 and (spool.ready / f"{stem}.mp4").exists():
            spool.keep_uploaded(spool.ready / f"{stem}.mp4")
        for item in quarantined(spool):
            release(spool, item)
        there = [path for path in (*spool.ready.iterdir(), *spool.uploaded.iterdir()) if path.suffix == ".mp4"]
        assert [path.read_bytes() for path in there] == [content]
        assert spool.sidecar(there[0]) is not None
        assert not videos_in(spool.failed)
        for path in spool.failed.iterdir():
            path.unlink()
        step += 1
    assert step > 4


def test_only_what_is_there_can_be_released(spool: Spool) -> None:
    """A stem or file name picks its file; one that is not there is refused with its name before any is moved."""
    stem = _fail(spool)
    items = quarantined(spool)
    assert chosen(items, None) == chosen(items, [stem]) == chosen(items, [f"{stem}.mp4"]) == items
    with pytest.raises(NameInvalid, match="blue_box_9"):
        chosen(items, [stem, "blue_box_9"])


def test_a_request_reaches_the_uploader_once(tmp_path: Path, spool: Spool) -> None:
    """A retry asked for while nobody runs is obeyed at the start, later ones within a second, each once."""
    asked: list[object] = []
    requests = Requests(tmp_path / "state")
    requests.retry(["b", "a"])
    clock = SystemClock()
    errands = Errands(Foreign((), spool, clock, DEVICE, FIELDS), requests, asked.append, clock, 30.0)
    with errands.running():
        until(lambda: asked == [("a", "b")], "the first request")
        requests.retry(None)
        until(lambda: asked == [("a", "b"), None], "the second request")
    assert not names_in(tmp_path / "state" / "requests")


def test_a_request_that_is_none_does_no_harm(tmp_path: Path) -> None:
    """A damaged file among the requests is forgotten, with nothing tried."""
    requests = Requests(tmp_path)
    requests.retry(None)
    (next((tmp_path / "requests").iterdir())).write_bytes(b"{torn")
    asked: list[object] = []
    assert requests.answer(asked.append) == 1
    assert asked == [()]
    assert not names_in(tmp_path / "requests")
