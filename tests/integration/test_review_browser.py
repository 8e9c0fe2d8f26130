"""The review page in a real browser, over real frames, hostile names and two people at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloud.dataset.index import VideoIndex
from cloud.judge import savings
from cloud.judge.policy import verdicts
from cloud.judge.rules import Blur, Duplicate, JudgeRules
from cloud.review.catalogue import Item
from cloud.review.web import room
from edge_agent.store.directory import DirectoryStore
from tests.support import moto_server
from tests.support.browser import chromium
from tests.support.ports import free_port
from tests.support.reviewing import PRICE, Site, decisions, extracted, frames_of, invented, served
from tests.support.wait import until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

STEM = "yellow_box_1"
NARROW = (320, 640)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One Chromium for all tests; its helper processes come and go as pages do."""
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        driver = found.service.process.pid
        moto_server.running.add(driver)
        yield found
        moto_server.running.discard(driver)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, yellow_box: Path) -> DirectoryStore:
    """Frames of real footage."""
    return extracted(tmp_path_factory.mktemp("real") / "dataset", yellow_box)


def opened(browser: WebDriver, site: Site) -> None:
    """Open the page and wait for its first frame."""
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(site.url)
    until(lambda: shown(browser, ".tile .which"), "the first frame")
    until(lambda: "video" in shown(browser, "#read") and "so far" not in shown(browser, "#read"), "all items")


def shown(browser: WebDriver, selector: str) -> str:
    """The text of what *selector* finds, as it is seen; empty where nothing is."""
    text: str = browser.execute_script(
        "const found = document.querySelector(arguments[0]);"
        "return found && found.checkVisibility() ? found.innerText : ''",
        selector,
    )
    return text


def ask(browser: WebDriver, script: str, *arguments: Any) -> Any:
    return browser.execute_script(f"return {script}", *arguments)


def keys(browser: WebDriver, *typed: str) -> None:
    """Type into whatever has the focus."""
    from selenium.webdriver import ActionChains

    chain = ActionChains(browser)
    for key in typed:
        chain.send_keys(key)
    chain.perform()


def saved(browser: WebDriver) -> None:
    until(lambda: shown(browser, "#saved") == "all saved", "that all is saved")


def complaints(browser: WebDriver) -> list[str]:
    """What the browser's console holds against the page, as a breach of its policy."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def test_a_video_is_reviewed_with_the_keyboard_alone(browser: WebDriver, real: DirectoryStore) -> None:
    """Keep, drop, a range, undo, full size and back: what the page says is saved stands in the data set."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    with served(frames_of(real)) as site:
        opened(browser, site)
        until(lambda: shown(browser, "#labels") == "16", "the labels to be bought")
        assert shown(browser, "#money") == "$0.64"
        until(lambda: ask(browser, "document.querySelector('.tile img').naturalWidth") == 320, "a thumbnail")
        keys(browser, "d", "k")
        shift = ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        shift.key_up(Keys.SHIFT).send_keys("d").perform()
        saved(browser)
        assert decisions(real, STEM) == {
            0: ("drop", "ann"),
            30: ("keep", "ann"),
            **dict.fromkeys((60, 90, 120), ("drop", "ann")),
        }
        until(lambda: shown(browser, "#labels") == "12", "the labels left")
        keys(browser, "u")
        saved(browser)
        assert decisions(real, STEM) == {0: ("drop", "ann"), 30: ("keep", "ann")}
        keys(browser, Keys.HOME, Keys.ENTER)
        until(lambda: ask(browser, "document.getElementById('view-picture').naturalWidth") > 320, "the full picture")
        until(lambda: "drop, by ann (was kept)" in shown(browser, "#view-words"), "who dropped it")
        keys(browser, "c", "n")
        until(lambda: shown(browser, "#view-name") == f"{STEM}_000030", "the next frame")
        keys(browser, Keys.ESCAPE, "?")
        until(lambda: shown(browser, "#help-title") == "Keys", "the help")
        keys(browser, Keys.ESCAPE)
        saved(browser)
        assert decisions(real, STEM) == {30: ("keep", "ann")}
        assert complaints(browser) == []


