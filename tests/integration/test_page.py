"""The local page's server: what it shows, what it orders, and whom it refuses."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.control.commands import SetClass
from edge_agent.control.desired import DesiredState
from edge_agent.control.web.callers import FAILURES
from edge_agent.control.web.guard import BODY_BYTES
from edge_agent.control.web.thumbs import Thumbnails
from edge_agent.control.web.token import TokenFile
from edge_agent.segment import ClassTag
from tests.support.page import JPEG, Site, page
from tests.support.wait import promised, tries, until

FIELDS = ("color", "object")
CLASS = "/api/v1/cameras/cam1/class"
RED = {"class": {"color": "red", "object": "cup"}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A page for this box alone."""
    with page(tmp_path) as found:
        yield found


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Site]:
    """A page for the network."""
    with page(tmp_path, host="0.0.0.0", names=("dock7.local",)) as found:  # noqa: S104 - but served on loopback
        yield found


def desired(site: Site) -> DesiredState:
    return DesiredState(site.state, FIELDS)


def test_a_class_that_is_set_is_wanted_durably_and_shown(site: Site) -> None:
    """The order is in the desired state when it is answered, with who gave it and until when."""
    answer = site.call("PUT", CLASS, {**RED, "for": "10m"})
    assert answer.status == 200
    assert answer.json["class"] == {"color": "red", "object": "cup"}
    choice = desired(site).of("cam1").choice
    assert choice is not None
    assert (str(choice.tag), choice.set_by) == ("red_cup", "page:127.0.0.1")
    assert choice.until is not None
    camera = site.get("/api/v1/state").json["cameras"][0]
    assert camera["class"]["tag"] == "red_cup"
    assert site.call("DELETE", CLASS).status == 200
    assert desired(site).of("cam1").choice is None


def test_cameras_are_stopped_and_started_and_uploads_paused(site: Site) -> None:
    """Each order is kept as the shell's would be."""
    assert site.call("PUT", "/api/v1/cameras/cam2/recording", {"recording": False}).json["recording"] is False
    assert site.get("/api/v1/state").json["cameras"][1]["stopped"]
    assert site.call("PUT", "/api/v1/cameras/cam2/recording", {"recording": True}).json["recording"] is True
    assert site.call("PUT", "/api/v1/upload", {"paused": True}).json["paused"] is True
    order = desired(site).upload()
    assert order is not None
    assert not order.on


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        (CLASS, b"{", "JSON"),
        (CLASS, b"[]", "object"),
        (CLASS, b"[" * 4000, "JSON"),
        (CLASS, b"\xff", "JSON"),
        (CLASS, {"class": "red_cup"}, "class"),
        (CLASS, {"class": {"color": "red"}}, "no object"),
        (CLASS, {"class": {"color": "../..", "object": "cup"}}, "color"),
        (CLASS, {"class": {"color": "r" * 300, "object": "cup"}}, "color"),
        (CLASS, {**RED, "for": "soon"}, "soon"),
        (CLASS, {**RED, "until": 3}, "unknown key"),
        ("/api/v1/cameras/cam1/recording", {"recording": "yes"}, "true nor false"),
        ("/api/v1/upload", {"paused": True, "for": "9" * 39 + "d"}, "for"),
    ],
)
def test_an_order_that_cannot_be_is_refused_with_its_reason(site: Site, path: str, body: object, fault: str) -> None:
    """A 400 that names the fault; the desired state stays what it was."""
    answer = site.call("PUT", path, body)
    assert answer.status == 400
    assert fault in answer.json["error"]
    assert not desired(site).path.exists()


def test_a_camera_nobody_has_is_not_there(site: Site) -> None:
    """Orders and pictures of unknown cameras are 404."""
    assert site.call("PUT", "/api/v1/cameras/cam9/class", RED).status == 404
    assert site.get("/snapshot/cam9.jpg").status == 404


def test_a_snapshot_is_the_cameras_picture(site: Site) -> None:
    """Without a second connection to the camera: the agent is asked; a camera that gives none is a 404."""
    answer = site.get("/snapshot/cam1.jpg")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/jpeg", JPEG)
    assert answer.headers["cache-control"] == "no-store"
    assert site.get("/snapshot/cam2.jpg").status == 404


def test_a_picture_that_was_announced_is_there_for_a_slow_page(site: Site) -> None:
    """Asked for by its number it is given, though the camera has been stopped since and gives no other."""
    assert site.get("/snapshot/cam1.jpg").status == 200
    site.agent.cameras.clear()
    until(lambda: site.get("/snapshot/cam1.jpg").status == 404, "the picture to be too old for a new question")
    assert site.get("/snapshot/cam1.jpg?number=1").body == JPEG
    assert site.get("/snapshot/cam1.jpg?number=2").status == 404


