"""``edge-cloud extract --jobs``: several videos at once, and what happens when one of the processes is killed."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from cloud.extract import Extractor, Failure, extract, find
from cloud.jobs import WorkerKilled, extract_at_once
from cloud.pipeline import Result
from cloud.settings import Settings
from edge_agent.clock import SystemClock
from edge_agent.errors import ContainerMissing
from edge_agent.store.directory import DirectoryStore
from tests.support.command import Run
from tests.support.wait import until


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def contents(directory: Path) -> dict[str, bytes]:
    """What stands in a directory store, by key; without its own records of each object."""
    store = DirectoryStore(directory)
    return {info.key: store.get(info.key).body for info in store.list()}


def test_the_report_and_the_bytes_are_those_of_one_job(run: Run, black_cup: Path, tmp_path: Path) -> None:
    """Five videos, one of them bad: with three jobs everything reads and is as with one, in the same order."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(4):
        (clips / f"black_cup_{number}.mp4").write_bytes(black_cup.read_bytes())
    (clips / "black_cup_2x.mp4").write_bytes(b"rubbish" * 99)
    out = tmp_path / "out"
    one = run("extract", clips, "--out", out, "--every", 100)
    made = {key: body for key, body in contents(out).items() if not key.startswith("failed/")}
    out.rename(tmp_path / "first")
    three = run("extract", clips, "--out", out, "--every", 100, "--jobs", 3)
    assert (one[0], three) == (1, one)
    assert made == {key: body for key, body in contents(out).items() if not key.startswith("failed/")}
    assert len(one[2].splitlines()) == 2


def test_a_killed_process_fails_its_video_alone(black_cup: Path, tmp_path: Path) -> None:
    """The kernel kills a process for want of memory: that video failed, the others are done, by new processes too."""
    paths = [tmp_path / f"black_cup_{number}.mp4" for number in range(4)]
    for path in paths:
        path.write_bytes(black_cup.read_bytes())
    paths[1].unlink()
    os.mkfifo(paths[1])  # whoever reads it waits for ever
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    settings = Settings.model_validate({"dataset": str(dataset), "sampling": {"every": 100}})
    targets = find([str(path) for path in paths])
    ended: list[tuple[list[Result], list[Failure]]] = []
    thread = threading.Thread(target=lambda: ended.append(extract_at_once(targets, settings, 2, lambda _: None)))
    thread.start()
    try:
        until(lambda: len(list(dataset.glob("index/*.json"))) == 3, "the other videos", 60)
        with paths[1].open("wb"):  # opens when the reader is there
            (reader,) = until(lambda: readers_of(paths[1]), "the process that reads it")
            os.kill(reader, signal.SIGKILL)
            thread.join(60)
    finally:
        thread.join(1)
    ((results, failures),) = ended
    assert [Path(result.video).name for result in results] == [paths[i].name for i in (0, 2, 3)]
    (failure,) = failures
    assert isinstance(failure.error, WorkerKilled)
    assert str(failure.error).startswith(f"{paths[1]}: the process that worked on it was killed by SIGKILL; try again")


def readers_of(path: Path) -> list[int]:
    """The processes below this one that have *path* open."""
    return [child.pid for child in psutil.Process().children() if path in opened(child.pid)]


def opened(process: int) -> set[Path]:
    """What *process* has open, as far as that does not end or close meanwhile."""
    found = set()
    with suppress(OSError):
        for number in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                found.add(number.readlink())
    return found


def workers() -> list[psutil.Process]:
    """The processes that work on videos; without those that have ended."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_an_error_of_the_link_ends_all_jobs(black_cup: Path, tmp_path: Path) -> None:
    """Where no video would fare better the error is raised at once, as with one job, and no process is left."""
    settings = Settings.model_validate({"dataset": str(tmp_path / "absent")})
    targets = find([str(black_cup)])
    with pytest.raises(ContainerMissing):
        extract(targets, Extractor(settings, settings.dataset.open(), SystemClock()), lambda _: None)
    with pytest.raises(ContainerMissing):
        extract_at_once(targets, settings, 2, lambda _: None)
    assert not workers()
