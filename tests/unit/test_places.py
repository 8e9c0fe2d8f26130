"""A manifest is put in place whole, in one way for every command, and nothing that stands there is overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cloud.dataset.findings import Findings
from cloud.dataset.places import LocalFolder, Place, StoreFolder, folder_of
from cloud.dataset.whole import refused, whole
from cloud.labeling.export_import import Imported, write_manifest
from cloud.labeling.fetch import publish
from cloud.labeling.formats.base import Found
from cloud.labeling.labels import Example
from edge_agent.errors import ConfigInvalid, DiskFull, EdgeCaptureError, ObjectConflict, ObjectExists, WriteFailed
from edge_agent.store import open_store

TYPE = "application/x-ndjson"


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    there = tmp_path / "there"
    there.mkdir()
    return LocalFolder(there) if request.param == "folder" else StoreFolder(open_store(str(there)), "")


def made(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "made"
    path.write_text(text)
    return path


def test_a_new_file_is_written_once_and_never_over_another(place: Place, tmp_path: Path) -> None:
    """The same bytes again are no error and no second write; others are refused, and what stands stays."""
    assert place.write_new("a.manifest", made(tmp_path, "one\n"), TYPE) is True
    assert place.write_new("a.manifest", made(tmp_path, "one\n"), TYPE) is False
    with pytest.raises(ObjectConflict, match="holds something else; name another place: nothing is overwritten"):
        place.write_new("a.manifest", made(tmp_path, "two\n"), TYPE)
    assert place.read("a.manifest") == b"one\n"
    place.write("a.manifest", made(tmp_path, "two\n"), TYPE)
    assert place.read("a.manifest") == b"two\n"


def test_a_disk_without_hard_links_takes_a_manifest_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On exFAT, where link() is refused, the file appears whole and nothing else is left."""

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    assert publish(made(tmp_path, "one\n"), str(tmp_path / "stick/a.manifest")) is True
    assert [path.name for path in (tmp_path / "stick").iterdir()] == ["a.manifest"]


def test_a_file_uri_names_the_file_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """file:///… is a path with escapes; what is no place for a manifest is refused before anything is made."""
    monkeypatch.chdir(tmp_path)
    source = made(tmp_path, "one\n")
    assert publish(source, f"{(tmp_path / 'a b').as_uri()}/out.manifest") is True
    assert (tmp_path / "a b/out.manifest").read_text() == "one\n"
    for wrong in ("gs://bucket/out.manifest", "file://host/out.manifest", "s3://bucket", "s3://bucket/in/", "/", ""):
        with pytest.raises(ConfigInvalid, match="names no"):
            folder_of(wrong)
    assert {path.name for path in tmp_path.iterdir()} == {"made", "a b"}


def test_an_import_overwrites_no_file_that_appeared_while_it_read(tmp_path: Path) -> None:
    """Who was first keeps the name, and the loser is told; its own file goes."""
    out, example = tmp_path / "out.manifest", Example("s3://b/a.jpg", boxes=())

    def read() -> object:
        yield Imported(example, "labels", None, Found(example, "a.jpg", "here"))
        out.write_text("somebody else\n")

    with pytest.raises(ConfigInvalid, match="is there already"):
        write_manifest(read(), out, Findings())  # type: ignore[arg-type]
    assert out.read_text() == "somebody else\n"
    assert list(tmp_path.iterdir()) == [out]


def test_two_who_write_one_file_do_not_meet_on_the_way(tmp_path: Path) -> None:
    """Each has a scratch file of its own: the first to end has the name, whole."""
    target = tmp_path / "a"

    def race() -> None:
        with whole(target, absent=True) as one:
            one.write(b"one")
            with whole(target, absent=True) as two:
                two.write(b"two")

    with pytest.raises(ObjectExists):
        race()
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EFBIG, WriteFailed),
        (errno.EIO, WriteFailed),
        (errno.EACCES, ConfigInvalid),
        (errno.ENOTDIR, ConfigInvalid),
    ],
)
def test_what_the_system_refuses_says_whether_the_disk_or_the_name_is_wrong(
    number: int, kind: type[EdgeCaptureError]
) -> None:
    """A full disk, a broken one and a place that cannot be are told apart, each with what to do."""
    error = refused(OSError(number, os.strerror(number)), "out.manifest")
    assert type(error) is kind
    assert str(error).startswith(f"out.manifest: cannot be written: {os.strerror(number)}; ")
