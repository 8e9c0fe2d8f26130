"""What the review page's server answers, refuses, stores and tells."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import pytest

from cloud import cli
from cloud.dataset import overrides
from cloud.dataset.findings import Findings
from cloud.dataset.overrides import Decision
from cloud.review.catalogue import Catalogue, Decided, Item, Word
from cloud.review.web import reading, room
from cloud.review.web.guard import BODY_BYTES
from cloud.review.web.server import Listen, NotListening, serve
from edge_agent.errors import ObjectNotFound, StoreUnreachable
from edge_agent.store import ObjectStore, StoredObject
from edge_agent.store.directory import DirectoryStore
from tests.support.reviewing import Site, decisions, frames_of, invented, picture, served
from tests.support.wait import until

STEM = "blue_box_1"
SCORES = [{"blur": 0.1, "duplicate": 0.0}, {"blur": 0.6, "duplicate": 0.2}, {"blur": 0.2, "duplicate": 0.95}]


@pytest.fixture
def site(directory_store: DirectoryStore) -> Iterator[Site]:
    """A page over one video of three frames: kept, flagged, rejected."""
    invented(directory_store, STEM, SCORES)
    with served(frames_of(directory_store)) as found:
        yield found


def test_all_items_come_in_columns(site: Site) -> None:
    """A head with title, reviewer and price; packed groups; an end that says that there is no more."""
    head, packed, end = site.items()
    assert (head["title"], head["by"], head["price"]) == ("dock 7", "ann", 0.04)
    assert packed["groups"] == [[STEM, 3]]
    assert packed["id"] == ["+_000000", "+_000030", "+_000060"]
    assert packed["verdict"] == "kfr"
    assert packed["scores"] == {"blur": [0.1, 0.6, 0.2], "duplicate": [0.0, 0.2, 0.95]}
    assert end == {"end": True, "failure": ""}


def test_a_thumbnail_is_small_and_has_a_validator(directory_store: DirectoryStore) -> None:
    """A large picture comes small, and not again when the browser has it; nothing but pictures is handed out."""
    invented(directory_store, STEM, SCORES)
    directory_store.put(f"frames/{STEM}/{STEM}_000000.jpg", picture(90, 1920, 1080))
    directory_store.put(f"frames/{STEM}/{STEM}_000030.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    directory_store.delete(f"frames/{STEM}/{STEM}_000060.jpg")
    with served(frames_of(directory_store)) as site:
        site.items()
        thumb = site.get(f"/thumb/{STEM}_000000")
        assert (thumb.status, thumb.headers["content-type"]) == (200, "image/jpeg")
        assert len(thumb.body) < len(site.get(f"/picture/{STEM}_000000").body) / 4
        again = site.get(f"/thumb/{STEM}_000000", if_none_match=thumb.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert site.get(f"/thumb/{STEM}_000030").status == 404
        assert site.get(f"/picture/{STEM}_000030").status == 415
        for gone in (f"{STEM}_000060", f"{STEM}_000090", "other_box_1_000000", "..%2F..%2Findex", "%00"):
            assert site.get(f"/picture/{gone}").status == 404
        until(lambda: any("the picture is not there" in line for line in site.told), "the finding on the terminal")


def test_a_decision_is_answered_when_it_is_stored(site: Site, directory_store: DirectoryStore) -> None:
    """What was decided stands in the store with the person's name; a decision taken back is gone."""
    site.items()
    answer = site.decide("ben", {f"{STEM}_000000": "drop", f"{STEM}_000060": "keep"})
    assert (answer.status, answer.json) == (200, {"failed": {}})
    assert decisions(directory_store, STEM) == {0: ("drop", "ben"), 60: ("keep", "ben")}
    site.decide("ann", {f"{STEM}_000000": None})
    assert decisions(directory_store, STEM) == {60: ("keep", "ben")}


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", {"changes": []}, {"changes": {"x": "burn"}}, {"by": 7, "changes": {}}, {"by": "a\nb", "changes": {}}],
)
def test_a_request_that_is_none_is_refused_in_words(site: Site, body: object) -> None:
    """Whatever is sent, the answer is one line of JSON."""
    answer = site.call("POST", "/api/decisions", body)
    assert answer.status == 400
    assert answer.json["error"].startswith("request: ")


