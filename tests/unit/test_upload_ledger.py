"""What the ledger remembers, and what it survives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import IntegrityMismatch, SpoolUnusable, StoreUnreachable, VideoUnreadable
from edge_agent.upload.ledger import FARTHEST_DUE, Ledger
from edge_agent.upload.retry import FILE_LONGEST
from edge_agent.upload.rows import State, Trouble, read_status

NOW = 1_795_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


def discover(ledger: Ledger, *stems: str, now: float = NOW) -> None:
    ledger.discovered([(stem, f"{stem}.mp4", 100) for stem in stems], now)


def due(ledger: Ledger, now: float = NOW) -> list[str]:
    return [row.stem for row in ledger.due_now(now, 100)]


def test_a_discovered_segment_is_due_at_once(ledger: Ledger) -> None:
    """What the rescan finds is ready, counted, and first come first served."""
    discover(ledger, "a_b_2")
    discover(ledger, "a_b_1", now=NOW + 1)
    assert due(ledger, NOW + 1) == ["a_b_2", "a_b_1"]
    assert ledger.counts() == {state: 2 if state is State.READY else 0 for state in State}
    assert list(ledger.waiting()) == ["a_b_2", "a_b_1"]


def test_a_segment_is_remembered_by_the_next_process(path: Path) -> None:
    """Every note is on disk when its method returns: another opening reads the same."""
    with Ledger(path) as first:
        discover(first, "a_b_1")
        first.uploading("a_b_1", NOW)
        first.verified("a_b_1", NOW + 1, key="videos/k", size=100, checksum="crc", etag="e")
        before = first.get("a_b_1")
    with Ledger(path) as second:
        assert second.torn is None
        assert second.get("a_b_1") == before
        assert before is not None
        assert (before.state, before.key, before.etag, bool(before.perhaps_stored)) == (
            State.VERIFIED,
            "videos/k",
            "e",
            True,
        )


def test_what_was_in_flight_in_two_crashes_is_ready_behind_all_others(ledger: Ledger) -> None:
    """What a crash interrupted goes on first; what takes its uploader down again lets every other go first."""
    discover(ledger, "a_b_1", "a_b_2")
    ledger.uploading("a_b_1", NOW)
    assert due(ledger) == ["a_b_2"]
    assert ledger.recovered(NOW + 5) == 1
    assert due(ledger, NOW + 5) == ["a_b_1", "a_b_2"]
    assert ledger.recovered(NOW + 5) == 0
    ledger.uploading("a_b_1", NOW)
    assert ledger.recovered(NOW + 6, but=["a_b_1"]) == 0
    assert ledger.recovered(NOW + 6) == 1
    assert due(ledger, NOW + 6) == ["a_b_2", "a_b_1"]


def test_a_postponed_segment_waits_for_its_time_alone(ledger: Ledger) -> None:
    """A file's own error moves its due time and counts an attempt; the others do not wait."""
    discover(ledger, "a_b_1", "a_b_2")
    ledger.postponed("a_b_1", IntegrityMismatch("arrived damaged"), NOW, attempts=1, due=NOW + 2)
    ledger.verified("a_b_2", NOW, key="k", size=100, checksum="c")
    assert due(ledger, NOW + 1.9) == []
    assert ledger.next_due() == NOW + 2
    assert due(ledger, NOW + 2) == ["a_b_1"]
    row = ledger.get("a_b_1")
    assert row is not None
    assert (row.attempts, row.error_code, row.error) == (1, "IntegrityMismatch", "arrived damaged")


def test_a_released_segment_has_no_attempt_counted(ledger: Ledger) -> None:
    """A link that fails counts against no file."""
    discover(ledger, "a_b_1", "a_b_2")
    for _ in range(2):
        ledger.uploading("a_b_1", NOW)
        ledger.released("a_b_1", StoreUnreachable("no route"), NOW + 1)
    row = ledger.get("a_b_1")
    assert row is not None
    assert (row.state, row.attempts, bool(row.perhaps_stored)) == (State.READY, 0, True)
    assert due(ledger, NOW + 1) == ["a_b_2", "a_b_1"]


def test_a_segment_put_back_begins_anew(ledger: Ledger) -> None:
    """A file that a person moved from failed/ back to ready/ is tried as if new, but the store is asked first."""
    discover(ledger, "a_b_1")
    ledger.quarantined("a_b_1", VideoUnreadable("has no frame"), NOW)
    assert list(ledger.waiting()) == []
    discover(ledger, "a_b_1", now=NOW + 60)
    row = ledger.get("a_b_1")
    assert row is not None
    assert (row.state, row.attempts, row.error, row.due, bool(row.perhaps_stored)) == (
        State.READY,
        0,
        "",
        NOW + 60,
        True,
    )
    assert row.first_seen == NOW


@given(step=st.floats(min_value=-1e9, max_value=1e9))
def test_no_step_of_the_wall_clock_delays_a_segment_beyond_the_longest_back_off(
    tmp_path_factory: pytest.TempPathFactory, step: float
) -> None:
    """Wherever the wall clock jumps to, a waiting segment is due within five minutes."""
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        discover(ledger, "a_b_1")
        assert due(ledger, NOW + step) or due(ledger, NOW + step + FILE_LONGEST)
    assert FARTHEST_DUE >= FILE_LONGEST


