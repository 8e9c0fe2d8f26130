"""What the directory adapter promises beyond the protocol: a directory people may look into, and crashes may hit."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import ContainerMissing, IntegrityMismatch, KeyInvalid, ObjectExists, ObjectNotFound
from edge_agent.store import files
from edge_agent.store.checksum import crc64nvme
from edge_agent.store.directory import DirectoryStore

WRITERS = [sys.executable, "-m", "tests.support.store_writers"]


def own_files(store: DirectoryStore, kind: str) -> list[Path]:
    """The files the store keeps of one kind: ``records`` or ``tmp``."""
    return [path for path in (store.root / ".store" / kind).rglob("*") if path.is_file()]


def test_objects_are_plain_files(directory_store: DirectoryStore, yellow_box: Path) -> None:
    """An object stands at root/key, with its bytes and nothing else, readable as the umask lets it be."""
    directory_store.put("videos/cam/yellow_box_1.mp4", yellow_box, metadata={"x": "1"})
    path = directory_store.root / "videos/cam/yellow_box_1.mp4"
    assert path.read_bytes() == yellow_box.read_bytes()
    beside = directory_store.root / "beside"
    beside.touch()
    assert path.stat().st_mode == beside.stat().st_mode
    with directory_store.checkout("videos/cam/yellow_box_1.mp4") as checked_out:
        assert checked_out == path


def test_compare_and_swap_holds_across_processes(directory_store: DirectoryStore) -> None:
    """Three processes that count by compare-and-swap arrive at the sum of their steps."""
    directory_store.put("counter", b"0")
    arguments = [*WRITERS, "count", str(directory_store.root), "counter", "20"]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert directory_store.get("counter").body == b"60"


@pytest.mark.parametrize("puts", [1, 7, 20])
def test_a_kill_leaves_every_object_whole(directory_store: DirectoryStore, puts: int) -> None:
    """After kill -9 amid puts every object is whole, with its own metadata, and the next put sweeps what was left."""
    arguments = [*WRITERS, "put", str(directory_store.root)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(puts):
            assert process.stdout.readline() == b"put\n"
        process.kill()
    listed = list(directory_store.list())
    assert listed
    for info in listed:
        got = directory_store.get(info.key)
        assert got.body == got.info.metadata["letter"].encode() * int(got.info.metadata["size"])
        assert got.info.etag == info.etag
        assert got.info.checksum == crc64nvme(got.body)
    for info in listed:
        directory_store.put(info.key, b"x")
    assert len(own_files(directory_store, "records")) == len(list(directory_store.list()))
    assert own_files(directory_store, "tmp") == []


def test_a_sweep_spares_what_a_living_writer_writes(directory_store: DirectoryStore) -> None:
    """A store opened while another one puts leaves that one's scratch file alone."""
    directory_store.put("a", b"1")
    with files.new_scratch(directory_store.root / ".store" / "tmp") as scratch:
        DirectoryStore(directory_store.root).put("b", b"2")
        assert own_files(directory_store, "tmp") == [Path(scratch.name)]
    DirectoryStore(directory_store.root).put("c", b"3")
    assert own_files(directory_store, "tmp") == []


