"""The command edge-cloud, as people meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.store.s3 import S3Store
from tests.support.command import Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def test_extract_makes_a_dataset_of_a_file_and_a_directory(
    run: Run, black_cup: Path, footage: Path, tmp_path: Path
) -> None:
    """Frames, sheets and manifests of all videos, and a summary that says where they are."""
    status, out, err = run("extract", black_cup, footage, "--out", tmp_path / "new/data", "--every", 100)
    assert (status, err) == (0, "")
    frames = sorted((tmp_path / "new/data/frames").rglob("*.jpg"))
    assert len(frames) == 3 + 5
    assert "2 videos, 8 frames, 8 manifest lines" in out
    assert str(tmp_path / "new/data/previews/black_cup_1.jpg") in out
    lines = (tmp_path / "new/data/manifests/yellow_box/undated.manifest").read_text().splitlines()
    assert json.loads(lines[0]) == {"source-ref": frames[3].as_uri(), "color": "yellow", "object": "box"}
    assert {path.name for path in footage.iterdir() if path.name.startswith(".")} == set()


def test_extract_goes_on_after_a_bad_video_and_names_each(run: Run, black_cup: Path, tmp_path: Path) -> None:
    """Two bad videos beside a good one: the good one is done, each bad one is one line, the exit status is 1."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a_b_1.mp4").write_bytes(b"rubbish" * 99)
    (clips / "black_cup_1.mp4").write_bytes(black_cup.read_bytes())
    (clips / "cup.mp4").write_bytes(black_cup.read_bytes())
    status, out, err = run("extract", clips, "-o", tmp_path / "out", "--seconds", 4)
    assert status == 1
    assert "1 video, 3 frames, 3 manifest lines" in out
    first, second, last = err.splitlines()
    assert first.startswith(f"error: {(clips / 'a_b_1.mp4').as_uri()}: is no video")
    assert second.startswith(f"error: {clips / 'cup.mp4'}: 'cup' is no segment name")
    assert last == "2 of 3 videos failed"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["extract", "absent.mp4", "--out", "out"], "error: absent.mp4: no such file or directory; check the path"),
        (["extract", ".", "--out", "out"], "error: .: holds no video; name videos, directories or prefixes"),
        (["extract", "a_b_1.mp4", "--out", "o", "--every", "2", "--seconds", "1"], "error: --every and --seconds"),
        (["extract", "a_b_1.mp4", "--out", "gs://bucket"], "error: gs://bucket: unknown kind of store"),
        (["extract", "a_b_1.mp4", "--out", "o", "--fields", "color,source"], "error: settings: fields: "),
        (["extract", "a_b_1.mp4", "--out", "o", "--seconds", "0"], "error: settings: sampling.seconds: "),
        (["watch", "-c", "absent.yaml"], "error: absent.yaml: no such file; see config/cloud.yaml for an example"),
        (["watch", "--dataset", "out"], "error: settings: raw: is missing; say where videos land: --raw"),
    ],
)
def test_what_a_person_must_change_is_one_line_and_status_two(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], line: str
) -> None:
    """Wrong arguments, files and settings: one line on standard error, status 2, nothing on standard output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    if "a_b_1.mp4" in arguments:
        (tmp_path / "a_b_1.mp4").write_bytes(b"")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(line)
    assert len(err.splitlines()) == 1


def test_all_faults_of_a_settings_file_are_a_line_each(run: Run, tmp_path: Path) -> None:
    """Every fault is its own error line."""
    config = tmp_path / "cloud.yaml"
    config.write_text("dataset: d\nraw: r\ncolour: x\njpeg_quality: 101\n")
    status, _, err = run("watch", "-c", config)
    assert status == 2
    assert sorted(line.split(": ")[2] for line in err.splitlines()) == ["colour", "jpeg_quality"]


def test_watch_once_processes_what_is_there(run: Run, black_cup: Path, tmp_path: Path) -> None:
    """Videos that landed are processed through the handler; a failure is named, with status 1."""
    videos = tmp_path / "raw/videos"
    videos.mkdir(parents=True)
    (videos / "black_cup_1.mp4").write_bytes(black_cup.read_bytes())
    where = ("--raw", tmp_path / "raw", "--dataset", tmp_path / "data")
    status, out, err = run("watch", *where, "--once")
    assert status == 0
    assert "1 video, 8 frames, 8 manifest lines" in out
    assert "event=video_processed key=videos/black_cup_1.mp4" in err
    (videos / "a_b_1.mp4").write_bytes(b"rubbish")
    status, out, err = run("watch", *where, "--once")
    assert status == 1
    assert "black_cup_1: unchanged" in out
    assert err.splitlines()[-1].startswith("error: ")


def test_watch_once_says_when_the_raw_store_is_absent(run: Run, tmp_path: Path) -> None:
    """A raw directory that does not exist is one line."""
    status, _, err = run("watch", "--raw", tmp_path / "absent", "--dataset", tmp_path / "data", "--once")
    assert status == 1
    assert err.startswith(f"error: {tmp_path / 'absent'}")
    assert len(err.splitlines()) == 1


def test_extract_from_a_prefix_into_a_bucket(run: Run, s3_store: S3Store, moto_endpoint: str, black_cup: Path) -> None:
    """s3:// works on both sides: a prefix, or one object."""
    s3_store.put("videos/black_cup_1.mp4", black_cup)
    s3_store.put("videos/black_cup_1.mp4.json", b"{}")
    bucket, endpoint = f"s3://{s3_store.name}", ("--endpoint-url", moto_endpoint, "--every", 200)
    status, out, _ = run("extract", f"{bucket}/videos/", "--out", bucket, *endpoint)
    assert status == 0
    assert f"contact sheet {bucket}/previews/black_cup_1.jpg" in out
    status, out, _ = run("extract", f"{bucket}/videos/black_cup_1.mp4", "--out", bucket, *endpoint)
    assert "black_cup_1: unchanged" in out
    assert s3_store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 2


