"""A disk that fails to sync: the segment ends there, is counted, and is salvaged as far as it reads back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.capture.report import STATUS
from edge_agent.spool import Spool
from tests.support.capture import capturing, job_for, recorded_in
from tests.support.clips import look, make_clip

FRAGMENT = 15  # frames of the clip, which has 25 a second: the writer's fragments last 0.6 s

# Runs in the capture process: a disk whose N-th fdatasync, and no other, fails with EIO.
_ONE_EIO = """
import errno, os
real, calls = os.fdatasync, []
def failing(descriptor):
    calls.append(None)
    if len(calls) == {call}:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    real(descriptor)
os.fdatasync = failing
"""

_FSYNC_OF_A_VIDEO = """
import errno, os
real, failed = os.fsync, []
def failing(descriptor):
    if not failed and os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
        failed.append(None)
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    real(descriptor)
os.fsync = failing
"""


@pytest.mark.parametrize(
    ("where", "prelude", "synced"),
    [
        ("second fragment", _ONE_EIO.format(call=2), FRAGMENT),
        ("closing", _ONE_EIO.format(call=5), 4 * FRAGMENT),
        ("publishing", _FSYNC_OF_A_VIDEO, 75),
    ],
    ids=["fragment", "closing", "publishing"],
)
def test_fsync_error(tmp_path: Path, account: Callable[..., None], where: str, prelude: str, synced: int) -> None:
    """EIO from a sync ends that segment, is told and counted; what was written is recovered, and recording goes on."""
    clip = make_clip(tmp_path / "clip.mp4", frames=75)
    with capturing(job_for(tmp_path, f"file:{clip}", segment_seconds=30.0), prelude) as capture:
        told = capture.wait_for("segment_abandoned")
        assert told.fields["code"] == "WriteFailed"
        assert "Input/output error" in str(told.fields["error"])
        salvaged = capture.wait_for("segment_salvaged")
        assert salvaged.fields["stem"] == told.fields["stem"]
        assert capture.process.wait(60) == 0, capture.said()
        assert capture.events(STATUS)[-1].fields["abandoned"] == 1
    recorded = recorded_in(Spool(tmp_path / "spool"))
    broken, after = recorded.segments
    assert (broken.recovered, after.recovered) == (True, False)
    was = look(clip).packets
    kept = recorded.seen[0].packets
    assert kept == was[: len(kept)]
    assert recorded.seen[1].packets == was  # the file begins anew with each connection
    assert len(kept) >= synced
    lost = f"{max(0, synced - len(kept))} synced frames"
    account(f"EIO at {where}", lost, f"{len(kept)} frames recovered, {synced} were synced")
