"""The promises of :class:`edge_agent.store.base.ObjectStore`, kept by every adapter."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ContainerMissing, KeyInvalid, ObjectExists, ObjectNotFound, PreconditionFailed
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.base import MAX_METADATA
from edge_agent.store.checksum import crc64nvme
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from tests.support.store_writers import count

LETTERS = "abcXYZ019._=-"
parts = st.text(LETTERS, min_size=1, max_size=12).filter(lambda part: set(part) != {"."})
keys = st.lists(parts, min_size=1, max_size=4).map("/".join).filter(lambda key: not key.startswith(".store"))
metadata_keys = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)
metadata_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)
UNSAFE = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "..",
    "a/../b",
    "./a",
    "a b",
    "a\\b",
    "ä",
    "a\n",
    "a\0",
    "x" * 256,
    "a/" * 600 + "a",
]


def together(actions: list[Callable[[], object]]) -> list[object]:
    """What the *actions* return, or the ones of our errors they raise, all started at the same moment."""
    results: list[object] = [None] * len(actions)
    start = threading.Barrier(len(actions))

    def act(number: int, action: Callable[[], object]) -> None:
        start.wait()
        try:
            results[number] = action()
        except (ObjectExists, PreconditionFailed) as error:
            results[number] = error

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# -- put and get -------------------------------------------------------------------------------------------------------


def test_what_was_put_is_what_is_got(store: ObjectStore) -> None:
    """An object comes back with its bytes, size, type, metadata and checksum, as put, get and head all say."""
    put = store.put("a/b.txt", b"hello", content_type="text/plain", metadata={"class-tag": "yellow_box", "n": ""})
    got = store.get("a/b.txt")
    assert got.body == b"hello"
    for info in (put, got.info, store.head("a/b.txt")):
        assert (info.key, info.size, info.content_type) == ("a/b.txt", 5, "text/plain")
        assert dict(info.metadata) == {"class-tag": "yellow_box", "n": ""}
        assert info.checksum == crc64nvme(b"hello")
        assert info.etag == put.etag
        assert '"' not in info.etag
        assert abs(info.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_nothing_said_means_octets_and_no_metadata(store: ObjectStore) -> None:
    """A put without content type or metadata stores plain octets and none."""
    store.put("a", b"")
    info = store.get("a").info
    assert (info.size, info.content_type, dict(info.metadata)) == (0, "application/octet-stream", {})


def test_a_file_is_streamed_in_whole(store: ObjectStore, yellow_box: Path) -> None:
    """A put of a path stores the bytes of that file, and its checksum."""
    info = store.put("videos/yellow_box_1.mp4", yellow_box, content_type="video/mp4")
    assert store.get("videos/yellow_box_1.mp4").body == yellow_box.read_bytes()
    assert (info.size, info.checksum) == (yellow_box.stat().st_size, crc64nvme(yellow_box))


def test_a_file_that_is_not_there_is_the_callers_affair(store: ObjectStore, tmp_path: Path) -> None:
    """A body that cannot be read raises its own OSError and stores nothing."""
    with pytest.raises(FileNotFoundError):
        store.put("a", tmp_path / "nowhere")
    assert list(store.list()) == []


def test_a_put_replaces_bytes_type_and_metadata(store: ObjectStore) -> None:
    """A second put leaves nothing of the first."""
    first = store.put("a", b"one", content_type="text/plain", metadata={"x": "1"})
    second = store.put("a", b"three")
    got = store.get("a")
    assert got.body == b"three"
    assert dict(got.info.metadata) == {}
    assert got.info.content_type == "application/octet-stream"
    assert first.etag != second.etag == got.info.etag


def test_the_same_bytes_may_get_new_metadata(store: ObjectStore) -> None:
    """A put of the same bytes with other metadata replaces the metadata."""
    store.put("a", b"same", metadata={"x": "1"})
    store.put("a", b"same", metadata={"x": "2"})
    assert dict(store.head("a").metadata) == {"x": "2"}


@settings(max_examples=40)
@given(key=keys, body=st.binary(max_size=200), metadata=st.dictionaries(metadata_keys, metadata_values, max_size=4))
def test_every_safe_key_and_all_metadata_survive(
    store: ObjectStore, key: str, body: bytes, metadata: dict[str, str]
) -> None:
    """Whatever key and metadata the contract admits come back unchanged, in head, get, list and uri."""
    store.put(key, body, metadata=metadata)
    try:
        got = store.get(key)
        assert (got.body, dict(got.info.metadata)) == (body, metadata)
        assert [info.key for info in store.list(key)] == [key]
        assert store.key_of(store.uri(key)) == key
    finally:
        store.delete(key)  # so that the next example's key may begin with this one


@pytest.mark.parametrize("key", UNSAFE)
def test_unsafe_keys_are_refused_everywhere(store: ObjectStore, key: str) -> None:
    """A key that some store could not take raises KeyInvalid from every method, and nothing is stored."""
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b""),
        lambda: store.put_if_absent(key, b""),
        lambda: store.put_if_match(key, b"", "etag"),
        lambda: store.get(key),
        lambda: store.head(key),
        lambda: store.checkout(key).__enter__(),
        lambda: store.delete(key),
        lambda: store.uri(key),
    ]
    for call in calls:
        with pytest.raises(KeyInvalid):
            call()
    assert list(store.list()) == []


@pytest.mark.parametrize(
    "metadata", [{"Upper": "x"}, {"": "x"}, {"a": "ä"}, {"a": " x"}, {"a": "x\n"}, {"a": "x" * MAX_METADATA}]
)
def test_metadata_no_store_can_carry_is_refused(store: ObjectStore, metadata: dict[str, str]) -> None:
    """Metadata that some store would change or refuse raises KeyInvalid, and nothing is stored."""
    for put in (store.put, store.put_if_absent):
        with pytest.raises(KeyInvalid):
            put("a", b"", metadata=metadata)
    assert list(store.list()) == []


# -- conditions --------------------------------------------------------------------------------------------------------


def test_put_if_absent_never_overwrites(store: ObjectStore) -> None:
    """put_if_absent raises ObjectExists when there is an object, and leaves it as it is."""
    store.put_if_absent("a", b"first", metadata={"x": "1"})
    with pytest.raises(ObjectExists):
        store.put_if_absent("a", b"second")
    got = store.get("a")
    assert (got.body, dict(got.info.metadata)) == (b"first", {"x": "1"})


def test_put_if_match_replaces_only_what_it_saw(store: ObjectStore) -> None:
    """put_if_match succeeds with the current ETag, whoever said it, and with no other."""
    first = store.put("a", b"1")
    assert store.put_if_match("a", b"2", first.etag).etag == store.head("a").etag
    with pytest.raises(PreconditionFailed):
        store.put_if_match("a", b"3", first.etag)
    listed = next(iter(store.list("a")))
    store.put_if_match("a", b"4", listed.etag, content_type="text/plain", metadata={"x": "1"})
    got = store.get("a")
    assert (got.body, got.info.content_type, dict(got.info.metadata)) == (b"4", "text/plain", {"x": "1"})


def test_put_if_match_on_nothing_fails_the_same_way(store: ObjectStore) -> None:
    """put_if_match on an object that is gone raises PreconditionFailed and creates nothing."""
    etag = store.put("a", b"1").etag
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.put_if_match("a", b"2", etag)
    assert list(store.list()) == []


def test_of_racing_creators_exactly_one_wins(store: ObjectStore) -> None:
    """Sixteen threads create one object: one succeeds, fifteen hear ObjectExists, and the winner's bytes stay."""
    for key in ("race/1", "race/2", "race/3"):
        results = together([lambda n=n, key=key: store.put_if_absent(key, b"%d" % n) for n in range(16)])  # type: ignore[misc]
        winners = [number for number, result in enumerate(results) if not isinstance(result, ObjectExists)]
        assert len(winners) == 1
        assert store.get(key).body == b"%d" % winners[0]