def test_a_slider_says_what_the_policy_would(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """Labels and money saved are those of rules with that threshold; dropping them is one step, and one to undo."""
    scores = [{"blur": round(n * 0.37 % 1, 4), "duplicate": round(n * 0.61 % 1, 4)} for n in range(80)]
    index = invented(directory_store, "blue_box_1", scores, pictures=False)
    rules = JudgeRules(blur=Blur(action="reject", threshold=0.42), duplicate=Duplicate(action="reject", threshold=0.6))
    after = verdicts(scores, rules)
    wanted = savings.savings(after, PRICE)
    before = savings.savings(index.frames, PRICE)
    with served(frames_of(directory_store)) as site:
        opened(browser, site)
        until(lambda: shown(browser, "#labels") == str(before.labels), "the labels to be bought")
        set_value = (
            "(() => { arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        for judge, limit in (("blur", 0.42), ("duplicate", 0.6)):
            ask(browser, set_value, browser.find_element("css selector", f"[data-score={judge}] .exact"), limit)
        saves = before.labels - wanted.labels
        words = f"Together {saves} labels, ${saves * PRICE:.2f} saved. {wanted.labels} left for ${wanted.usd:.2f}."
        until(lambda: shown(browser, "#together-words") == words, words)
        was_listed = [frame.verdict != "rejected" for frame in index.frames]
        blurred = sum(found.reasons[:1] == ("blur",) for found, listed in zip(after, was_listed, strict=True) if listed)
        assert shown(browser, "[data-score=blur] output") == f"saves {blurred} labels, ${blurred * PRICE:.2f}"
        ask(browser, "arguments[0].click()", browser.find_element("id", "drop-beyond"))
        saved(browser)
        until(lambda: shown(browser, "#labels") == str(wanted.labels), "the labels left")
        assert len(decisions(directory_store, "blue_box_1")) == saves
        keys(browser, "u")
        until(lambda: shown(browser, "#labels") == str(before.labels), "the step undone")
        saved(browser)
        assert decisions(directory_store, "blue_box_1") == {}


def test_two_reviewers_at_once_see_each_other(
    browser: WebDriver, directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people with a server each over one data set: both see who dropped what, and everything is stored."""
    monkeypatch.setattr(room, "NEWS_SECONDS", 0.2)
    invented(directory_store, "blue_box_1", [{"blur": 0.0}] * 6)
    with served(frames_of(directory_store), "ann") as first, served(frames_of(directory_store), "ben") as second:
        opened(browser, first)
        ann = browser.current_window_handle
        browser.switch_to.new_window("window")
        ben = browser.current_window_handle
        try:
            opened(browser, second)
            keys(browser, "d")
            saved(browser)
            browser.switch_to.window(ann)
            until(lambda: shown(browser, "#tile-0 .mark") == "\u2715 ben", "what ben dropped")
            keys(browser, "nk")
            saved(browser)
            browser.switch_to.window(ben)
            until(lambda: shown(browser, "#tile-1 .mark") == "\u2713 ann", "what ann kept")
            assert decisions(directory_store, "blue_box_1") == {0: ("drop", "ben"), 30: ("keep", "ann")}
        finally:
            browser.switch_to.window(ben)
            browser.close()
            browser.switch_to.window(ann)


def test_a_decision_waits_for_a_lost_connection(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """While the server is away the page says so and how many decisions wait; when it is back they are stored."""
    invented(directory_store, "blue_box_1", [{"blur": 0.0}] * 3)
    with served(frames_of(directory_store), port=free_port()) as site:
        opened(browser, site)
        saved(browser)
    keys(browser, "d", "d")
    until(lambda: shown(browser, "#saved") == "no connection: 2 decisions waiting", "that they wait")
    assert decisions(directory_store, "blue_box_1") == {}
    with served(frames_of(directory_store), port=site.port):
        saved(browser)
        assert decisions(directory_store, "blue_box_1") == {0: ("drop", "ann"), 30: ("drop", "ann")}


def test_filters_and_views_show_what_they_say(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """Faces, background only, verdicts, classes and a search: the count says how many; hostile names stay text."""
    hostile = "<img src=x onerror=document.title='broken'>"
    scores = [{"faces": 1.0}, {"background": 0.9}, {"duplicate": 0.99}, {}, {}]
    invented(directory_store, "blue_box_1", scores)
    invented(directory_store, "red_box_2", [{}] * 3, tag={"color": hostile, "object": "\u202e'\"&"})
    directory_store.put("index/blue_box_9.json", f'{{"{hostile}": 1}}'.encode())

    def press(words: str) -> None:
        script = (
            "((one) => { one?.click(); return one !== undefined; })"
            "([...document.querySelectorAll('button')].find((one) => one.innerText.startsWith(arguments[0])))"
        )
        until(lambda: ask(browser, script, words), words)

    with served(frames_of(directory_store)) as site:
        opened(browser, site)
        for button, count in (("Faces", "1 of 8"), ("Background only", "1 of 8"), ("To label", "7 of 8"), ("All", "8")):
            press(button)
            until(lambda count=count: shown(browser, "#count").startswith(f"{count} frames"), button)  # type: ignore[misc]
        press("rejected")
        until(lambda: shown(browser, "#count") == "1 of 8 frames", "the rejected one")
        until(lambda: shown(browser, ".tile .reason") == "duplicate 0.99", "its reason")
        press("show all")
        browser.find_element("id", "search").send_keys("red_box")
        until(lambda: shown(browser, "#count") == "3 of 8 frames", "those found")
        press("By class")
        until(lambda: "onerror" in shown(browser, ".head h3"), "the hostile class as text")
        until(lambda: "1 × damaged index" in shown(browser, "#findings summary"), "the finding")
        assert browser.title == "dock 7 \u2013 review"
        assert ask(browser, "document.querySelectorAll('img[src=x]').length") == 0
        assert complaints(browser) == []
        browser.find_element("id", "search").clear()


class Boxed:
    """Wraps a catalogue: every item has boxes, such as labels that came back."""

    def __init__(self, store: DirectoryStore) -> None:
        from cloud.labeling.labels import Box

        self._frames = frames_of(store)
        self._boxes = (Box("cup", 4, 4, 20, 10, 0.9), Box("<b>", 30, 8, 9, 9, 0.3))
        for name in ("picture", "decide", "news", "findings", "title"):
            setattr(self, name, getattr(self._frames, name))

    def groups(self) -> Iterator[list[Item]]:
        for group in self._frames.groups():
            yield [replace(item, boxes=self._boxes, width=64, height=40) for item in group]


def test_boxes_are_drawn_and_filtered_by_confidence(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """Each box with its label over the picture; those below the confidence asked for are not drawn."""
    from selenium.webdriver.common.keys import Keys

    invented(directory_store, "blue_box_1", [{}] * 2)
    with served(Boxed(directory_store)) as site:  # type: ignore[arg-type]
        opened(browser, site)
        until(lambda: ask(browser, "document.querySelectorAll('#tile-0 rect').length") == 2, "two boxes")
        keys(browser, Keys.ENTER)
        until(lambda: ask(browser, "document.querySelectorAll('#view-boxes text').length") == 2, "labels")
        names = "[...document.querySelectorAll('#view-boxes text')].map((one) => one.textContent)"
        assert sorted(ask(browser, names)) == ["<b> 0.30", "cup 0.90"]
        keys(browser, Keys.ESCAPE)
        range_ = browser.find_element("id", "confidence")
        ask(browser, "(arguments[0].value = 0.5, arguments[0].dispatchEvent(new Event('input')))", range_)
        until(lambda: ask(browser, "document.querySelectorAll('#tile-0 rect').length") == 1, "one box less")
        assert complaints(browser) == []


def test_a_narrow_screen_has_everything(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """On the narrowest phone nothing is cut off sideways, filters open over the grid, a tap opens a frame to decide."""
    invented(directory_store, "blue_box_1", [{"blur": 0.2}] * 9)
    width, height = NARROW
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        with served(frames_of(directory_store)) as site:
            opened(browser, site)
            assert ask(browser, "document.documentElement.scrollWidth") <= width
            browser.find_element("id", "panel-button").click()
            until(lambda: shown(browser, "#threshold-title"), "the thresholds")
            browser.find_element("id", "panel-button").click()
            touch = "new PointerEvent('click', {bubbles: true, pointerType: 'touch'})"
            ask(browser, f"document.querySelector('#tile-0').dispatchEvent({touch})")
            until(lambda: shown(browser, "#view-name"), "the frame")
            browser.find_element("css selector", "#viewer [data-act=drop]").click()
            until(lambda: decisions(directory_store, "blue_box_1") == {0: ("drop", "ann")}, "the decision")
            assert shown(browser, "#view-name") == "blue_box_1_000030"
            assert ask(browser, "document.documentElement.scrollWidth") <= width
    finally:
        metrics = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_a_locked_page_opens_by_its_link_alone(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """A wrong token is refused in words; the link opens the page, and the token is gone from the address."""
    invented(directory_store, "blue_box_1", [{}])
    with served(frames_of(directory_store), locked=True) as site:
        assert site.lock is not None
        browser.get(site.url)
        until(lambda: shown(browser, "#sign-in"), "the question for the token")
        browser.find_element("id", "token").send_keys("guess\n")
        until(lambda: "wrong token" in shown(browser, "#sign-in-problem"), "the refusal")
        browser.get("about:blank")
        browser.get(f"{site.url}#token={site.lock.token}")
        until(lambda: shown(browser, ".tile .which"), "the frame")
        assert browser.current_url == site.url
        with suppress(KeyError):
            browser.delete_all_cookies()


def test_pictures_are_made_smaller_and_stay_so(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """By keys or slider, more or fewer are in a row; the frame under the cursor stays in view; the next visit is so."""
    invented(directory_store, "blue_box_1", [{}] * 90)
    columns = "new Set([...document.querySelectorAll('.tile')].map((tile) => tile.style.transform.split(',')[0])).size"
    bottom = "document.querySelector('.tile.cursor')?.getBoundingClientRect().bottom"
    with served(frames_of(directory_store)) as site:
        opened(browser, site)
        usual = ask(browser, columns)
        keys(browser, *"n" * 60, "-", "-", "-", "-")
        until(lambda: ask(browser, columns) > 1.8 * usual, "more in a row")
        until(lambda: 0 < (ask(browser, bottom) or 0) <= ask(browser, "innerHeight"), "the frame under the cursor")
        few = ask(browser, columns)
        size = browser.find_element("id", "size")
        assert size.accessible_name == "Picture size"
        assert size.get_attribute("aria-valuetext") == f"{few} in a row"
        opened(browser, site)
        until(lambda: ask(browser, columns) == few, "as many as before")
        size = browser.find_element("id", "size")
        ask(browser, "(arguments[0].value = 1, arguments[0].dispatchEvent(new Event('input')))", size)
        until(lambda: ask(browser, columns) < usual, "fewer in a row")
        ask(browser, "localStorage.clear()")
        assert complaints(browser) == []


def test_of_many_frames_few_are_in_the_document(browser: WebDriver, directory_store: DirectoryStore) -> None:
    """Six thousand frames, scrolled to the end: the last one is shown, and the document holds only what is seen."""
    for number in range(30):
        invented(directory_store, f"blue_box_{number:02d}", [{"blur": 0.1}] * 200, pictures=False)
    assert VideoIndex.from_json(directory_store.get("index/blue_box_00.json").body) is not None
    with served(frames_of(directory_store)) as site:
        opened(browser, site)
        assert shown(browser, "#count") == "6,000 frames"
        ask(browser, "(document.getElementById('grid').scrollTop = 1e9)")
        until(lambda: ask(browser, "document.getElementById('tile-5999') !== null"), "the last frame")
        assert ask(browser, "document.querySelectorAll('.tile').length") < 80
