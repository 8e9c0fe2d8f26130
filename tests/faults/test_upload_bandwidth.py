"""What an upload takes of the link: no more than it may, nothing while it is paused, and all of it in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.control.commands import PauseUpload, ResumeUpload
from edge_agent.control.desired import DesiredState
from edge_agent.store.s3 import S3Store
from tests.support.proxy import Proxy
from tests.support.upload import FIELDS
from tests.support.uploading import MIB, Shelf, job_for, uploading
from tests.support.wait import tries, until

# A wall clock whose distance from the machine's, in seconds, stands in a file.
SHIFTED = """
from datetime import timedelta
from pathlib import Path
from edge_agent.clock import SystemClock
real = SystemClock.now
SystemClock.now = lambda self: real(self) + timedelta(seconds=float(Path({offset!r}).read_text() or 0))
"""
NOTICED = 1.0  # seconds until a change is in force
CLOCK = SystemClock()
STILL = 0.25  # seconds: who waits for a tenth of that, and gets on after more, is on a machine that stood still
TRIES = 6  # of a measurement, in one of which the upload's process alone was held up for no part of it
_NEVER = threading.Event()


def received_in(link: Proxy, seconds: float) -> float:
    """Bytes a second that arrive in the next *seconds*, those left out in which this machine stands still."""
    spent = arrived = 0.0
    at, seen = CLOCK.monotonic(), link.received()
    while spent < seconds:
        CLOCK.wait(_NEVER, 0.02)
        now, received = CLOCK.monotonic(), link.received()
        if now - at < STILL:
            spent, arrived = spent + now - at, arrived + received - seen
        at, seen = now, received
    return arrived / spent


def set_clock(offset: Path, moment: datetime) -> None:
    scratch = offset.with_suffix(".new")
    scratch.write_text(str((moment - datetime.now(UTC)).total_seconds()))
    scratch.replace(offset)


def test_bandwidth_and_window(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, tmp_path: Path, account: Callable[..., None]
) -> None:
    """The limit is kept, a window that pauses stops a transfer within a second, and after it everything gets there."""
    rounds, rate = (5, MIB) if storm else (1, MIB)
    seconds = 10.0 if storm else 4.0
    offset = tmp_path / "offset"
    inside = datetime.now(UTC) + timedelta(days=1)
    outside = inside + timedelta(hours=1)
    begin, end = (moment.astimezone() for moment in (inside - timedelta(minutes=5), inside + timedelta(minutes=5)))
    window = f"{begin:%H:%M}-{end:%H:%M}"
    set_clock(offset, outside)
    job = job_for(shelf.spool, s3_store.bucket, link.url, bandwidth=float(rate), timetable={window: 0.0})
    measured, leaked = [], 0.0
    with uploading(job, SHIFTED.format(offset=str(offset))) as uploader:

        def under_way(to_send: int) -> None:
            """Return once half a MiB has gone, with *to_send* MiB more to be sent."""
            for _ in range(to_send):
                shelf.add(MIB)
            seen = link.received()
            until(lambda: link.received() > seen + MIB // 2, "the transfers to be under way")

        for _ in range(rounds):
            for _ in tries(TRIES):
                under_way(int(seconds) + 2)
                share = received_in(link, seconds) / rate
                if 0.9 <= share <= 1.03:
                    break
            measured.append(share)
            for number in tries(TRIES):
                if number:
                    under_way(3)
                set_clock(offset, inside)
                received_in(link, NOTICED)
                late, left = received_in(link, 1.0), not shelf.all_sent()
                set_clock(offset, outside)
                if left and not late:
                    break
            assert left, "nothing that could have been sent"
            leaked = max(leaked, late)
        shelf.wait_until_sent(uploader, 60 + shelf.bytes / rate)
    shelf.assert_stored_once(s3_store)
    assert all(0.9 <= share <= 1.03 for share in measured), measured
    assert leaked == 0
    account(
        f"limit and window, {rounds} times",
        "nothing",
        f"{min(measured):.1%} to {max(measured):.1%} of the limit, 0 bytes in the window",
    )


@pytest.mark.parametrize("slow", ["by the limit", "by the link"])
def test_pause_midpart(
    shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None], slow: str
) -> None:
    """A pause by command ends a put in flight within a second, costs no attempt, and loses nothing.

    Nor does what the kernel was given ahead, which on a slow link would go on for seconds.
    """
    pauses = 20 if storm else 2
    shelf.add(12 * MIB)
    if slow == "by the link":
        link.shape(1.0 * MIB)
    desired = DesiredState(shelf.spool.root, FIELDS)
    leaked = 0.0
    limit = 4.0 * MIB if slow == "by the limit" else None
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url, bandwidth=limit)) as uploader:

        def more_than(seen: int) -> bool:
            """Whether more has arrived than *seen*; there is always something left to send."""
            if shelf.all_sent():
                shelf.add(12 * MIB)
            return link.received() > seen

        for _ in range(pauses):
            for _ in tries(TRIES):
                until(partial(more_than, link.received()), "a transfer to be under way")
                desired.apply_upload(PauseUpload(), "shell:me", datetime.now(UTC))
                received_in(link, NOTICED if limit else 2 * NOTICED)  # what the slow proxy's own kernel had by then
                late, left = received_in(link, 0.5), not shelf.all_sent()
                desired.apply_upload(ResumeUpload(), "shell:me", datetime.now(UTC))
                if left and not late:
                    break
            assert left, "nothing that could have been sent"
            leaked = max(leaked, late)
        link.shape(None)
        shelf.wait_until_sent(uploader)
        assert not uploader.said("upload_postponed")
    shelf.assert_stored_once(s3_store)
    assert leaked == 0
    account(f"{pauses} pauses in a transfer", "nothing", f"{(link.received() - shelf.bytes) / MIB:.1f} MiB sent again")


def test_on_demand(shelf: Shelf, link: Proxy, s3_store: S3Store, account: Callable[..., None]) -> None:
    """Nothing at all goes over a metered link until somebody says so, and nothing after the time they gave."""
    shelf.add(MIB)
    desired = DesiredState(shelf.spool.root, FIELDS)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url, on_demand=True)) as uploader:
        assert received_in(link, 2.0) == 0
        assert link.exchanges == []
        for _ in tries(TRIES):  # on a machine that stands still, an order may be over before it is heard
            end = datetime.now(UTC) + timedelta(seconds=5)
            desired.apply_upload(ResumeUpload(end), "shell:me", datetime.now(UTC))
            uploader.until(lambda end=end: shelf.all_sent() or datetime.now(UTC) > end, "the upload")  # type: ignore[misc]
            if shelf.all_sent():
                break
        assert shelf.all_sent()
        until(lambda: datetime.now(UTC) > end + timedelta(seconds=1), "the end of the order")
        requests = len(link.exchanges)
        shelf.add(MIB)
        assert received_in(link, 2.0) == 0
        assert len(link.exchanges) == requests
    account("a metered link", "nothing", "no request but while it was asked for")
