"""Disks that fill up while labels are read back, reviewed and imported."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.manifests import GROUND_TRUTH

YELLOW = GROUND_TRUTH / "yellow-box-large.output.manifest"


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process grows beyond *size* bytes: the system refuses it as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("label", "fetch", "j", "--from", "label-studio", "--export", "export.json", "-m", YELLOW, "--out", "out"),
        ("label", "review", YELLOW, "--out", "out"),
        ("label", "review", YELLOW, "--drop-suspicious", "tiny", "--sheets", "sheets"),
        ("import", "coco", "set", "--out", "out"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing_half_made(
    arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whatever is being written, here or in a scratch file elsewhere: no traceback, nothing under the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = Run(monkeypatch, capsys)
    (tmp_path / "export.json").write_text(json.dumps([]))
    if arguments[0] == "import":
        assert run("export", "coco", YELLOW, "--pictures", "none", "--out", "set")[0] == 0
    before = {path.name for path in tmp_path.iterdir()}
    with small_files(800):
        status, _, err = run(*arguments)
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, "cannot be written: File too large; mend that, and run it again" in error) == (1, True), err
    assert {path.name for path in tmp_path.iterdir()} - before <= {"sheets"}
