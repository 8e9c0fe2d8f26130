"""What the ledger notes of uploads in parts, and what it forgets."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.errors import VideoUnreadable
from edge_agent.upload import history, schema
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.prepared import Identity
from edge_agent.upload.rows import State
from edge_agent.upload.unfinished import Unfinished

NOW = 1_795_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def upload(stem: str, upload_id: str = "u1") -> Unfinished:
    identity = Identity(inode=2**64 - 1, size=40 << 20, mtime_ns=1_795_000_000_123_456_789)
    return Unfinished(stem, f"videos/dock7/{stem}.mp4", upload_id, 8 << 20, identity, "Y3Jj")


def discover(ledger: Ledger, *stems: str, now: float = NOW) -> None:
    ledger.discovered([(stem, f"{stem}.mp4", 100) for stem in stems], now)


def test_a_begun_upload_is_remembered_by_the_next_process(path: Path) -> None:
    """What was begun is on disk, whole, before the first byte goes; a later one of the segment takes its place."""
    with Ledger(path) as ledger:
        ledger.unfinished.begun(upload("a_b_1", "u0"), NOW)
        ledger.unfinished.begun(upload("a_b_1"), NOW)
    with Ledger(path) as ledger:
        assert ledger.unfinished.of("a_b_1") == upload("a_b_1")
        assert ledger.unfinished.is_known("u1")
        assert not ledger.unfinished.is_known("u0")
        ledger.unfinished.forgotten("a_b_1")
        assert ledger.unfinished.of("a_b_1") is None


def test_an_upload_that_was_only_asked_for_is_nobodys_to_abort(path: Path) -> None:
    """Until the store has told its id it is known by its segment alone; then by both."""
    with Ledger(path) as ledger:
        ledger.unfinished.begun(upload("a_b_1", ""), NOW)
        assert ledger.unfinished.of("a_b_1") == upload("a_b_1", "")
        ledger.unfinished.begun(upload("a_b_1"), NOW)
        assert ledger.unfinished.is_known("u1")


def test_an_upload_whose_segment_waits_no_more_has_no_owner(path: Path) -> None:
    """Only segments that are still to be uploaded keep their uploads; one that is being completed is such."""
    with Ledger(path) as ledger:
        discover(ledger, "a_b_1", "a_b_2", "a_b_3")
        for stem in ("a_b_1", "a_b_2", "a_b_3", "a_b_4"):
            ledger.unfinished.begun(upload(stem, f"u-{stem}"), NOW)
        ledger.uploading("a_b_1", NOW)
        ledger.unfinished.completing("a_b_1", NOW)
        ledger.quarantined("a_b_2", VideoUnreadable("has no frame"), NOW)
        assert [found.stem for found in ledger.unfinished.ownerless()] == ["a_b_2", "a_b_4"]
        assert [stem for stem in ("a_b_1", "a_b_2", "a_b_3") if ledger.unfinished.is_waiting(stem)] == [
            "a_b_1",
            "a_b_3",
        ]
        row = ledger.get("a_b_1")
        assert row is not None
        assert row.state is State.COMPLETING


def test_a_ledger_of_the_first_version_is_brought_up_with_all_it_knew(path: Path) -> None:
    """An update of the agent costs no row: what waited waits, what was verified stays verified."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{schema.MIGRATIONS[0]}; PRAGMA user_version = 1;")
        rows = [("a_b_1", b"a_b_1.mp4", "ready"), ("a_b_2", b"a_b_2.mp4", "verified")]
        connection.executemany(
            "INSERT INTO segments (stem, file, state, size, due, first_seen, changed) VALUES (?, ?, ?, 9, 1, 1, 1)",
            rows,
        )
        connection.commit()
    with Ledger(path) as ledger:
        assert ledger.torn is None
        assert [row.stem for row in ledger.due_now(NOW, 10)] == ["a_b_1"]
        assert ledger.counts()[State.VERIFIED] == 1
        ledger.unfinished.begun(upload("a_b_1"), NOW)
        assert ledger.unfinished.of("a_b_1") == upload("a_b_1")


def test_what_is_long_over_and_gone_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old rows go once the copy is gone; what is kept, waits, needs a person, or is young stays, page after page."""
    monkeypatch.setattr(history, "PAGE", 2)
    with Ledger(path) as ledger:
        discover(ledger, *(f"a_b_{number}" for number in range(10)))
        for number in range(7):
            ledger.verified(f"a_b_{number}", NOW + number, key="k", size=1, checksum="c")
        ledger.quarantined("a_b_7", VideoUnreadable("has no frame"), NOW)
        ledger.vanished("a_b_8", VideoUnreadable("left"), NOW)
        assert ledger.history.prune(NOW + 6, lambda file: file in {"a_b_0.mp4", "a_b_3.mp4"}) == 5
        left = [row.stem for row in reversed(ledger.recent(10))]
    assert sorted(left) == ["a_b_0", "a_b_3", "a_b_6", "a_b_7", "a_b_9"]