def test_one_damaged_file_keeps_no_other_decision_from_being_stored(directory_store: DirectoryStore) -> None:
    """Of a batch over two videos, that of the video with the damaged file is refused by name; the other is stored."""
    for stem in (STEM, "blue_box_2"):
        invented(directory_store, stem, SCORES)
    with served(frames_of(directory_store)) as site:
        site.items()
        directory_store.put(overrides.key_of(STEM), b"not JSON")
        answer = site.decide(
            "ann", {f"{STEM}_000000": "drop", "blue_box_2_000000": "drop", "nobody_box_1_000000": "drop"}
        )
        assert sorted(answer.json["failed"]) == [f"{STEM}_000000", "nobody_box_1_000000"]
        assert "holds no review decisions" in answer.json["failed"][f"{STEM}_000000"]
        assert decisions(directory_store, "blue_box_2") == {0: ("drop", "ann")}


def test_what_is_damaged_is_told_and_the_rest_is_shown(directory_store: DirectoryStore) -> None:
    """A broken index, broken and outdated decisions: each one line on the terminal and the page, and counted."""
    for stem in (STEM, "blue_box_2", "blue_box_3"):
        invented(directory_store, stem, SCORES)
    directory_store.put("index/blue_box_4.json", b"{}")
    directory_store.put(overrides.key_of("blue_box_2"), b"{")
    overrides.decide(directory_store, "blue_box_3", "another version", {0: Decision(decision="drop")})
    with served(frames_of(directory_store)) as site:
        packed = site.items()[1:-1]
        assert [group for line in packed for group in line["groups"]] == [
            [STEM, 3],
            ["blue_box_2", 3],
            ["blue_box_3", 3],
        ]
        until(lambda: len(site.told) == 3, "three findings on the terminal")
    assert [part for line in site.told for part in ("no index", "no review", "another version") if part in line]


class Failing:
    """A catalogue whose store does not answer."""

    title = "away"

    def groups(self) -> Iterator[Sequence[Item]]:
        yield [Item("a_0", "a", "a_0", "box", "kept")]
        raise StoreUnreachable("no connection", where="s3://away")

    def findings(self) -> Findings:
        return Findings()

    def picture(self, item: str) -> tuple[bytes, str]:
        raise StoreUnreachable("no connection", where="s3://away")

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        raise StoreUnreachable("no connection", where="s3://away")

    def news(self) -> Mapping[str, Decided | None]:
        return {}


def test_a_store_that_does_not_answer_is_said_to_be_worth_another_try() -> None:
    """The page is told to try again, not that a decision was refused; what was read before is shown."""
    catalogue: Catalogue = Failing()
    with served(catalogue) as site:
        _, packed, end = site.items()
        assert packed["id"] == ["+_0"]
        assert end["failure"] == "s3://away: no connection"
        answer = site.decide("ann", {"a_0": "drop"})
        assert (answer.status, answer.json) == (503, {"error": "s3://away: no connection"})
        assert site.get("/thumb/a_0").status == 503


def test_what_another_process_decides_is_news(store: ObjectStore) -> None:
    """Decisions made, changed and taken back elsewhere are found by looking again, on either store; others are not."""
    for stem in (STEM, "blue_box_2"):
        invented(store, stem, SCORES, pictures=False)
    ours, theirs = frames_of(store), frames_of(store)
    assert [len(group) for catalogue in (ours, theirs) for group in catalogue.groups()] == [3, 3, 3, 3]
    theirs.decide({f"{STEM}_000000": "drop", "blue_box_2_000030": "keep"}, "ben")
    assert ours.news() == {f"{STEM}_000000": Decided("drop", "ben"), "blue_box_2_000030": Decided("keep", "ben")}
    assert ours.news() == {}
    theirs.decide({f"{STEM}_000000": None}, "ben")
    assert ours.news() == {f"{STEM}_000000": None}
    with pytest.raises(ObjectNotFound):
        ours.decide({"blue_box_9_000000": "drop"}, "ann")