def test_a_ledger_is_whole_once_all_was_seen(path: Path) -> None:
    """What a first scan has noted before a crash does not make the next ledger take the rest for never sent."""
    with Ledger(path) as ledger:
        discover(ledger, "a_b_1")
        assert not ledger.is_whole()
    with Ledger(path) as ledger:
        assert not ledger.is_whole()
        ledger.scanned(NOW)
    with Ledger(path) as ledger:
        assert ledger.is_whole()


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be one" * 99, b"SQLite format 3\0torn"])
def test_a_damaged_ledger_is_moved_aside_and_begun_anew(path: Path, damage: bytes) -> None:
    """A file that is no ledger never stops the uploads, and is kept for whoever wants to know."""
    path.write_bytes(damage)
    with Ledger(path) as ledger:
        assert not ledger.is_whole()
        assert ledger.torn is not None
        assert ledger.torn.name.startswith("ledger.sqlite.torn-")
        assert ledger.torn.read_bytes() == damage
        discover(ledger, "a_b_1")


def test_a_ledger_torn_in_the_middle_is_noticed(path: Path) -> None:
    """Damage inside a ledger that still opens is found before anything is believed."""
    with Ledger(path) as ledger:
        discover(ledger, *(f"a_b_{number}" for number in range(500)))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with Ledger(path) as ledger:
        assert ledger.torn is not None
        assert not ledger.is_whole()


def test_a_second_torn_ledger_does_not_overwrite_the_first(path: Path) -> None:
    """Every damaged ledger is kept under a name of its own."""
    kept = []
    for _ in range(2):
        path.write_bytes(b"junk" * 500)
        with Ledger(path) as ledger:
            kept.append(ledger.torn)
        path.unlink()
    assert len(set(kept)) == 2


def test_a_ledger_of_a_newer_version_is_moved_aside(path: Path) -> None:
    """After a downgrade the spool decides, not tables nobody here understands."""
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with Ledger(path) as ledger:
        assert ledger.torn is not None


def test_every_commit_is_on_the_disk_when_it_returns(ledger: Ledger) -> None:
    """The writer's own connection syncs its log at each commit: a power cut takes nothing that was noted."""
    settings = [ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # 2: FULL; with 1, NORMAL, the log is synced only now and then


def test_the_log_keeps_to_the_room_it_was_given(path: Path, ledger: Ledger) -> None:
    """However much is noted, the log takes no more of the disk than it did at the start: it may be full by now."""
    log = path.with_name(f"{path.name}-wal")
    before = log.stat().st_size
    for number in range(40):
        discover(ledger, *(f"a_b_{number}_{other}" for other in range(100)))
    assert log.stat().st_size == before


def test_a_second_writer_is_refused_until_the_first_is_gone(path: Path, ledger: Ledger) -> None:
    """Two uploaders never work on one spool at the same time."""
    with pytest.raises(SpoolUnusable, match="another uploader"):
        Ledger(path)
    ledger.close()
    Ledger(path).close()


def test_an_unwritable_place_is_said_in_one_line(tmp_path: Path) -> None:
    """A ledger that cannot be made names its path and what to do."""
    with pytest.raises(SpoolUnusable, match="absent/ledger"):
        Ledger(tmp_path / "absent" / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(SpoolUnusable, match="unable to open"):
        Ledger(tmp_path / "ledger.sqlite")


def test_another_process_reads_the_status_beside_the_writer(path: Path, ledger: Ledger) -> None:
    """Status needs no lock, changes nothing, and sees the newest note."""
    discover(ledger, "a_b_1", "a_b_2", "a_b_3")
    ledger.verified("a_b_1", NOW + 1, key="k", size=100, checksum="c")
    ledger.quarantined("a_b_2", VideoUnreadable("has no frame"), NOW + 2)
    assert ledger.link_lost(StoreUnreachable("no route"), NOW + 3)
    status, recent = read_status(path, recent=2)
    assert status == ledger.status()
    assert (status.waiting, status.waiting_bytes, status.oldest_waiting) == (1, 100, NOW)
    assert status.link == Trouble("StoreUnreachable", "no route", NOW + 3)
    assert status.last_error == status.link
    assert status.last_success is not None
    assert status.last_success.stem == "a_b_1"
    assert [row.stem for row in recent] == ["a_b_2", "a_b_1"]


def test_a_status_is_read_where_nothing_may_be_written(path: Path) -> None:
    """Reading a ledger at rest leaves the directory as it was, and a missing one is said to be missing."""
    with pytest.raises(SpoolUnusable, match="no ledger yet"):
        read_status(path)
    Ledger(path).close()
    before = sorted(path.parent.iterdir())
    assert read_status(path)[0].waiting == 0
    assert sorted(path.parent.iterdir()) == before


def test_a_lost_link_is_news_once(ledger: Ledger) -> None:
    """The same trouble again is no news; another trouble, and the recovery, are."""
    assert ledger.link_lost(StoreUnreachable("no route"), NOW)
    assert not ledger.link_lost(StoreUnreachable("no route"), NOW + 9)
    assert ledger.link_lost(StoreUnreachable("refused"), NOW + 10)
    assert ledger.link_restored()
    assert not ledger.link_restored()
    assert ledger.status().link is None


@given(name=st.text(st.characters(codec=None), min_size=1, max_size=40))
def test_any_file_name_can_be_noted(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Whatever bytes a file is named, the ledger takes it and gives it back unchanged."""
    name = name.encode("utf-8", "ignore").decode("utf-8") + "\udcff"
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        ledger.discovered([("stem", name, 1)], NOW)
        assert [(row.stem, row.file) for row in ledger.due_now(NOW, 9)] == [("stem", name)]
        ledger.quarantined("stem", VideoUnreadable(f"{name} is odd"), NOW)
