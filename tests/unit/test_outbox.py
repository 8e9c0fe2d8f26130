"""Messages that wait for the link: bounded, in order, durable, counted."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.control.outbox import FILE_NAME, Kind, Message, Outbox

SENDS = st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 60)), max_size=40)


def message(kind: Kind, size: int, number: int = 0) -> Message:
    return Message(kind, "t", (b"%06d" % number).ljust(size, b"."))


def test_messages_leave_in_the_order_they_came_and_survive_a_restart(tmp_path: Path) -> None:
    """Those that were not removed are there again, with what was noted beside them."""
    box = Outbox(tmp_path)
    box.add([message(Kind.EVENT, 10, number) for number in range(3)], {"told": [1.5, {}]})
    box.remove(box.oldest(1))
    box.close()
    box = Outbox(tmp_path)
    assert [item.payload[:6] for item in box.oldest(9)] == [b"000001", b"000002"]
    assert box.note("told", None) == [1.5, {}]
    assert (box.backlog().waiting, box.backlog().bytes) == (2, 20)
    box.close()


def test_telemetry_goes_before_any_event(tmp_path: Path) -> None:
    """With no room, the oldest telemetry is let go first, then the oldest events; both are counted, for good."""
    box = Outbox(tmp_path, limit=100)
    box.add([message(Kind.EVENT, 30, 1), message(Kind.TELEMETRY, 30, 2), message(Kind.TELEMETRY, 30, 3)])
    box.add([message(Kind.EVENT, 40, 4)])
    assert [item.payload[:6] for item in box.oldest(9)] == [b"000001", b"000003", b"000004"]
    box.add([message(Kind.EVENT, 60, 5)])
    assert [item.payload[:6] for item in box.oldest(9)] == [b"000004", b"000005"]
    assert box.backlog().dropped == {Kind.TELEMETRY: 2, Kind.EVENT: 1}
    box.close()
    box = Outbox(tmp_path, limit=100)
    assert box.backlog().dropped == {Kind.TELEMETRY: 2, Kind.EVENT: 1}
    box.close()


@given(SENDS)
def test_the_bound_holds_whatever_comes(tmp_path_factory: object, sends: list[tuple[Kind, int]]) -> None:
    """Never more bytes than the limit; what is kept and what was dropped are all there ever was."""
    directory = tmp_path_factory.mktemp("outbox")  # type: ignore[attr-defined]
    box = Outbox(directory, limit=100)
    for number, (kind, size) in enumerate(sends):
        box.add([message(kind, max(size, 6), number)])
        assert box.backlog().bytes <= 100
    kept, backlog = box.oldest(1000), box.backlog()
    assert backlog.waiting == len(kept)
    assert backlog.bytes == sum(len(item.payload) for item in kept)
    for kind in Kind:
        mine = [item for item in kept if item.kind is kind]
        assert backlog.dropped[kind] + len(mine) == sum(it is kind for it, _ in sends)
    box.close()


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    """What waited is lost, what comes is kept."""
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    box = Outbox(tmp_path)
    box.add([message(Kind.EVENT, 10)])
    assert box.backlog().waiting == 1
    box.close()
