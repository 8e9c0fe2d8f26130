"""What gets lost between a camera and the recorder, as UDP over a bad radio link loses it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import av.error
import pytest

from edge_agent.capture.report import STATUS
from edge_agent.spool import Spool
from tests.support.capture import CaptureProcess, capturing, job_for, record, recorded_in
from tests.support.clips import make_clip
from tests.support.rtsp import H264, rtsp_camera
from tests.support.rtsp_relay import relay_to
from tests.support.wait import until

FPS = 25
TS_PACKET = 188  # bytes
UNREAD = 6  # pictures that a stop may leave: libav waits for the next
# Pictures of many datagrams: most of those that are hit lose a part of themselves.
LARGE = H264.replace("320,height=240", "1280,height=720").replace("pattern=ball", "pattern=snow")


def pictures_in(video: Path) -> int:
    """Pictures a player would show, stepping over what it cannot decode."""
    found = 0
    with av.open(f"file:{video}") as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.error.InvalidDataError):
                found += len(packet.decode())
    return found


def thrown_away() -> int:
    """Datagrams that this machine's kernel found no room for, since it began."""
    names, counts = (line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Udp:")
    return int(counts[names.index("RcvbufErrors")])


def all_read(capture: CaptureProcess, told: int) -> bool:
    """Whether nothing came for a second, since *told* statuses were told."""
    packets = [event.fields["packets"] for event in capture.events(STATUS)][told:]
    return len(packets) > 1 and packets[-1] == packets[-2]


@pytest.mark.parametrize(("pipeline", "loss"), [(H264, 0.05), (LARGE, 0.002)], ids=["small", "large"])
def test_udp_loss(tmp_path: Path, account: Callable[..., None], storm: bool, pipeline: str, loss: float) -> None:
    """Segments stay readable and as long as they were; every picture is recorded or counted as dropped."""
    for number in range(5):
        before = thrown_away()
        root = tmp_path / str(number)
        with (
            rtsp_camera(pipeline) as camera,
            relay_to(camera.port) as relay,
            capturing(job_for(root, relay.url(), segment_seconds=2, transport="udp")) as capture,
        ):
            capture.wait_for("segment_opened")
            relay.loss = loss
            capture.wait_for("segment_closed", 30 if storm else 4, 120.0)
            relay.loss = 0.0
            capture.wait_for("segment_closed", len(capture.events("segment_closed")) + 1, 60.0)
            camera.freeze()
            until(partial(all_read, capture, len(capture.events(STATUS))), "the recorder to have read all")
            assert capture.stop() == 0
            told = capture.events(STATUS)[-1].fields
        if thrown_away() == before:  # else the kernel has lost some more, on a machine too busy to read them in time
            break
    assert [event.name for event in capture.events() if event.name == "camera_lost"] == []
    (connection,) = relay.connections
    spool = Spool(root / "spool")
    recorded = recorded_in(spool, decode=False)
    frames, seconds = sum(recorded.frames), sum(segment.duration for segment in recorded.segments)
    dropped, whole = int(str(told["dropped"])), len(connection.whole)
    lost, torn = len(connection.lost), len(connection.torn)
    assert connection.dropped
    assert lost <= dropped <= lost + torn  # of a torn picture libav may hand out nothing
    assert seconds == pytest.approx((frames + dropped) / FPS, abs=0.001)
    sent = whole + lost + torn
    assert sent - UNREAD <= frames + dropped <= sent
    decoded = sum(pictures_in(video) for video in spool.ready_videos())
    assert whole - UNREAD <= decoded <= frames
    account(
        f"{connection.dropped} datagrams lost",
        f"{lost} of {sent} pictures, {torn} torn",
        f"dropped told: {dropped}; {frames} recorded in {seconds:.2f} s, {decoded} decode",
    )


def test_ts_loss(tmp_path: Path, account: Callable[..., None]) -> None:
    """Pictures that lost a part of themselves in a transport stream are recorded, and each is counted as corrupt."""
    clip = make_clip(tmp_path / "clip.ts", frames=100, size=(320, 240))
    data = clip.read_bytes()
    packets = [data[at : at + TS_PACKET] for at in range(0, len(data), TS_PACKET)]
    pictures = [number for number, packet in enumerate(packets) if packet[1] & 31 == 1 and packet[2] == 0]  # PID 256
    gone = set(pictures[100:400:60])
    (tmp_path / "torn.ts").write_bytes(b"".join(p for number, p in enumerate(packets) if number not in gone))
    recorded = record(job_for(tmp_path, f"file:{tmp_path / 'torn.ts'}", segment_seconds=2), decode=False)
    told = recorded.named(STATUS)[-1].fields
    assert told["corrupt"] == len(gone) == 5
    assert sum(recorded.frames) == 100
    assert sum(segment.duration for segment in recorded.segments) == pytest.approx(4.0, abs=0.001)
    account(f"{len(gone)} packets of MPEG-TS lost", f"{len(gone)} pictures torn", f"corrupt told: {told['corrupt']}")
