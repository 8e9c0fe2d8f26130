"""One listing instead of a question for each file, where that is as good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_agent.errors import CredentialsRefused, StoreUnreachable
from edge_agent.store.base import ObjectInfo
from edge_agent.store.directory import DirectoryStore
from edge_agent.upload import catalogue
from edge_agent.upload.catalogue import Catalogue
from tests.support.upload import StoreBetween

DAY = "videos/dock7/2026/11/22"


class Listed(StoreBetween):
    """Counts its listings; *trouble* is raised instead, once."""

    trouble: Exception | None = None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.count("list")
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        return super().list(prefix)


@pytest.fixture
def store(directory_store: DirectoryStore) -> Listed:
    for name in ("a", "b"):
        directory_store.put(f"{DAY}/{name}.mp4", b"there")
    return Listed(directory_store)


def test_a_day_is_listed_once(store: Listed) -> None:
    """However many are asked for, one listing tells which are not there."""
    asked = Catalogue(store)
    assert [asked.lacks(f"{DAY}/{name}.mp4") for name in "abcdefgh"] == [False] * 2 + [True] * 6
    assert store.calls["list"] == 1


def test_a_device_that_may_not_list_asks_one_by_one(store: Listed) -> None:
    """A role that may only put is no error: nobody knows then, and is not asked again."""
    store.trouble = CredentialsRefused("no", where=DAY)
    asked = Catalogue(store)
    assert [asked.lacks(f"{DAY}/{name}.mp4") for name in "ac"] == [False, False]
    assert store.calls["list"] == 1


def test_a_link_that_is_down_is_trouble_of_the_link(store: Listed) -> None:
    """What keeps a listing from arriving is raised, and the next question asks again."""
    store.trouble = StoreUnreachable("down", where=DAY)
    asked = Catalogue(store)
    with pytest.raises(StoreUnreachable):
        asked.lacks(f"{DAY}/c.mp4")
    assert asked.lacks(f"{DAY}/c.mp4")


def test_a_day_that_holds_too_much_is_not_kept(store: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a listing would be longer than its use, nobody knows, and memory stays small."""
    monkeypatch.setattr(catalogue, "MOST_KEYS", 1)
    asked = Catalogue(store)
    assert not asked.lacks(f"{DAY}/c.mp4")
    assert not asked.lacks(f"{DAY}/d.mp4")
    assert store.calls["list"] == 1
