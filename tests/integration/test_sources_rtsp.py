"""RTSP cameras: both codecs, both transports, logins and sound, from a real server."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edge_agent.camera import Transport
from edge_agent.capture.sources.libav import rtsp
from edge_agent.spool import Spool
from tests.support.capture import capturing, job_for, recorded_in
from tests.support.rtsp import H264, rtsp_camera
from tests.support.sound import MICROPHONES, listen, with_sound
from tests.support.wait import until

H265 = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 "
    "! rtph265pay name=pay0 pt=96 config-interval=-1"
)
PICTURES = {"h264": H264, "hevc": H265}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_both_codecs_come_over_both_transports(tmp_path: Path, codec: str, transport: str) -> None:
    """With a login, each is stored as it comes, and decodes whole."""
    with rtsp_camera(PICTURES[codec], user="admin", password="p%40ss") as camera:
        url = camera.url(password="p%2540ss")
        with capturing(job_for(tmp_path, url, segment_seconds=1, transport=transport)) as capture:
            capture.wait_for("segment_closed", 3)
            assert capture.stop() == 0
            assert "p%2540ss" not in capture.said()
    recorded = recorded_in(Spool(tmp_path / "spool"))
    assert {(segment.codec, segment.width, segment.height) for segment in recorded.segments} == {(codec, 320, 240)}
    for segment in recorded.segments[1:3]:  # the first may begin behind packets that libav read to know the stream
        assert segment.frames == pytest.approx(segment.duration * 25, abs=2)


@pytest.mark.parametrize(("transport", "waits"), [("tcp", True), ("udp", False)])
def test_only_what_waits_for_us_is_left_alone(transport: Transport, waits: bool) -> None:
    """TCP holds back what nobody reads; a datagram that finds the socket's buffer full is gone."""
    with rtsp_camera(H264) as camera:
        source = rtsp(camera.url(), transport, audio=False, read_timeout=60.0)
        assert (source.rest > 0) is waits
        source.close()


@pytest.mark.parametrize(
    ("sent", "kept"), [("aac", "aac"), ("opus", "opus"), ("pcm_alaw", "aac"), ("pcm_mulaw", "aac")]
)
def test_sound_is_recorded_beside_the_picture(tmp_path: Path, sent: str, kept: str) -> None:
    """AAC and Opus as they come, G.711 as AAC; each segment holds its pictures' sound, and counts pictures only."""
    with (
        rtsp_camera(f"{H264} {MICROPHONES[sent]}") as camera,
        capturing(job_for(tmp_path, camera.url(), segment_seconds=1, audio=True)) as capture,
    ):
        assert capture.wait_for("camera_connected").fields["audio"] in (kept, f"lib{kept}")
        capture.wait_for("segment_closed", 4)
        assert capture.stop() == 0
    recorded = recorded_in(Spool(tmp_path / "spool"))
    for segment in recorded.segments[1:4]:
        heard = listen(tmp_path / "spool" / "ready" / f"{segment.name.stem}.mp4")
        assert heard.codec in (kept, f"lib{kept}")
        assert segment.frames == pytest.approx(segment.duration * 25, abs=2)
        assert 0 <= heard.begin < 0.15  # beside the picture it belongs to
        assert heard.end == pytest.approx(segment.duration, abs=0.15)
        assert heard.seconds == pytest.approx(heard.end - heard.begin, abs=0.15)  # no holes
        assert heard.loudest > 0.2


@pytest.mark.parametrize(
    ("sent", "payloader", "transport"),
    [("aac", "rtpmp4gpay", "tcp"), ("aac", "rtpmp4gpay", "udp"), ("libopus", "rtpopuspay", "tcp")],
)
def test_sound_that_mp4_holds_is_copied(tmp_path: Path, sent: str, payloader: str, transport: str) -> None:
    """AAC and Opus are stored bit for bit: the packets the camera's encoder made, in a row, none left out."""
    clip = with_sound(tmp_path / "clip.mp4", sent)
    camera_of = (
        f"filesrc location={clip} ! qtdemux name=clip "
        "clip.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 "
        f"clip.audio_0 ! queue ! {payloader} name=pay1 pt=97"
    )
    with (
        rtsp_camera(camera_of) as camera,
        capturing(job_for(tmp_path, camera.url(), audio=True, transport=transport)) as capture,
    ):
        capture.wait_for("segment_closed")
        assert capture.stop() == 0
    made = listen(clip).packets
    segment = recorded_in(Spool(tmp_path / "spool")).segments[0]
    heard = listen(tmp_path / "spool" / "ready" / f"{segment.name.stem}.mp4").packets
    assert len(heard) > len(made) / 2
    first = made.index(heard[0])
    assert heard == made[first : first + len(heard)]


def test_without_audio_only_the_picture_is_asked_for(tmp_path: Path) -> None:
    """A camera that has a microphone is recorded silent unless told otherwise."""
    with (
        rtsp_camera(f"{H264} {MICROPHONES['opus']}") as camera,
        capturing(job_for(tmp_path, camera.url(), segment_seconds=1)) as capture,
    ):
        assert "audio" not in capture.wait_for("camera_connected").fields
        capture.wait_for("segment_closed")
        assert capture.stop() == 0
    with pytest.raises(ValueError, match="not enough values"):
        listen(next((tmp_path / "spool" / "ready").glob("*.mp4")))


def test_a_camera_without_a_microphone_is_recorded_all_the_same(tmp_path: Path) -> None:
    """Asking for sound that is not there costs nothing."""
    with rtsp_camera() as camera, capturing(job_for(tmp_path, camera.url(), segment_seconds=1, audio=True)) as capture:
        capture.wait_for("segment_closed", 2)
        assert capture.stop() == 0
    assert len(recorded_in(Spool(tmp_path / "spool")).segments) >= 2


def test_salvage_keeps_the_sound(tmp_path: Path) -> None:
    """What a kill -9 left is a segment with both picture and sound, at most a fragment short."""
    with rtsp_camera(f"{H264} {MICROPHONES['pcm_mulaw']}") as camera:
        job = job_for(tmp_path, camera.url(), audio=True)
        with capturing(job) as capture:
            capture.wait_for_status(state="recording")
            until(
                lambda: any(float(str(e.fields["seconds"] or 0)) > 3 for e in capture.events("camera_status")),
                "3 seconds recorded",
            )
            capture.process.send_signal(signal.SIGKILL)
            capture.process.wait()
        with capturing(job) as capture:
            assert capture.wait_for("segment_salvaged").fields["outcome"] == "recovered"
            assert capture.stop() == 0
    segment = recorded_in(Spool(tmp_path / "spool")).segments[0]
    assert segment.recovered
    assert segment.duration > 1.9
    heard = listen(tmp_path / "spool" / "ready" / f"{segment.name.stem}.mp4")
    assert heard.codec == "aac"
    assert heard.seconds == pytest.approx(segment.duration, abs=0.3)