def test_a_segment_that_is_uploaded_meanwhile_has_its_picture_all_the_same(tmp_path: Path, yellow_box: Path) -> None:
    """Found where it waited and moved on before it was read, it is looked for again; what is nowhere has none."""
    places = [tmp_path / "ready" / yellow_box.name, yellow_box]
    jpeg = Thumbnails().of(yellow_box.stem, lambda: places.pop(0))
    assert jpeg is not None
    assert jpeg.startswith(b"\xff\xd8")
    assert places == []
    assert Thumbnails().of(yellow_box.stem, lambda: None) is None


@pytest.mark.parametrize(
    "path",
    [
        "/snapshot/../../etc/passwd",
        "/snapshot/..%2f..%2fetc%2fpasswd.jpg",
        "/snapshot/%2e%2e/cam1.jpg",
        "/snapshot/cam1%00.jpg",
        "/thumbnail/..%2f..%2fstate%2fdesired.jpg",
        "/thumbnail/%2e%2e%2fyellow_box_1.jpg",
        "/thumbnail/....//....//etc/passwd.jpg",
        "/page.html/../../../etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_name_leads_out_of_the_pictures(site: Site, path: str) -> None:
    """Whatever a path spells, the answer is 404 and tells nothing of the disk."""
    answer = site.get(path)
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert str(site.state).encode() not in answer.body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a@127.0.0.1", "10.0.0.9"]
)
def test_a_page_for_this_box_is_called_by_a_loopback_name(site: Site, host: str) -> None:
    """A foreign name that points here (DNS rebinding) reads and orders nothing."""
    assert site.get("/api/v1/state", host=host).status == 403
    assert site.call("PUT", CLASS, RED, host=host).status == 403
    assert not desired(site).path.exists()


def test_it_answers_to_localhost(site: Site) -> None:
    """The name every box has for itself."""
    assert site.get("/healthz", host=f"localhost:{site.port}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    ],
)
def test_another_sites_page_orders_nothing(site: Site, headers: dict[str, str]) -> None:
    """What a foreign page sends in a visitor's name is refused."""
    assert site.call("PUT", CLASS, RED, **headers).status == 403
    assert not desired(site).path.exists()


def test_a_link_to_the_page_may_stand_anywhere(site: Site) -> None:
    """Following a link from another site opens the page; its own requests name it as their origin."""
    assert site.get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200
    assert site.call("PUT", CLASS, RED, origin=site.url, sec_fetch_site="same-origin").status == 200


def test_a_form_of_a_foreign_page_is_no_order(site: Site) -> None:
    """Only JSON is taken, which no form can send."""
    body = json.dumps(RED).encode()
    assert site.call("PUT", CLASS, body, content_type="text/plain").status == 415
    assert site.call("PUT", CLASS, body, content_type="application/x-www-form-urlencoded").status == 415


def test_what_is_too_long_is_refused_unread(site: Site) -> None:
    """By its announced length, by its real one, and by its head; the next request is answered."""
    assert site.call("PUT", CLASS, b" " * (BODY_BYTES + 1)).status == 413
    assert site.call("PUT", CLASS, b"", content_length="9" * 15).status == 413
    assert site.chunked("PUT", CLASS, b" " * (BODY_BYTES + 1)) == 413
    with suppress(ConnectionError):  # who is refused before all is sent may find the connection cut
        assert 400 <= site.get("/" + "a" * 100_000).status < 500
    assert site.get("/healthz").status == 200


def test_every_answer_says_what_a_browser_must_not_do(site: Site) -> None:
    """A strict policy stands on pages, pictures, refusals and what is not there."""
    for path in ("/", "/page.js", "/snapshot/cam1.jpg", "/nowhere", "/api/v1/state"):
        headers = site.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert "default-src 'none'" in site.get("/", host="evil.example").headers["content-security-policy"]


def test_the_whole_page_is_small(site: Site) -> None:
    """Under 60 KB without pictures, and nothing of it comes from elsewhere."""
    parts = [site.get(path).body for path in ("/", "/page.js", "/page.css", "/icon.svg")]
    assert sum(map(len, parts)) < 60_000
    assert b"https://" not in b"".join(parts)
    assert b"innerHTML" not in b"".join(parts)


def test_without_the_token_only_the_pages_own_files_are_served(locked: Site) -> None:
    """Everything that tells of the box, or changes it, is 401."""
    assert locked.get("/").status == 200
    assert locked.get("/healthz").json == {"ok": True}
    for path in ("/api/v1/state", "/api/v1/events", "/metrics", "/snapshot/cam1.jpg", "/thumbnail/yellow_box_1.jpg"):
        assert locked.get(path).status == 401, path
    assert locked.call("PUT", CLASS, RED).status == 401
    assert locked.get("/nowhere").status == 401


def test_the_token_lets_in_by_header_and_by_cookie(locked: Site) -> None:
    """A machine sends it each time, a browser once; the cookie is not the token, and ends with it."""
    token = TokenFile(locked.state).read()
    assert (locked.state / "web-token").stat().st_mode & 0o777 == 0o600
    assert locked.get("/metrics", authorization=f"Bearer {token}").status == 200
    signed = locked.call("POST", "/api/v1/session", {"token": token})
    assert signed.status == 204
    cookie = signed.headers["set-cookie"]
    assert token not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    name = cookie.partition(";")[0]
    assert locked.get("/api/v1/state", cookie=name).status == 200
    TokenFile(locked.state).renew()
    assert locked.get("/api/v1/state", cookie=name).status == 401
    assert locked.get("/metrics", authorization=f"Bearer {token}").status == 401


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 5000, "\t", "Basic x"])
def test_a_wrong_token_is_refused(locked: Site, token: str) -> None:
    """Whatever is shown in place of the token."""
    TokenFile(locked.state).read()
    header = f"Bearer {token}".encode().decode("latin-1").strip()
    assert locked.get("/api/v1/state", authorization=header).status == 401