@pytest.mark.parametrize("bucket", ["no-such-bucket-anywhere"])
def test_a_missing_bucket_is_one_line(
    run: Run, aws_environment: None, moto_endpoint: str, black_cup: Path, bucket: str
) -> None:
    """A bucket that is not there ends the command at once, with its name."""
    status, _, err = run("extract", black_cup, "--out", f"s3://{bucket}", "--endpoint-url", moto_endpoint)
    assert status == 1
    assert bucket in err
    assert len(err.splitlines()) == 1


def test_interrupting_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch, black_cup: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and no word."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cloud.extract.find", interrupted)
    assert run("extract", black_cup, "--out", tmp_path) == (130, "", "")


def test_help_and_version(run: Run) -> None:
    """Both commands explain themselves."""
    assert run("--version")[1].startswith("edge-cloud 0.")
    for arguments in (["--help"], ["extract", "--help"], ["watch", "-h"]):
        status, out, _ = run(*arguments)
        assert status == 0
        assert "edge-cloud" in out


def test_watch_processes_what_lands_and_stops_at_sigterm(black_cup: Path, tmp_path: Path) -> None:
    """A running watch takes a video that lands while it runs, and ends with status 0 when told to stop."""
    raw = tmp_path / "raw"
    (raw / "videos").mkdir(parents=True)
    command = [sys.executable, "-m", "cloud.cli", "watch", "--raw", str(raw), "--dataset", str(tmp_path / "data")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_CLOUD_")}
    with subprocess.Popen([*command, "--interval", "0.5"], stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        (raw / "videos/black_cup_1.mp4.part").write_bytes(black_cup.read_bytes())
        (raw / "videos/black_cup_1.mp4.part").rename(raw / "videos/black_cup_1.mp4")
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(60) == 0
    assert "event=video_processed" in line
    assert "Traceback" not in rest