def test_a_failed_put_leaves_nothing(directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that fails at any of its fsyncs leaves the old object as it was, and no scratch file."""
    directory_store.put("dir/a", b"old", metadata={"x": "old"})
    real, calls = os.fsync, 0

    def failing(number: int) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(errno.EIO, "Input/output error")
            real(descriptor)

        return fsync

    for number in (1, 2, 3):  # the scratch file, its record, the record's directory
        calls = 0
        monkeypatch.setattr(os, "fsync", failing(number))
        with pytest.raises(Exception, match="Input/output error") as raised:
            directory_store.put("dir/a", b"new")
        assert raised.type.__name__ == "StoreUnreachable"
        got = directory_store.get("dir/a")
        assert (got.body, dict(got.info.metadata)) == (b"old", {"x": "old"})
        assert own_files(directory_store, "tmp") == []


def test_a_file_dropped_in_by_hand_is_an_object(directory_store: DirectoryStore) -> None:
    """A file that was copied in is listed and read, with ETag and checksum from its bytes and no metadata."""
    (directory_store.root / "videos").mkdir()
    path = directory_store.root / "videos" / "blue_box_1.mp4"
    path.write_bytes(b"by hand")
    put = directory_store.put("other", b"by hand", metadata={"x": "1"})
    for info in (directory_store.head("videos/blue_box_1.mp4"), directory_store.get("videos/blue_box_1.mp4").info):
        assert (info.etag, info.size, info.checksum, dict(info.metadata)) == (put.etag, 7, put.checksum, {})
    assert [info.etag for info in directory_store.list("videos/")] == [put.etag]
    with pytest.raises(ObjectExists):
        directory_store.put_if_absent("videos/blue_box_1.mp4", b"")
    directory_store.put_if_match("videos/blue_box_1.mp4", b"put", put.etag)
    path.write_bytes(b"by hand again")
    info = directory_store.head("videos/blue_box_1.mp4")
    assert (info.size, info.checksum) == (13, crc64nvme(b"by hand again"))


def test_a_copied_tree_keeps_its_metadata(directory_store: DirectoryStore, tmp_path: Path) -> None:
    """A store restored from a plain copy, with other inodes and times, says of its objects what the first one said."""
    directory_store.put("a/b", b"1", content_type="text/plain", metadata={"x": "1"})
    shutil.copytree(directory_store.root, tmp_path / "copy", copy_function=shutil.copyfile)
    info = DirectoryStore(tmp_path / "copy").head("a/b")
    assert (info.content_type, dict(info.metadata)) == ("text/plain", {"x": "1"})


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last parts of the names of what was synced, in order."""
    real, found = os.fsync, list[str]()

    def fsync(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_frame_costs_two_syncs(directory_store: DirectoryStore, synced: list[str]) -> None:
    """A picture and its name are made durable; its record says nothing that these two do not."""
    directory_store.put("frames/a/a_000000.jpg", b"0", content_type="image/jpeg")
    synced.clear()
    directory_store.put("frames/a/a_000001.jpg", b"1", content_type="image/jpeg")
    assert len(synced) == 2
    assert synced[1] == "a"


def test_a_picture_whose_record_is_lost_is_the_same(directory_store: DirectoryStore) -> None:
    """After a power cut that takes records that were not synced, or tears them, everything is said as before."""
    for name in ("a/1.jpg", "a/2.png"):
        put = directory_store.put(name, name.encode(), content_type=f"image/{'jpeg' if name[-3:] == 'jpg' else 'png'}")
        (record,) = (directory_store.root / ".store/records" / name).iterdir()
        for torn in (record.read_bytes()[:50], b"\0" * 99, b"", None):
            record.write_bytes(torn) if torn is not None else shutil.rmtree(record.parent)
            opened = DirectoryStore(directory_store.root)
            assert opened.head(name) == opened.get(name).info == put


@pytest.mark.parametrize(
    "said", [{"metadata": {"x": "1"}}, {"content_type": "image/tiff"}, {"content_type": "application/octet-stream"}]
)
def test_what_only_a_record_says_is_synced(
    directory_store: DirectoryStore, synced: list[str], said: dict[str, Any]
) -> None:
    """Metadata, and another content type than the name stands for, are durable up to the directory all share."""
    directory_store.put("a/1.jpg", b"1", content_type="image/jpeg")
    synced.clear()
    directory_store.put("a/1.jpg", b"2", **{"content_type": "image/jpeg", **said})
    (record,) = (directory_store.root / ".store/records/a/1.jpg").iterdir()
    assert synced[1:] == [record.name, "1.jpg", "a", "a"]


def test_a_picture_put_again_is_not_what_it_was(directory_store: DirectoryStore, synced: list[str]) -> None:
    """Nothing an earlier record said of the same bytes can come back, whichever of the records a power cut takes."""
    directory_store.put("a/1.jpg", b"1", metadata={"x": "1"})
    synced.clear()
    directory_store.put("a/1.jpg", b"1", content_type="image/jpeg")
    assert len(synced) == 5
    synced.clear()
    directory_store.delete("a/1.jpg")
    assert synced == ["a", "1.jpg"]


def test_a_rotten_bit_is_noticed(directory_store: DirectoryStore) -> None:
    """Bytes that changed behind the back of the file system's own record of changes raise IntegrityMismatch."""
    directory_store.put("a", b"intact")
    path = directory_store.root / "a"
    times = path.stat()
    path.write_bytes(b"rotten")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(IntegrityMismatch):
        directory_store.get("a")


def test_a_torn_record_is_as_good_as_none(directory_store: DirectoryStore) -> None:
    """A record that a crash left half written takes the metadata with it, not the object."""
    directory_store.put("a", b"1", metadata={"x": "1"})
    (record,) = own_files(directory_store, "records")
    record.write_bytes(record.read_bytes()[:10])
    got = directory_store.get("a")
    assert (got.body, dict(got.info.metadata)) == (b"1", {})


def test_a_key_cannot_be_object_and_directory(directory_store: DirectoryStore) -> None:
    """With "a" there, "a/b" raises one clear KeyInvalid, and the other way round; both stay as they were."""
    directory_store.put("a", b"1")
    directory_store.put("d/b", b"2")
    for key in ("a/b", "a/b/c", "d"):
        for put in (directory_store.put, directory_store.put_if_absent):
            with pytest.raises(KeyInvalid, match="both an object and"):
                put(key, b"")
    assert [info.key for info in directory_store.list()] == ["a", "d/b"]
    directory_store.delete("d/b")
    directory_store.put("d", b"3")
    directory_store.delete("a")
    directory_store.put("a/b/c", b"4")
    assert [info.key for info in directory_store.list()] == ["a/b/c", "d"]


def test_delete_takes_records_and_empty_directories_along(directory_store: DirectoryStore) -> None:
    """After the last delete only the store's own empty directories and locks are left, and the root."""
    for key in ("a/b/c", "a/b/d", "e"):
        directory_store.put(key, b"", metadata={"x": "1"})
    for key in ("a/b/c", "a/b/d", "e"):
        directory_store.delete(key)
    assert [path.name for path in directory_store.root.iterdir()] == [".store"]
    assert list((directory_store.root / ".store" / "records").iterdir()) == []


def test_overwriting_keeps_one_record(directory_store: DirectoryStore) -> None:
    """However often an object is put, one record is kept of it."""
    for number in range(5):
        directory_store.put("a", b"%d" % number, metadata={"n": str(number)})
    assert len(own_files(directory_store, "records")) == 1


def test_the_stores_own_files_are_out_of_reach(directory_store: DirectoryStore) -> None:
    """Keys under .store are refused, and it is never listed."""
    directory_store.put("a", b"")
    (record,) = own_files(directory_store, "records")
    for key in (".store", ".store/x", ".store/locks/00"):
        for call in (directory_store.get, directory_store.delete, lambda key: directory_store.put(key, b"")):
            with pytest.raises(KeyInvalid):
                call(key)
    assert record.exists()
    assert [info.key for info in directory_store.list(".store")] == []
    assert [info.key for info in directory_store.list(".store/")] == []
    assert directory_store.key_of(f"file://{directory_store.root}/.store/x") is None


def test_symbolic_links_lead_nowhere(directory_store: DirectoryStore, tmp_path: Path) -> None:
    """A link below the root is neither read nor written through, nor listed, not even one to itself."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = directory_store.root
    (root / "directory").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "loop").symlink_to("loop")
    for key in ("directory/secret", "directory/new", "file", "loop"):
        for call in (directory_store.get, directory_store.delete, lambda key: directory_store.put(key, b"")):
            with pytest.raises(KeyInvalid, match="symbolic link"):
                call(key)
    for prefix in ("", "directory/", "file", "directory/sec"):
        assert list(directory_store.list(prefix)) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_what_is_no_object_is_passed_over(directory_store: DirectoryStore) -> None:
    """Files with unsafe names, pipes and empty directories are neither listed nor in the way."""
    root = directory_store.root
    (root / "my video (1).mp4").write_bytes(b"")
    (root / "with blank").mkdir()
    (root / "with blank" / "a").write_bytes(b"")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    assert list(directory_store.list()) == []
    with pytest.raises(ObjectNotFound):
        directory_store.get("pipe")
    directory_store.put("empty", b"now an object")
    assert [info.key for info in directory_store.list()] == ["empty"]


def test_reading_creates_nothing(directory_store: DirectoryStore) -> None:
    """check, list, get, head and checkout leave a directory as they found it."""
    (directory_store.root / "a").write_bytes(b"1")
    before = directory_store.root.stat().st_mtime_ns
    directory_store.check()
    assert [info.key for info in directory_store.list()] == ["a"]
    assert directory_store.get("a").body == b"1"
    directory_store.head("a")
    with directory_store.checkout("a"):
        pass
    with pytest.raises(ObjectNotFound):
        directory_store.head("b")
    assert [path.name for path in directory_store.root.iterdir()] == ["a"]
    assert directory_store.root.stat().st_mtime_ns == before


def test_a_root_that_is_a_file_is_missing(tmp_path: Path) -> None:
    """A store whose root is a file is no store: ContainerMissing."""
    (tmp_path / "file").write_bytes(b"")
    store = DirectoryStore(tmp_path / "file")
    for call in (store.check, lambda: store.put("a", b""), lambda: store.get("a")):
        with pytest.raises(ContainerMissing):
            call()


def test_a_file_system_without_links_still_creates_once(
    directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where hard links are not allowed, put_if_absent works all the same."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    directory_store.put_if_absent("a", b"1")
    with pytest.raises(ObjectExists):
        directory_store.put_if_absent("a", b"2")
    assert directory_store.get("a").body == b"1"


def test_uris_are_quoted(tmp_path: Path) -> None:
    """A root with blanks and umlauts gives a URI without them, which leads back to the key."""
    root = tmp_path / "my störe"
    root.mkdir()
    store = DirectoryStore(root)
    assert store.name == "my störe"
    assert store.uri("a=b/c").endswith("/my%20st%C3%B6re/a%3Db/c")
    assert store.key_of(store.uri("a=b/c")) == "a=b/c"
    assert store.key_of(store.uri("a").replace("file://", "file://localhost")) == "a"