class Faltering(DirectoryStore):
    """A store whose link fails, once, when that key is read."""

    failing = ""

    def get(self, key: str) -> StoredObject:
        if key == self.failing:
            self.failing = ""
            raise StoreUnreachable("no connection", where=key)
        return super().get(key)


def test_news_that_could_not_be_read_comes_with_the_next_look(directory_store: DirectoryStore) -> None:
    """The link fails while one of two others' decisions is read: both are told as soon as it is back, and once."""
    store = Faltering(directory_store.root)
    for stem in (STEM, "blue_box_2"):
        invented(store, stem, SCORES, pictures=False)
    ours = frames_of(store)
    assert len(list(ours.groups())) == 2
    for stem in (STEM, "blue_box_2"):
        overrides.decide(directory_store, stem, "v1", {0: Decision(decision="drop", by="ben")})
    for stem in (STEM, "blue_box_2"):
        store.failing = overrides.key_of(stem)
        with pytest.raises(StoreUnreachable):
            ours.news()
    assert ours.news() == {f"{stem}_000000": Decided("drop", "ben") for stem in (STEM, "blue_box_2")}
    assert ours.news() == {}


def test_what_is_decided_before_a_video_is_reached_is_news(directory_store: DirectoryStore) -> None:
    """Somebody decides on the last video while the page still reads the first: it is shown, though not read with it."""
    stems = [f"blue_box_{number:03d}" for number in range(40)]
    for stem in stems:
        invented(directory_store, stem, [{"blur": 0.1}], pictures=False)
    ours = frames_of(directory_store)
    groups = ours.groups()
    next(groups)
    overrides.decide(directory_store, stems[-1], "v1", {0: Decision(decision="drop", by="ben")})
    assert ours.news() == {}
    assert [item.decision for group in groups for item in group] == [None] * 39
    assert ours.news() == {f"{stems[-1]}_000000": Decided("drop", "ben")}


def test_a_page_that_outlived_its_video_leaves_decisions_on_the_newer_alone(directory_store: DirectoryStore) -> None:
    """The frames it shows are gone: what is decided on them is refused in words, the others' decisions stand."""
    index = invented(directory_store, STEM, SCORES, pictures=False)
    with served(frames_of(directory_store)) as site:
        site.items()
        newer = index.model_copy(update={"video": index.video.model_copy(update={"etag": "v2"})})
        directory_store.put(f"index/{STEM}.json", newer.to_json())
        overrides.decide(directory_store, STEM, "v2", {30: Decision(decision="drop", by="ben")})
        answer = site.decide("ann", {f"{STEM}_000000": "keep"})
        assert "newer version of the video than the one shown" in answer.json["failed"][f"{STEM}_000000"]
        assert decisions(directory_store, STEM) == {30: ("drop", "ben")}
    overrides.decide(directory_store, STEM, "v1", {0: Decision(decision="drop", by="ben")})
    ours = frames_of(directory_store)
    assert len(list(ours.groups())) == 1
    assert ours.decide({f"{STEM}_000030": "keep"}, "ann") == {f"{STEM}_000030": Decided("keep", "ann")}


def test_reviewers_who_decide_at_once_lose_nothing(store: ObjectStore) -> None:
    """Two processes that decide about frames of one video at the same time: every decision stands."""
    invented(store, STEM, [{"blur": 0.0}] * 16, pictures=False)
    catalogues = [frames_of(store), frames_of(store)]
    for catalogue in catalogues:
        assert sum(len(group) for group in catalogue.groups()) == 16

    def review(catalogue: Catalogue, by: str, first: int) -> None:
        for place in range(first, 16, 2):
            catalogue.decide({f"{STEM}_{place * 30:06d}": "drop"}, by)

    people = [
        threading.Thread(target=review, args=(catalogue, by, first))
        for first, (catalogue, by) in enumerate(zip(catalogues, ("ann", "ben"), strict=True))
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert decisions(store, STEM) == {place * 30: ("drop", ("ann", "ben")[place % 2]) for place in range(16)}


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"host_": "evil.example"}, "foreign name"),
        ({"host_": "192.0.2.7"}, "foreign name"),
        ({"origin": "http://evil.example"}, "another site"),
        ({"origin": "null"}, "another site"),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, "another site"),
    ],
)
def test_a_foreign_page_gets_nothing(site: Site, headers: dict[str, str], why: str) -> None:
    """A name that was made to point here, and another site's page, are refused, whatever they ask for."""
    for path in ("/", "/api/items", f"/thumb/{STEM}_000000"):
        answer = site.get(path, **headers)
        assert answer.status == 403
        assert why in answer.json["error"]