def test_wrong_tokens_are_counted(locked: Site) -> None:
    """After five in a minute a caller waits, with the right one too; browsers that are let in already go on."""
    token = TokenFile(locked.state).read()
    cookie = locked.call("POST", "/api/v1/session", {"token": token}).headers["set-cookie"].partition(";")[0]
    for _ in range(FAILURES):
        assert locked.call("POST", "/api/v1/session", {"token": "guess"}).status == 401
    refused = locked.call("POST", "/api/v1/session", {"token": token})
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert locked.get("/metrics", authorization=f"Bearer {token}").status == 429
    assert locked.get("/api/v1/state", cookie=cookie).status == 200


def test_a_page_for_the_network_answers_to_its_names_and_to_addresses(locked: Site) -> None:
    """Names of others are refused there too, before any token is looked at."""
    for host in ("dock7.local", "dock7", "192.168.1.7:8080", "[fd00::7]:8080"):
        assert locked.get("/", host=host).status == 200, host
    assert locked.get("/", host="evil.example").status == 403


def test_metrics_are_prometheus_text(site: Site) -> None:
    """A Prometheus parser reads them; every name has its prefix, every counter ends in _total."""
    answer = site.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert all(name.startswith("edge_capture_") for name in families)
    recording = {sample.labels["camera"]: sample.value for sample in families["edge_capture_camera_recording"].samples}
    assert recording == {"cam1": 1, "cam2": 0}
    assert all(family.documentation for family in families.values())


def test_readiness_is_that_all_is_well(site: Site) -> None:
    """A camera that is away makes the box not ready, in plain words; it still is healthy."""
    site.agent.cameras["cam2"] = {**site.agent.cameras["cam1"]}
    until(lambda: (site.get("/readyz").status, site.get("/healthz").status) == (200, 200), "that it is ready")
    site.agent.cameras["cam1"] = {"state": "waiting", "problem": "no packet for 12 s", "attempt": 3}
    until(lambda: site.get("/readyz").status == 503, "that it is not ready")
    assert site.get("/healthz").status == 200
    assert site.get("/api/v1/state").json["health"]["words"] == ["cam1: no packet for 12 s (retry 3)"]


def test_an_open_page_is_sent_what_changes(site: Site) -> None:
    """The whole state at once, and again within a second of an order given elsewhere: of some, the one told first."""
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", site.port), 60) as connection:
        connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with connection.makefile("rb") as stream:
            shown = (
                json.loads(line[6:])["cameras"][0]["class"]["tag"]
                for line in stream
                if line.startswith(b'data: {"device"')
            )
            assert next(shown) == "yellow_box"
            while min(waits, default=60.0) >= promised(1) and len(waits) < len(tries(5)):
                tag = ClassTag(FIELDS, ("red", f"cup{len(waits)}"))
                began = time.monotonic()
                desired(site).apply(SetClass("cam1", tag), "test", datetime.now(UTC))
                assert str(tag) in shown  # reads on until it is there
                waits.append(time.monotonic() - began)
    assert min(waits) < promised(1)