def test_compare_and_swap_loses_no_update(store: ObjectStore) -> None:
    """Eight threads that count by compare-and-swap arrive at the sum of their steps."""
    store.put("counter", b"0")
    together([lambda: count(store, "counter", 5)] * 8)
    assert store.get("counter").body == b"40"


def test_readers_see_whole_objects_while_writers_write(store: ObjectStore) -> None:
    """A get during puts returns one put's bytes with that put's ETag, never a mixture."""
    bodies = [letter * 200_000 for letter in (b"a", b"b", b"c")]
    etags = {store.put("a", body).etag: body for body in bodies}
    done = threading.Event()

    def write() -> None:
        for body in bodies * 4:
            store.put("a", body)
        done.set()

    def read() -> int:
        reads = 0
        while not done.is_set() or not reads:
            got = store.get("a")
            assert etags[got.info.etag] == got.body
            reads += 1
        return reads

    _, reads, more = together([write, read, read])
    assert reads
    assert more


# -- absence -----------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    """get, head and checkout of a missing key, or of a mere beginning of keys, raise ObjectNotFound."""
    store.put("dir/a", b"")
    for key in ("nothing", "dir", "dir/a/b", "dir/b"):
        for call in (store.get, store.head, lambda key: store.checkout(key).__enter__()):
            with pytest.raises(ObjectNotFound):
                call(key)


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    """delete removes the object alone, and is no error when it is gone."""
    store.put("dir/a", b"1", metadata={"x": "1"})
    store.put("dir/b", b"2")
    for key in ("dir/a", "dir/a", "dir", "never/was"):
        store.delete(key)
    assert [info.key for info in store.list()] == ["dir/b"]
    store.put("dir/a", b"1")
    assert dict(store.head("dir/a").metadata) == {}


