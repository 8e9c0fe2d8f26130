"""A disk that fills while the store is dead: what the operator chose happens, and every frame is accounted for."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.capture.salvage import salvage
from edge_agent.spool import Spool
from edge_agent.status import collect
from edge_agent.tombstones import Tombstones
from tests.integration.test_reload import Running, agent
from tests.support.capture import FIELDS, recorded_in
from tests.support.disk import small_disk
from tests.support.rtsp import rtsp_camera
from tests.support.rtsp_relay import relay_to
from tests.support.wait import tries, until

SOURCE = "synthetic:?size=640x480&fps=25"
FRAGMENT_FRAMES = 25  # of one second
UNREAD = 10  # that are on the way when a connection is ended


def settings(mount: Path, when_full: str, source: str = SOURCE, **disk: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["spool"] = str(mount / "spool")
        document["store"] = {"url": "/proc/nowhere/store"}
        document["disk"] = {"free": 0, "when_full": when_full, **disk}
        for camera in document["cameras"].values():
            camera.update(source=source, segment_seconds=1, encode={"quality": 5})

    return change


def status_of(running: Running) -> dict[str, Any]:
    from edge_agent.config import load

    report: dict[str, Any] = json.loads(json.dumps(collect(load(running.config))))
    return report


def status_while_full(running: Running) -> dict[str, Any]:
    """The status once it says of the disk, and of every camera, that recording is paused; empty before."""
    shown = status_of(running)
    states = {camera["state"] for camera in shown["cameras"].values()}
    return shown if states == {"paused: disk full"} and "disk full" in (shown["disk"]["paused"] or "") else {}


def whole(mount: Path) -> int:
    """Frames in ``ready/``; fails where a file is not what its sidecar says."""
    return sum(recorded_in(Spool(mount / "spool")).frames)


def frames_told(running: Running) -> int:
    """Frames the agent said it has finished or salvaged."""
    closed = [said["frames"] for said in running.said("segment_closed")]
    saved = [said.get("frames", 0) for said in running.said("segment_salvaged")]
    return int(sum(closed) + sum(saved))


def test_disk_full_pause(tmp_path: Path, account: Callable[..., None], storm: bool) -> None:
    """Under ``pause`` no segment is dropped; recording says why it pauses, and goes on by itself when there is room."""
    with (
        small_disk(tmp_path / "disk", "8m") as mount,
        agent(tmp_path, cameras=2, change=settings(mount, "pause")) as running,
    ):
        for round_number in range(1, (5 if storm else 2) + 1):
            running.wait_for("recording_paused", 2 * round_number)
            running.wait_for("disk_full", round_number)
            shown = until(lambda: status_while_full(running), "the state of the cameras and of the disk")
            assert shown["disk"]["pauses"] == round_number
            kept = whole(mount)
            for video in Spool(mount / "spool").ready_videos():  # a person takes them away
                video.unlink()
                video.with_suffix(".json").unlink()
            running.wait_for("recording_resumed", 2 * round_number)
            assert kept
        assert Tombstones(mount / "spool" / "state").losses().segments == 0
        assert not running.said("segment_dropped")
        assert len(set(running.pids().values())) == 3  # nobody was restarted
        errors = len(running.said("segment_abandoned"))
        running.process.terminate()
        assert running.process.wait(60) == 0
        account(f"{round_number} times full", "no segment dropped", f"{errors} met ENOSPC, last fragments not counted")


def test_disk_full_drop_oldest(tmp_path: Path, account: Callable[..., None], storm: bool) -> None:
    """Under ``drop_oldest`` recording goes on; what is in ``ready/`` and on the tombstones is all that was recorded."""
    wanted = 120 if storm else 6
    with (
        small_disk(tmp_path / "disk", "8m") as mount,
        agent(tmp_path, cameras=2, change=settings(mount, "drop_oldest")) as running,
    ):
        running.wait_for("segment_dropped", wanted, 120.0)
        assert not running.said("recording_paused")
        running.process.terminate()
        assert running.process.wait(60) == 0
        losses = Tombstones(mount / "spool" / "state").losses()
        dropped = running.said("segment_dropped")
        assert losses.segments == len(dropped) == len({said["stem"] for said in dropped})
        assert losses.frames == sum(said["frames"] for said in dropped)
        assert whole(mount) + losses.frames == frames_told(running)
        shown = status_of(running)
        assert shown["disk"]["dropped"]["segments"] == losses.segments
        assert shown["upload"]["counts"]["evicted"] <= losses.segments
        assert not running.said("segment_vanished")
        account(
            f"{losses.segments} segments too many",
            f"{losses.frames} frames, oldest first",
            f"{whole(mount)} frames kept, every lost one on a tombstone",
        )


def fill(mount: Path) -> Path:
    """A file that takes all that is left, at one stroke."""
    hog = mount / "hog"
    with hog.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return hog


@pytest.mark.parametrize("when_full", ["pause", "drop_oldest"])
def test_disk_full_by_another_program(tmp_path: Path, account: Callable[..., None], when_full: str) -> None:
    """After ENOSPC in the middle of a segment no part is left, a fragment at most is lost, and recording goes on."""
    for number in tries(3):  # where the machine stands still, more is on the way when a connection ends
        root = tmp_path / str(number)
        root.mkdir()
        tried, lost, note, missing = fill_meanwhile(root, when_full)
        if missing <= FRAGMENT_FRAMES + 2 * UNREAD:
            break
    assert 0 <= missing <= FRAGMENT_FRAMES + 2 * UNREAD
    account(tried, lost, note)


def fill_meanwhile(root: Path, when_full: str) -> tuple[str, str, str, int]:
    """Fill the disk amid a segment, and empty it again: what was tried, lost and seen; frames not accounted for."""
    with (
        small_disk(root / "disk", "8m") as mount,
        rtsp_camera() as camera,
        relay_to(camera.port) as relay,
        agent(root, cameras=1, change=settings(mount, when_full, source=relay.url())) as running,
    ):
        running.wait_for("segment_closed", 3)
        hog = fill(mount)
        lost = until(
            lambda: running.said("segment_abandoned") or running.said("recording_paused"), "the disk to be noticed"
        )
        hog.unlink(missing_ok=True)
        closed = len(running.said("segment_closed"))
        running.wait_for("segment_closed", closed + 2)
        assert len(list((mount / "spool" / "recording").glob("*.part"))) <= 1  # that of the open segment
        running.process.terminate()
        assert running.process.wait(60) == 0
        losses = Tombstones(mount / "spool" / "state").losses()
        assert whole(mount) + losses.frames == frames_told(running)
        assert when_full == "drop_oldest" or losses.segments == 0
        salvage(Spool(mount / "spool"), FIELDS, "dock7", lambda _: True)  # a busy machine may not have closed the last
        assert not list((mount / "spool" / "recording").glob("*.part"))
        sent = [len(connection.frames) for connection in relay.connections if connection.frames]
        missing = sum(sent) - whole(mount) - losses.frames
        assert len(sent) == 2
        assert missing >= 0
        return (
            f"another program, {when_full}",
            f"{missing} frames, {losses.frames} more by policy",
            f"{sum(sent)} frames the camera sent; {lost[0]['event']}, then on",
            missing,
        )


def test_an_agent_that_starts_on_a_full_disk(tmp_path: Path, account: Callable[..., None]) -> None:
    """Not one byte is free: the ledger gets its reserve, uploads go on and make room, and recording begins again."""
    with small_disk(tmp_path / "disk", "32m") as mount:
        (tmp_path / "store").mkdir()
        spool, reserve = Spool(mount / "spool"), mount / "spool" / "state" / "reserve"
        with agent(tmp_path, cameras=1, change=settings(mount, "pause")) as running:  # no store: all stays
            until(lambda: sum(video.stat().st_size for video in spool.ready_videos()) > 6e6, "segments")
            running.process.terminate()
            assert running.process.wait(60) == 0
        kept = len(spool.ready_videos())
        assert reserve.exists()
        fill(mount)
        assert os.statvfs(mount).f_bavail == 0

        def reachable(document: Any) -> None:
            settings(mount, "pause")(document)
            document["store"] = {"url": str(tmp_path / "store")}

        again = tmp_path / "again"
        again.mkdir()
        with agent(again, cameras=1, change=reachable) as running:  # waits until it records
            assert running.said("recording_paused")
            assert not running.said("process_died")
            assert not running.said("segment_dropped")
            until(lambda: len(list((tmp_path / "store").rglob("*.mp4"))) >= kept, "the uploads")
            running.process.terminate()
            assert running.process.wait(60) == 0
        stored = len(list((tmp_path / "store").rglob("*.mp4")))
        account("starts with 0 bytes free", "nothing", f"{kept} segments that lay there uploaded, {stored} in all")


def held(spool: Path) -> int:
    """Bytes on the disk, of files that come and go."""
    total = 0
    for path in spool.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def test_quota_counts_all_of_the_spool(tmp_path: Path) -> None:
    """With a quota and room on the disk, the spool as a whole stays within it, but for what two seconds bring."""
    with agent(tmp_path, cameras=1, change=settings(tmp_path, "drop_oldest", quota="8MB")) as running:
        running.wait_for("segment_dropped", 3)
        until(lambda: held(tmp_path / "spool") < 12e6, "the spool to be within its quota", 10)
        assert yaml.safe_load(running.config.read_text())["disk"]["quota"] == "8MB"