def test_every_answer_forbids_scripts_but_the_pages_own(site: Site) -> None:
    """The policy stands on the page, on data, on pictures and on refusals; no answer has an inline script."""
    site.items()
    for path in ("/", "/page.js", "/api/items", f"/picture/{STEM}_000000", "/nothing"):
        headers = site.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
    assert b"<script>" not in site.get("/").body
    assert site.call("POST", "/api/decisions", b"x", content_length="9999999").status == 413


def test_what_is_too_long_is_refused_unread(site: Site) -> None:
    """A body that is longer than it was said to be is one line of JSON and no fault of the server's."""
    for path in ("/api/decisions", "/api/session"):
        assert site.chunked("POST", path, b" " * (BODY_BYTES + 1)) == 413
    assert site.items()[-1] == {"end": True, "failure": ""}
    assert site.told == []


def test_elsewhere_a_token_is_demanded(directory_store: DirectoryStore) -> None:
    """Without the token, or with a wrong one, there is the bare page and nothing else; its cookie opens the rest."""
    invented(directory_store, STEM, SCORES)
    with served(frames_of(directory_store), locked=True) as site:
        assert site.lock is not None
        assert site.get("/").status == 200
        for path in ("/api/items", "/api/events", f"/thumb/{STEM}_000000", f"/picture/{STEM}_000000"):
            assert site.get(path).status == 401
        assert site.decide("ann", {}).status == 401
        for wrong in ("", "guess", site.lock.session, "\u00e9"):
            assert site.call("POST", "/api/session", {"token": wrong}).status == 401
        assert site.call("POST", "/api/session", b"{").status == 400
        opened = site.call("POST", "/api/session", {"token": site.lock.token})
        assert opened.status == 204
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert site.get("/api/items", cookie=cookie.partition(";")[0]).status == 200
        assert site.get("/api/items", cookie=f"{site.lock.cookie}={site.lock.token}").status == 401


def test_a_taken_port_is_one_line(directory_store: DirectoryStore) -> None:
    """The address that cannot be listened on is named, with what to do."""
    with served(frames_of(directory_store)) as site:
        place, stop = Listen("127.0.0.1", site.port), threading.Event()
        with pytest.raises(NotListening, match="in use; stop what uses"):
            serve(frames_of(directory_store), place, by=None, price=1, tell=lambda _: None, stop=stop)