def test_a_missing_container_says_so(tmp_path: Path, moto_endpoint: str, aws_environment: None) -> None:
    """A bucket or directory that is not there raises ContainerMissing from check, list, get and every put."""
    absent: list[ObjectStore] = [
        DirectoryStore(tmp_path / "nowhere"),
        S3Store("no-such-bucket-anywhere", endpoint_url=moto_endpoint),
    ]
    for store in absent:
        calls: list[Callable[[], object]] = [
            store.check,
            lambda store=store: list(store.list()),  # type: ignore[misc]
            lambda store=store: store.get("a"),  # type: ignore[misc]
            lambda store=store: store.put("a", b""),  # type: ignore[misc]
            lambda store=store: store.put_if_absent("a", b""),  # type: ignore[misc]
            lambda store=store: store.put_if_match("a", b"", "etag"),  # type: ignore[misc]
            lambda store=store: store.delete("a"),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(ContainerMissing, match=r"check the path, or create it|create the bucket"):
                call()
        with pytest.raises((ContainerMissing, ObjectNotFound)):
            store.head("a")  # S3 answers a HEAD without a body: it cannot say which of the two is missing
    assert not (tmp_path / "nowhere").exists()


# -- list --------------------------------------------------------------------------------------------------------------


def test_listing_is_in_key_order(store: ObjectStore) -> None:
    """Keys are listed in the order of their bytes, across what a file system would call directories."""
    chosen = ["a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "a0", "A", "B/a", "_", "a=", "z/y/x", "0"]
    for key in chosen:
        store.put(key, key.encode())
    listed = list(store.list())
    assert [info.key for info in listed] == sorted(chosen)
    for info in listed:
        assert (info.etag, info.size) == (store.head(info.key).etag, len(info.key))


@settings(max_examples=10)
@given(st.sets(st.text("a-./0_", min_size=1, max_size=6), max_size=12), st.text("a-./0_", max_size=4))
def test_listing_agrees_with_a_sorted_filter(store: ObjectStore, wanted: set[str], prefix: str) -> None:
    """list(prefix) is the sorted keys that start with prefix, for any prefix, a key or not."""
    stored = set()
    for key in wanted:
        try:
            store.put(key, b"")
            stored.add(key)
        except KeyInvalid:  # not a key, or on a directory in the way of another
            continue
    try:
        assert [info.key for info in store.list(prefix)] == sorted(key for key in stored if key.startswith(prefix))
    finally:
        for key in stored:
            store.delete(key)


def test_a_prefix_is_a_string_not_a_directory(store: ObjectStore) -> None:
    """A prefix may end inside a part, and what only shares its letters elsewhere is not listed."""
    for key in ("frames/box_1/a.jpg", "frames/box_10/a.jpg", "frames/cup/a.jpg", "frames2/x", "other/frames/box_1"):
        store.put(key, b"")

    def under(prefix: str) -> list[str]:
        return [info.key for info in store.list(prefix)]

    assert under("frames/box_1") == ["frames/box_1/a.jpg", "frames/box_10/a.jpg"]
    assert under("frames/box_1/") == ["frames/box_1/a.jpg"]
    assert under("frames/cup/a.jpg") == ["frames/cup/a.jpg"]
    assert under("frames") == [*under("frames/"), "frames2/x"]
    for nothing in ("frames/cup/a.jpg/", "x", "../", "/", "frames//", "frames/./"):
        assert under(nothing) == []


def test_a_long_listing_is_complete(store: ObjectStore) -> None:
    """More objects than fit a page of S3's are all listed, once, in order."""
    chosen = [f"frames/{number:04d}.jpg" for number in range(1003)]
    for key in chosen:
        if isinstance(store, DirectoryStore):  # dropped in by hand: a thousand durable puts are a test of the disk
            (store.root / "frames").mkdir(exist_ok=True)
            (store.root / key).write_bytes(b"x")
        else:
            store.put(key, b"x")
    assert [info.key for info in store.list("frames/")] == chosen
    assert [info.key for info in itertools.islice(store.list(), 3)] == chosen[:3]


# -- checkout, names, use ----------------------------------------------------------------------------------------------


def test_checkout_gives_a_local_file_with_the_right_suffix(store: ObjectStore, yellow_box: Path) -> None:
    """checkout yields a path with the object's bytes and last name."""
    store.put("videos/x/yellow_box_1.mp4", yellow_box)
    with store.checkout("videos/x/yellow_box_1.mp4") as path:
        assert path.name == "yellow_box_1.mp4"
        assert path.read_bytes() == yellow_box.read_bytes()
    store.put("empty", b"")
    with store.checkout("empty") as path:
        assert path.read_bytes() == b""


def test_a_uri_leads_back_to_its_key_and_only_in_its_own_store(store: ObjectStore) -> None:
    """key_of inverts uri, and is None for another store, another scheme or something that is no key."""
    uri = store.uri("a/b.jpg")
    base = uri.removesuffix("a/b.jpg")
    assert store.key_of(uri) == "a/b.jpg"
    for foreign in (
        "",
        "a/b.jpg",
        base,
        base + "../x",
        base[:-1] + "2/a",
        "https://host/a/b.jpg",
        "s3://other/a",
        "file:///a",
    ):
        assert store.key_of(foreign) is None


def test_a_url_opens_the_store_it_names(store: ObjectStore) -> None:
    """open_store with the store's own URL reaches the same objects, under the same name and URIs."""
    store.put("a", b"1")
    if isinstance(store, S3Store):
        again = open_store(f"s3://{store.name}", endpoint_url=store.client.meta.endpoint_url)
    else:
        again = open_store(store.uri("a").removesuffix("/a"))
    again.check()
    assert again.get("a").body == b"1"
    assert (again.name, again.uri("a")) == (store.name, store.uri("a"))


def test_check_passes_and_stores_nothing(store: ObjectStore) -> None:
    """check of a store that works is silent and leaves no object."""
    store.check()
    assert list(store.list()) == []


def test_threads_may_share_a_store(store: ObjectStore) -> None:
    """Threads that put, get and delete keys of their own do not disturb each other."""

    def use() -> bool:
        for number in range(4):
            key = f"shared/{uuid.uuid4().hex}/x"
            store.put(key, b"%d" % number)
            assert store.get(key).body == b"%d" % number
            store.delete(key)
        return True

    assert together([use] * 8) == [True] * 8
    assert list(store.list()) == []
