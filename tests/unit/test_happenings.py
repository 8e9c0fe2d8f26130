"""What has happened since it was last told: each once, none never."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.control.happenings import OVERLAP, Told, camera_events, segment_events
from edge_agent.upload.rows import Row, Sent, State


def row(stem: str, state: State, first_seen: float, changed: float) -> Row:
    return Row(stem, stem, state, 10, 0, 0.0, Sent.NEVER, f"videos/{stem}", "", "", "", "", first_seen, changed)


def names(happenings: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(happening["event"], happening["stem"]) for happening in happenings]


def test_a_segment_is_closed_then_uploaded_each_told_once() -> None:
    """Looked at again within the overlap, nothing is told again; a quick upload tells both at once."""
    told = Told(1000.0)
    found, told = segment_events([row("a", State.READY, 1001, 1001)], told)
    assert names(found) == [("segment_closed", "a")]
    again, told = segment_events([row("a", State.UPLOADING, 1001, 1002)], told)
    assert again == []
    found, told = segment_events([row("a", State.VERIFIED, 1001, 1060), row("b", State.VERIFIED, 1061, 1062)], told)
    assert names(found) == [("segment_uploaded", "a"), ("segment_closed", "b"), ("segment_uploaded", "b")]
    assert segment_events([row("b", State.VERIFIED, 1061, 1062)], Told.of_note(told.as_note(), 1070))[0] == []


def test_what_was_before_is_not_told() -> None:
    """A retried segment of yesterday is no news until it is settled."""
    told = Told(1000.0)
    assert segment_events([row("a", State.READY, 100, 1001)], told)[0] == []
    assert names(segment_events([row("a", State.QUARANTINED, 100, 1002)], told)[0]) == [("segment_failed", "a")]


def test_a_note_from_a_clock_that_was_ahead_begins_now() -> None:
    """Else nothing would be told until the clock has caught up."""
    assert Told.of_note([5000.0, {}], 1000.0) == Told(1000.0)
    assert Told.of_note("nonsense", 1000.0) == Told(1000.0)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 30)), max_size=30), st.lists(st.floats(0, 400), max_size=30))
def test_every_upload_is_told_exactly_once_however_often_one_looks(
    uploads: list[tuple[float, float]], looks: list[float]
) -> None:
    """Rows appear at their times; between them somebody looks, now and then; at the end all were told."""
    rows = [(f"s{number}", 1000 + first, 1000 + first + later) for number, (first, later) in enumerate(uploads)]
    told, heard = Told(1000.0 - OVERLAP), []
    for look in [*sorted(1000 + look for look in looks), 2000.0]:
        there = [
            row(stem, State.VERIFIED, first, done) if done <= look else row(stem, State.READY, first, first)
            for stem, first, done in rows
            if first <= look
        ]
        news = [it for it in sorted(there, key=lambda it: it.changed) if it.changed > told.changed - OVERLAP]
        happenings, told = segment_events(news, told)
        heard += names(happenings)
    uploaded = [stem for event, stem in heard if event == "segment_uploaded"]
    assert sorted(map(str, uploaded)) == sorted(stem for stem, _, _ in rows)


def test_a_camera_is_lost_once_and_back_once() -> None:
    """However often it is tried in between."""
    heard: list[object] = []
    lost: dict[str, bool] = {}
    for state in ("connecting", "recording", "waiting", "waiting", "connecting", "waiting", "connecting", "recording"):
        happenings, lost = camera_events(lost, {"cam1": {"state": state, "problem": "gone"}})
        heard += [happening["event"] for happening in happenings]
    assert heard == ["camera_lost", "camera_back"]