def test_strict_shows_nothing_while_anything_is_wrong(
    directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing picture is one line and a count, and the exit status is 1."""
    invented(directory_store, STEM, SCORES)
    directory_store.delete(f"frames/{STEM}/{STEM}_000030.jpg")
    monkeypatch.setattr(sys, "argv", ["edge-cloud", "review", str(directory_store.root), "--strict"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    err = capsys.readouterr().err
    assert caught.value.code == 1
    assert f"{STEM}_000030.jpg: the picture is not there; run edge-cloud fsck" in err
    assert "--strict: 1 × missing picture" in err


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--as", "a\nb"], 2, "--as: 'a\\nb' is no name of a reviewer; write one line of up to 80 characters"),
        (["--as", ""], 2, "--as: '' is no name of a reviewer"),
        (["--listen", "here"], 2, "--listen: 'here' is no address to listen on"),
        (["--static", "nosuch/a.html"], 2, "nosuch: no such directory"),
        (["--static", "a.html", "--strict"], 1, "holds no processed video; is it a data set?"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_shown(
    directory_store: DirectoryStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    said: str,
) -> None:
    """A name, an address or a file that cannot be, and an empty data set: one line that says what to do."""
    monkeypatch.chdir(directory_store.root)
    monkeypatch.setattr(sys, "argv", ["edge-cloud", "review", str(directory_store.root), *options])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (status, "")
    assert said in err


def test_faults_are_told_before_anybody_opens_the_page(directory_store: DirectoryStore) -> None:
    """The terminal hears of an empty data set without a browser; the page hears of it when it is opened."""
    with served(frames_of(directory_store)) as site:
        until(lambda: len(site.told) == 1, "the finding on the terminal")
        assert "holds no processed video" in site.told[0]
        assert site.items()[-1] == {"end": True, "failure": ""}


def test_reading_waits_once_for_the_first_picture(
    directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody asks for pictures all is read nevertheless, after one wait; a picture ends it."""
    waited = list[float | None]()

    class Watched(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return True

    for number in range(4):
        invented(directory_store, f"blue_box_{number}", [{"blur": 0.1}] * 8, pictures=False)
    monkeypatch.setattr(reading, "FIRST_ITEMS", 8)
    monkeypatch.setattr(reading, "MOST_ITEMS", 8)
    read = reading.Reading(frames_of(directory_store), lambda _: None, lambda: None)
    read._looked = Watched()
    read.start()
    read.join()
    assert (len(read.lines), read.ended, waited) == (4, True, [1.0])


def test_the_command_serves_until_it_is_told_to_stop(directory_store: DirectoryStore) -> None:
    """It prints the link first, answers there, and ends cleanly at Ctrl-C."""
    invented(directory_store, STEM, SCORES)
    command = [sys.executable, "-m", "cloud.cli", "review", str(directory_store.root), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        link = next(line for line in lines if line.startswith("http://127.0.0.1:")).strip()
        assert Site(int(link.rstrip("/").rpartition(":")[2])).items()[1]["verdict"] == "kfr"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


class Slow(Failing):
    """A catalogue that is still being read."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def groups(self) -> Iterator[Sequence[Item]]:
        self.go_on.wait(60)
        yield [Item("a_0", "a", "a_0", "box", "kept")]

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        return {item: Decided(word, by) for item, word in changes.items() if word}


def test_a_page_that_outlived_its_server_waits_for_the_next_one_to_read() -> None:
    """A decision on what a new server has not read yet is worth another try, not refused."""
    catalogue = Slow()
    with served(catalogue) as site:
        try:
            assert site.decide("ann", {"a_0": "drop"}).status == 503
        finally:
            catalogue.go_on.set()
        site.items()
        assert site.decide("ann", {"a_0": "drop"}).json == {"failed": {}}


class Behind(Slow):
    """A catalogue whose reader still holds a decision that was taken back since, as its news say."""

    def groups(self) -> Iterator[Sequence[Item]]:
        self.go_on.wait(60)
        yield [Item("a_0", "a", "a_0", "box", "kept", decision=Decided("drop", "ben"))]

    def news(self) -> Mapping[str, Decided | None]:
        return {"a_0": None}


def test_a_decision_taken_back_while_it_is_read_stays_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer word stands, whichever of news and reading comes first."""
    monkeypatch.setattr(room, "NEWS_SECONDS", 0.01)
    catalogue = Behind()
    with served(catalogue) as site:
        try:
            with heard(site) as first:
                assert first == "event: standing\ndata: {}\n"
                until(lambda: '"none":["a_0"]' in now(site), "that the decision was taken back")
        finally:
            catalogue.go_on.set()
        site.items()
        assert now(site) == 'event: standing\ndata: {"":{"none":["a_0"]}}\n'


@contextmanager
def heard(site: Site) -> Iterator[str]:
    """What a page hears first as it opens its line, which stays open."""
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as connection:
        connection.request("GET", "/api/events")
        answer = connection.getresponse()
        yield (answer.readline() + answer.readline()).decode()


def now(site: Site) -> str:
    with heard(site) as first:
        return first
