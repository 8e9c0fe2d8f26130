"""The commands as a person types them: one clear line for every mistake, and never a traceback."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.support.agent import ROOT, frames_in, process, segments_in, write_settings
from tests.support.wait import until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


def _run(*arguments: str | Path, module: str = "edge_agent.cli", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _refused(done: subprocess.CompletedProcess[str], status: int, *said: str) -> str:
    """The one line on standard error, which says *said*."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == status, done.stdout + done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [
        *("", "run", "capture", "upload", "record", "check-config", "status", "label", "start", "stop", "demo"),
        *("doctor", "init", "drain", "retry", "quarantine", "quarantine list", "quarantine release"),
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    """--help of every command exits 0 and says what it does."""
    done = _run(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_version_is_the_packages() -> None:
    """--version prints the one version there is."""
    from edge_agent import __version__

    assert _run("--version").stdout.strip() == f"edge-agent {__version__}"


def test_check_config_accepts_the_example(tmp_path: Path) -> None:
    """The commented example passes and is summed up in a line."""
    done = _run("check-config", "-c", ROOT / "config" / "edge-agent.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert "device dock7" in done.stdout


def test_check_config_names_every_fault_at_once(tmp_path: Path) -> None:
    """Unknown keys, wrong types and bad values each get their own line with their path; exit status 2."""
    config = write_settings(tmp_path, SYNTHETIC, "store", segment_seconds="soon", colour="red")
    settings = yaml.safe_load(config.read_text())
    settings["device"] = 7
    config.write_text(yaml.safe_dump(settings))
    done = _run("check-config", "-c", config)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 3
    for path in ("device", "cameras.cam1.segment_seconds", "cameras.cam1.colour"):
        assert any(path in line for line in lines)


@pytest.mark.parametrize(
    "command", ["run", "capture", "upload", "check-config", "status", "label cam1 color=a object=b"]
)
def test_a_missing_settings_file_is_one_line(command: str, tmp_path: Path) -> None:
    """Every command that needs settings says which file is missing and exits with 2."""
    _refused(_run(*command.split(), "-c", tmp_path / "nowhere.yaml"), 2, "nowhere.yaml")


@pytest.mark.parametrize("command", ["run", "capture", "upload"])
def test_a_spool_that_cannot_be_made_is_one_line(command: str, tmp_path: Path) -> None:
    """A spool below a regular file stops the start with one line that names it."""
    (tmp_path / "spool").write_text("in the way")
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"))
    done = _run(command, "-c", config)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert str(tmp_path / "spool") in done.stderr
    assert "Traceback" not in done.stderr


def test_status_works_while_the_agent_is_stopped(tmp_path: Path) -> None:
    """Before the first start there is nothing to show but that; afterwards the spool's content is shown."""
    config = write_settings(tmp_path, "synthetic:?size=160x120&seconds=2", str(tmp_path / "store"))
    assert "Traceback" not in _run("status", "-c", config).stderr
    assert _run("capture", "-c", config).returncode == 0
    shown = json.loads(_run("status", "-c", config, "--json").stdout)
    assert shown["running"] is False
    assert shown["spool"]["ready"]["segments"] >= 1
    assert "not running" in _run("status", "-c", config).stdout


def test_label_changes_the_class_of_a_running_camera(tmp_path: Path) -> None:
    """The class set from the shell holds from the next segment on, with who set it; no segment holds two."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"), segment_seconds=60)
    ready = tmp_path / "spool" / "ready"
    with process("edge_agent.cli", "capture", "-c", config):
        until(lambda: list((tmp_path / "spool" / "recording").glob("black_cup_*.part")), "the first segment")
        done = _run("label", "cam1", "color=blue", "object=crate", "-c", config)
        assert done.returncode == 0, done.stderr
        assert "blue_crate" in done.stdout
        until(lambda: list((tmp_path / "spool" / "recording").glob("blue_crate_*.part")), "the new class")
        until(lambda: json.loads(_run("status", "-c", config, "--json").stdout)["running"], "the status to tell of it")
    found = {str(segment.name.tag): segment for _, segment in segments_in(ready)}
    assert set(found) == {"black_cup", "blue_crate"}
    assert found["blue_crate"].class_set_by.startswith("shell:")
    assert found["blue_crate"].class_set_at


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cam9", "color=blue", "object=crate"], "cam9"),
        (["cam1", "color=blue"], "object"),
        (["cam1", "color=Blue!", "object=crate"], "color"),
        (["cam1", "blue"], "FIELD=VALUE"),
    ],
)
def test_a_label_that_cannot_be_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Unknown cameras, missing fields and bad values are refused; nothing is changed."""
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"))
    _refused(_run("label", *arguments, "-c", config), 2, said)
    assert not list(tmp_path.glob("spool/state/desired.json"))


def test_record_makes_one_take_with_the_given_name(black_cup: Path, tmp_path: Path) -> None:
    """The take is one ordinary video of just that name with its sidecar; a second one does not overwrite it."""
    for number in range(5):  # a machine that is held up while the seconds pass has few frames to record
        out = tmp_path / str(number)
        done = _run("record", "--name", "yellow_box_3", "--source", SYNTHETIC, "--seconds", "1.5", "--out", out)
        assert done.returncode == 0, done.stderr
        ((video, segment),) = segments_in(out)
        assert (video.name, str(segment.name.tag)) == ("yellow_box_3.mp4", "yellow_box")
        assert frames_in(video) == segment.frames
        if segment.frames > 10:
            break
    assert segment.frames > 10
    again = _run("record", "--name", "yellow_box_3", "--source", f"file:{black_cup}", "--out", out)
    _refused(again, 2, "yellow_box_3", "--name")
    assert video.stat().st_size == segment.size


@pytest.mark.parametrize(
    ("name", "source", "status", "said"),
    [
        ("Yellow Box", SYNTHETIC, 2, "no segment name"),
        ("../../etc/passwd", SYNTHETIC, 2, "no segment name"),
        ("yellow_box_1", "ftp://host/x", 2, "unknown kind of source"),
        ("yellow_box_1", "file:/nowhere/clip.mp4", 1, "no such"),
        ("yellow_box_1", "rtsp://bob:s3cret@127.0.0.1:9/x", 1, "127.0.0.1"),
        ("yellow_box_1", "v4l2:///dev/video99", 1, "/dev/video99"),
        ("yellow_box_1", "opencv://99", 1, "opencv://99"),
    ],
)
def test_a_take_that_cannot_be_is_one_line(name: str, source: str, status: int, said: str, tmp_path: Path) -> None:
    """Bad names and unreachable cameras get one line, no password in it, and leave nothing behind."""
    line = _refused(_run("record", "--name", name, "--source", source, "--out", tmp_path), status, said)
    assert "s3cret" not in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_q_ends_a_take(tmp_path: Path) -> None:
    """Someone at a terminal presses q, and the take is there."""
    leader, follower = pty.openpty()
    arguments = ["record", "--name", "yellow_box_3", "--source", SYNTHETIC, "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent.cli", *arguments], stdin=follower, stdout=follower, stderr=follower, cwd=ROOT
    ) as child:
        os.close(follower)
        drain = threading.Thread(target=_drain, args=(leader,))
        drain.start()
        until(lambda: [p for p in tmp_path.rglob("*.part") if p.stat().st_size], "the first fragment")
        os.write(leader, b"q")
        assert child.wait(60) == 0
    drain.join()
    os.close(leader)
    ((video, segment),) = segments_in(tmp_path)
    assert frames_in(video) == segment.frames


def _drain(descriptor: int) -> None:
    """Keep a terminal's output flowing until the other side has closed it."""
    try:
        while os.read(descriptor, 4096):
            pass
    except OSError:
        return


def test_a_dead_store_is_said_once_and_loses_nothing(tmp_path: Path) -> None:
    """With nobody at the endpoint the agent says so in one line, goes on recording, and keeps every segment."""
    store = {"url": "s3://bucket", "endpoint_url": "http://127.0.0.1:9", "region": "us-east-1"}
    config = write_settings(tmp_path, SYNTHETIC, store, segment_seconds=1)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}
    with process("edge_agent.cli", "run", "-c", config, **keys) as agent:
        until(lambda: len(list((tmp_path / "spool" / "ready").glob("*.mp4"))) >= 3, "three segments")
        until(lambda: "StoreUnreachable" in _run("logs", "--json", "-c", config).stdout, "a word of the store")
        agent.terminate()
        output, _ = agent.communicate(timeout=60)
    postponed = [line for line in output.splitlines() if "StoreUnreachable" in line]
    assert len(postponed) == 1, output
    assert "127.0.0.1:9" in postponed[0]
    assert "Traceback" not in output
    assert len(segments_in(tmp_path / "spool" / "ready")) >= 3
