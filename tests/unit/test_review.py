"""The pure parts of review: columns, addresses, who may call, thumbnails, the report."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.pictures import media_type, shown_header_of
from cloud.labeling.labels import Box
from cloud.review.catalogue import Decided, Item, Word
from cloud.review.spread import Spread
from cloud.review.web import report as report_page
from cloud.review.web.columns import packed
from cloud.review.web.guard import Lock, host_of, is_known, is_same
from cloud.review.web.report import is_wanted, write
from cloud.review.web.server import Listen, link
from cloud.review.web.thumbs import Thumbnails, shrunk
from edge_agent.errors import ConfigInvalid, ObjectConflict, ObjectNotFound
from tests.support.reviewing import picture

NOW = datetime(2026, 11, 22, 14, 31, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>&\"'</script>"
names = st.text("ab_0", min_size=1, max_size=4)
floats = st.none() | st.floats(0, 1) | st.just(float("inf"))


@st.composite
def items(draw: st.DrawFn) -> Item:
    verdict: Literal["kept", "rejected", "flagged"] = draw(st.sampled_from(["kept", "rejected", "flagged"]))
    scores = draw(st.dictionaries(st.sampled_from(["blur", "faces"]), st.floats(0, 1)))
    return Item(
        id=draw(names),
        group=draw(names),
        name=draw(names),
        tag=draw(names),
        verdict=verdict,
        reasons=draw(st.sampled_from([(), ("blur",), ("blur", "faces")])),
        scores=scores,
        time=draw(floats),
        camera=draw(names),
        boxes=draw(st.sampled_from([(), (Box("cup", 1, 2, 3, 4, 0.5),)])),
    )


def at(column: Any, place: int) -> Any:
    return column[place] if isinstance(column, list) else column


@given(st.lists(items(), min_size=1, max_size=8))
def test_columns_say_what_the_items_say(given_items: list[Item]) -> None:
    """Every item can be read out of the columns again, as the page does."""
    groups = [list(group) for _, group in groupby(given_items, lambda item: item.group)]
    document = json.loads(packed(groups))
    place = 0
    for group, (name, size) in zip(groups, document["groups"], strict=True):
        assert size == len(group)
        for item in group:
            assert name == item.group
            mark, rest = document["id"][place][0], document["id"][place][1:]
            assert (name + rest if mark == "+" else rest) == item.id
            assert (at(document["name"], place) or item.id) == item.name
            for column, value in (("tag", item.tag), ("camera", item.camera), ("reasons", list(item.reasons))):
                values, of = document[column]
                assert values[at(of, place)] == value
            for score, column in document["scores"].items():
                assert at(column, place) == item.scores.get(score)
            if "boxes" in document:
                assert len(document["boxes"][place]) == len(item.boxes)
            place += 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8765", Listen("127.0.0.1", 8765)),
        ("localhost:1", Listen("127.0.0.1", 1)),
        (":80", Listen("127.0.0.1", 80)),
        ("[::1]:80", Listen("::1", 80)),
        ("192.0.2.1", Listen("192.0.2.1", 0)),
    ],
)
def test_an_address_to_listen_on(text: str, expected: Listen) -> None:
    """A host and a port in the usual ways; what is missing is loopback and any free port."""
    assert Listen.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["here:80", "127.0.0.1:http", "127.0.0.1:70000", "a b", "127.0.0.1/x", "[::1", "u@::1"]
)
def test_no_address_is_one_error(text: str) -> None:
    """Whatever is typed that is none is refused with how to write it."""
    with pytest.raises(ConfigInvalid, match=r"--listen: .* is no address"):
        Listen.parse(text)


def test_the_link_has_the_token_where_no_server_sees_it() -> None:
    """On loopback there is no token; elsewhere it stands behind the hash."""
    assert link(Listen("127.0.0.1", 8765), None) == "http://127.0.0.1:8765/"
    assert link(Listen("::1", 8765), Lock("secret")) == "http://[::1]:8765/#token=secret"
    assert [Listen(host).is_local for host in ("127.0.0.1", "::1", "::", "192.0.2.1")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("header", "local", "known"),
    [
        ("localhost:1", True, True),
        ("127.0.0.1", True, True),
        ("[::1]:1", True, True),
        ("192.0.2.1", True, False),
        ("192.0.2.1", False, True),
        ("evil.example", False, False),
        ("", False, False),
        ("u@127.0.0.1", True, False),
        ("127.0.0.1:x", True, False),
        ("[::1", True, False),
    ],
)
def test_by_which_names_the_page_is_called(header: str, local: bool, known: bool) -> None:
    """Addresses and localhost; for this machine alone, only those of loopback."""
    assert is_known(host_of(header), is_local=local) is known


def test_an_empty_secret_equals_nothing() -> None:
    """Tokens compare whole, and none is never shown."""
    assert is_same("a", "a")
    assert not is_same("", "")
    assert not is_same("a", "ab")


@given(st.integers(0, 400), st.integers(1, 40))
def test_a_share_of_the_frames_is_spread_evenly(count: int, most: int) -> None:
    """Never more than the limit, never less than half of it when there are so many, every so-manieth from the first."""
    spread = Spread[int](most)
    for number in range(count):
        if spread.takes_next():
            spread.kept.append(number)
    assert spread.kept == list(range(0, count, spread.every))
    assert min(count, most // 2) <= len(spread.kept) <= most


def test_only_what_a_browser_may_show_is_a_picture() -> None:
    """By its first bytes; SVG, which has scripts, and HTML are none."""
    assert media_type(picture(3)) == "image/jpeg"
    assert media_type(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    assert [media_type(body) for body in (b"", b"<svg/>", b"<html>", b"RIFF1234WAVE")] == [None] * 4


def test_thumbnails_fit_and_are_made_once() -> None:
    """Wide and tall pictures fit into the tile, small ones stay as they are, damaged ones are an error of ours."""
    from cloud.decode.jpeg import coded_size

    sizes = [coded_size(shrunk(picture(9, *size))) for size in ((1920, 1080), (400, 1600), (64, 40), (5000, 2))]
    assert sizes == [(320, 180), (60, 240), (64, 40), (320, 1)]
    asked = []

    def read(item: str) -> tuple[bytes, str]:
        asked.append(item)
        return picture(9), ""

    thumbnails = Thumbnails(read)
    assert thumbnails.of("a") is thumbnails.of("a")
    assert asked == ["a"]
    for damaged in (b"", b"text", b"\xff\xd8\xff\xe0", picture(9)[:30], b"\x89PNG\r\n\x1a\n12"):
        with pytest.raises(ObjectConflict):
            shrunk(damaged)


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 20_000, 20_000),
        b"GIF89a" + struct.pack("<HH", 20_000, 20_000),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 20_000, -20_000),
        b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + struct.pack("<HBHB", 19_999, 0, 19_999, 0),
    ],
    ids=["png", "gif", "bmp", "webp"],
)
def test_a_small_file_that_claims_a_huge_picture_is_not_decoded(head: bytes) -> None:
    """Two gigabytes would be taken for a thumbnail: its size is looked at first, whatever kind it is of."""
    with pytest.raises(ObjectConflict, match="20000x20000"):
        shrunk(head + bytes(99))


@pytest.mark.parametrize(("suffix", "level"), [(".png", []), (".bmp", []), (".webp", [64, 80]), (".webp", [64, 101])])
def test_whatever_a_browser_shows_has_a_thumbnail(suffix: str, level: list[int]) -> None:
    """PNG, BMP and both kinds of WebP say their size, and fit into the tile like a JPEG."""
    import cv2
    import numpy as np

    from cloud.decode.jpeg import coded_size

    body = cv2.imencode(suffix, np.full((300, 800, 3), 90, np.uint8), level)[1].tobytes()
    header = shown_header_of(body)
    assert header is not None
    assert (header.width, header.height) == (800, 300)
    assert coded_size(shrunk(body)) == (320, 120)


@given(st.sampled_from([b"GIF8", b"BM", b"RIFF1234WEBPVP8 ", b"RIFF1234WEBPVP8L", b"RIFF1234WEBPVP8X"]), st.binary())
def test_no_bytes_break_the_reading_of_what_is_shown(head: bytes, rest: bytes) -> None:
    """A size of at least one pixel, or none."""
    header = shown_header_of(head + rest)
    assert header is None or min(header.width, header.height) > 0


class Shelf:
    """A catalogue in memory, as hostile as names can be."""

    title = HOSTILE

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def groups(self) -> Iterator[Sequence[Item]]:
        yield self._items

    def findings(self) -> Findings:
        findings = Findings()
        findings.add(Finding("missing_picture", HOSTILE, None, "is gone"))
        return findings

    def picture(self, item: str) -> tuple[bytes, str]:
        if item == "gone":
            raise ObjectNotFound("no such object", where=HOSTILE)
        return picture(100), "image/jpeg"

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        raise NotImplementedError

    def news(self) -> Mapping[str, Decided | None]:
        return {}


def test_the_report_is_one_file_without_a_script(tmp_path: Path) -> None:
    """Counts, money, reasons and pictures; what comes from outside is text in it; nothing is loaded from anywhere."""
    shelf = Shelf(
        [
            Item("a", "v", HOSTILE, HOSTILE, "kept", scores={HOSTILE: 0.5}),
            Item("b", "v", "b", "box", "rejected", ("blur",), {"blur": 0.7}),
            Item("c", "v", "c", "box", "flagged", ("faces",), {"faces": 2.0}, decision=Decided("drop", HOSTILE)),
            Item("gone", "v", "d", "box", "rejected", ("blur",), decision=Decided("keep", "ann")),
        ]
    )
    report = write(shelf, tmp_path / "report.html", 0.5, NOW)
    page = (tmp_path / "report.html").read_text()
    assert (report.items, report.pictures, report.findings.total) == (4, 4, 1)
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") == 3
    assert "picture missing" in page
    for fact in ("<dd>4</dd><dt>frames", "<dd>2</dd><dt>to label", "<dd>$1.00</dd><dt>saved", "<dd>2</dd><dt>decided"):
        assert fact in page
    with pytest.raises(ConfigInvalid, match="cannot be written"):
        write(shelf, tmp_path / "no" / "report.html", 0.5, NOW)


def test_a_persons_word_is_no_doubt(tmp_path: Path) -> None:
    """Keep and drop have their own colours in the report, beside what the judge says; of others nothing stands."""
    shelf = Shelf(
        [
            Item("a", "v", "a", "box", "flagged", ("blur",), decision=Decided("keep", "ann")),
            Item("b", "v", "b", "box", "kept"),
        ]
    )
    write(shelf, tmp_path / "report.html", 0.5, NOW)
    page = (tmp_path / "report.html").read_text()
    assert 'a<b>blur</b><b class="said keep">keep, said ann</b></figcaption>' in page
    assert ">b</figcaption>" in page


def test_the_report_says_how_few_of_the_frames_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame in so many, in words that are true of any number."""
    monkeypatch.setattr(report_page, "PICTURES", 3)
    write(Shelf([Item(str(at), "v", "a", "box", "kept") for at in range(6)]), tmp_path / "report.html", 0.5, NOW)
    assert "One frame in 2 is shown: 3 of 6." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("verdict", "word", "wanted"),
    [
        ("kept", None, True),
        ("flagged", None, True),
        ("rejected", None, False),
        ("rejected", "keep", True),
        ("kept", "drop", False),
    ],
)
def test_a_persons_word_wins(verdict: Literal["kept", "rejected", "flagged"], word: Word | None, wanted: bool) -> None:
    """What is to be labelled: the decision where there is one, else what the machine says."""
    decided = Decided(word, "ann") if word else None
    assert is_wanted(Item("a", "g", "a", "t", verdict, decision=decided)) is wanted
