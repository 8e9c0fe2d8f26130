"""The fault proxy does what it says, so that what the fault tests say can be believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edge_agent.errors import IntegrityMismatch, StoreThrottled, StoreUnreachable
from edge_agent.store.s3 import S3Store
from tests.support.link_faults import SLOW_DOWN, Blackhole, FlipBit, LoseReply, Portal, Reset
from tests.support.proxy import Proxy, proxy
from tests.support.s3_http import Operation, operation_of
from tests.support.wait import until


@pytest.fixture
def between(s3_store: S3Store, moto_endpoint: str) -> Iterator[tuple[Proxy, S3Store]]:
    """A proxy before the server, and a store that goes through it."""
    with proxy(moto_endpoint) as link:
        store = S3Store(s3_store.bucket, endpoint_url=link.url, region="us-east-1")
        yield link, store
        store.close()


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("PUT", "/b/a%20b/c.mp4", (Operation.PUT, "a b/c.mp4", 0)),
        ("PUT", "/b/k?uploadId=x&partNumber=7", (Operation.PART, "k", 7)),
        ("POST", "/b/k?uploads", (Operation.CREATE, "k", 0)),
        ("POST", "/b/k?uploadId=x", (Operation.COMPLETE, "k", 0)),
        ("GET", "/b/k?uploadId=x", (Operation.LIST_PARTS, "k", 0)),
        ("DELETE", "/b/k?uploadId=x", (Operation.ABORT, "k", 0)),
        ("GET", "/b?uploads&prefix=v", (Operation.LIST_UPLOADS, "", 0)),
        ("GET", "/b?list-type=2", (Operation.LIST, "", 0)),
        ("HEAD", "/b", (Operation.BUCKET, "", 0)),
    ],
)
def test_a_request_is_told_by_its_line(method: str, target: str, operation: tuple[Operation, str, int]) -> None:
    """Every request an uploader makes is known by its name."""
    assert operation_of(method, target) == operation


def test_an_honest_proxy_changes_nothing_and_counts_all(between: tuple[Proxy, S3Store]) -> None:
    """What goes through arrives, is read back, listed and deleted, and each byte is counted once."""
    link, store = between
    body = bytes(range(256)) * 1000
    store.put_if_absent("videos/a.mp4", body)
    assert store.get("videos/a.mp4").body == body
    assert [info.key for info in store.list("videos/")] == ["videos/a.mp4"]
    store.delete("videos/a.mp4")
    assert link.received() == len(body)
    assert link.count(Operation.PUT) == link.count(Operation.DELETE) == 1
    assert link.connections < link.count()  # connections are kept


def test_a_chunked_body_goes_through_as_it_is(between: tuple[Proxy, S3Store]) -> None:
    """A body without a length, as clients stream one with a trailing checksum, arrives whole."""
    import http.client

    link, store = between
    connection = http.client.HTTPConnection("127.0.0.1", link.port, timeout=60)
    pieces = iter([b"x" * 70000, b"y" * 3])
    connection.request("PUT", f"/{store.bucket}/chunked.mp4", body=pieces, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert store.get("chunked.mp4").body == b"x" * 70000 + b"yyy"
    assert link.received() == 70003


def test_a_lost_reply_is_of_a_request_that_was_carried_out(between: tuple[Proxy, S3Store], s3_store: S3Store) -> None:
    """The object is there, and the client does not know."""
    link, store = between
    met = link.inject(LoseReply(), Operation.PUT)
    with pytest.raises(StoreUnreachable):
        store.put("lost.mp4", b"body")
    assert met.done == 3  # the client library's own tries
    assert s3_store.get("lost.mp4").body == b"body"


def test_a_reset_stops_where_it_was_told_to(between: tuple[Proxy, S3Store], s3_store: S3Store) -> None:
    """One reset in the middle of a body stores nothing; the next try does."""
    link, store = between
    link.inject(Reset(100_000), Operation.PUT, times=1)
    store.put("cut.mp4", bytes(300_000))
    assert link.count(Operation.PUT) == 2
    assert 100_000 <= link.exchanges[0].received < 300_000
    assert s3_store.head("cut.mp4").size == 300_000


def test_faults_meet_whom_they_are_for(between: tuple[Proxy, S3Store]) -> None:
    """Operation, key, how many to spare and how many to meet are kept to."""
    link, store = between
    met = link.inject(SLOW_DOWN, Operation.PUT, key="slow", after=1, times=3)
    store.put("slow.mp4", b"1")
    store.put("other.mp4", b"2")
    with pytest.raises(StoreThrottled):
        store.put("slow.mp4", b"3")
    store.put("slow.mp4", b"4")
    assert met.done == 3
    link.inject(Portal())
    with pytest.raises(StoreUnreachable):
        store.check()
    link.heal()
    link.inject(FlipBit(3), Operation.PUT, times=1)
    store.put("flipped.mp4", b"abcdef")  # this server does not verify
    with pytest.raises(IntegrityMismatch):
        store.get("flipped.mp4")


def test_down_refuses_and_up_accepts(between: tuple[Proxy, S3Store]) -> None:
    """A proxy that went down refuses at the same port it serves once it is up again."""
    link, store = between
    store.check()
    link.go_down()
    with pytest.raises(StoreUnreachable):
        store.check()
    link.come_up()
    store.check()


def test_a_black_hole_lets_go_when_it_is_healed(between: tuple[Proxy, S3Store]) -> None:
    """What hangs is reset, and the next try goes through."""
    link, store = between
    link.inject(Blackhole(), Operation.PUT)
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(store.put("hole.mp4", b"body").key))
    thread.start()
    until(lambda: link.received() == 4, "the body to be swallowed")
    assert not done
    link.heal()
    thread.join()
    assert done == ["hole.mp4"]


def test_a_shaped_link_takes_its_time(between: tuple[Proxy, S3Store]) -> None:
    """A megabyte at two megabytes a second takes half a second, and not much more in the best of some tries."""
    link, store = between
    link.shape(2e6)
    took = [float("inf")]
    while min(took) >= 1.5 and len(took) < 8:
        store.put("shaped.mp4", bytes(1_000_000))
        seen = [seen for seen in link.exchanges if seen.operation is Operation.PUT][-1]
        until(lambda: seen.ended, "the end of the exchange")  # noqa: B023
        took.append(seen.ended - seen.began)
    assert min(took) > 0.45
    assert min(took) < 1.5
