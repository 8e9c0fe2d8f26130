"""`edge-cloud label review`: labels looked at, filtered, dropped by hand in a browser, and written clean."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud.dataset.findings import Findings
from cloud.dataset.overrides import Decision
from cloud.dataset.pictures import Pictures, header_of
from cloud.labeling.filtering import Rules
from cloud.labeling.output import choose, survey
from cloud.labeling.review_catalogue import Decisions, LabelCatalogue
from cloud.labeling.review_pass import Judge, Task, measure
from cloud.review.catalogue import Decided
from cloud.review.web.server import Listen, serve
from edge_agent.errors import ObjectConflict, ObjectNotFound
from edge_agent.store.s3 import S3Store
from tests.support.browser import chromium
from tests.support.clock import FakeClock
from tests.support.command import Run
from tests.support.manifests import GROUND_TRUTH, boxed, line, write
from tests.support.wait import until

YELLOW, BLUE = (GROUND_TRUTH / f"{name}.output.manifest" for name in ("yellow-box-large", "blue-box-small"))
ON_THE_CLIP = {0: (298, 13, 297, 226), 120: (189, 33, 365, 250), 240: (258, 77, 303, 217), 300: (137, 119, 351, 250)}
"""Where the yellow box is on frames of the clip: left, top, width, height, found by its colour and looked at."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(monkeypatch, capsys, "label", "review")


@pytest.fixture(scope="module")
def frames(yellow_box: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some frames of the clip, named as ours are."""
    import av
    import cv2

    directory = tmp_path_factory.mktemp("frames")
    with av.open(str(yellow_box)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in ON_THE_CLIP:
                cv2.imwrite(str(directory / f"yellow_box_1_{index:06d}.jpg"), frame.to_ndarray(format="bgr24"))
            if index == max(ON_THE_CLIP):
                break
    return directory


def on_clip(index: int, *boxes: tuple[int, int, int, int]) -> dict[str, Any]:
    name = f"s3://cameras/frames/yellow_box_1/yellow_box_1_{index:06d}.jpg"
    return {**boxed(index, *(boxes or (ON_THE_CLIP[index],)), label="storage box"), "source-ref": name}


def test_the_real_labels_are_told_of_and_kept_whatever_is_asked(run: Run) -> None:
    """A confidence of 0.5 would drop all 579 boxes: it is said and not done, and the clean manifest is the same."""
    status, out, err = run(YELLOW, "--min-confidence", "0.5", "--out", "clean.manifest")
    assert (status, err) == (0, "")
    assert "633 lines, 633 labelled (56 with nothing in the picture), 0 unlabelled, 0 failed, 0 unreadable" in out
    assert "class 'storage box': 579 in 577 pictures, confidence 0.09 to 0.29" in out
    assert (
        "--min-confidence 0.5 is not used: the highest of 579 confidences is 0.29, every label would be dropped" in out
    )
    assert "suspicious boxes: 8 aspect, 2 tiny" in out
    assert f"{YELLOW}:488: 'storage box' 3x3 is under 24 pixels wide or high" in out
    assert Path("clean.manifest").read_bytes().splitlines() == YELLOW.read_bytes().splitlines()


def test_the_slips_of_the_real_workers_are_left_out_when_asked(run: Run) -> None:
    """Two boxes of a few pixels go, with their confidences; their lines, and the 631 others, stay to the byte."""
    status, out, _ = run(YELLOW, "--drop-suspicious", "tiny", "--min-confidence", "0.05", "--out", "clean.manifest")
    assert status == 0
    assert "left out: 2 labels of lines that are kept, tiny" in out
    before, after = YELLOW.read_text().splitlines(), Path("clean.manifest").read_text().splitlines()
    different = [number for number, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new]
    assert different == [393, 488]
    assert [len(json.loads(after[number - 1])["bb"]["annotations"]) for number in different] == [1, 1]
    assert [len(json.loads(after[number - 1])["bb-metadata"]["objects"]) for number in different] == [1, 1]


def test_what_stands_is_never_overwritten_and_the_same_run_twice_is_no_error(run: Run) -> None:
    """The result depends on the input alone; another file in its place is left alone."""
    assert run(BLUE, "--out", "clean.manifest")[0] == 0
    assert run(BLUE, "--out", "clean.manifest")[0] == 0
    status, _, err = run(YELLOW, "--out", "clean.manifest")
    assert status == 1
    assert err.startswith("error: clean.manifest: holds something else")
    assert Path("clean.manifest").read_bytes().splitlines() == BLUE.read_bytes().splitlines()


def test_boxes_are_drawn_where_the_object_is(run: Run, frames: Path) -> None:
    """The rectangle's colour is found on the sheet around the box in the picture, and nowhere else in its tile."""
    import cv2
    import numpy as np

    from cloud.labeling.review_sheets import LOOK
    from cloud.review.drawing import MARGIN, TITLE
    from cloud.review.tiles import color_of

    manifest = write(Path("clip.manifest"), [on_clip(index) for index in ON_THE_CLIP])
    status, out, err = run(manifest, "--images", frames, "--sheets", "sheets")
    assert (status, err) == (0, "")
    assert "sheets: 2 pictures" in out
    sheet = cv2.imread("sheets/class-storage.box-001.jpg")
    assert sheet is not None
    scale, top = LOOK.tile_width / 640, MARGIN + TITLE
    tile = sheet[top : top + round(480 * scale), MARGIN : MARGIN + LOOK.tile_width].astype(int)
    rows, columns = np.nonzero((abs(tile - np.array(color_of("storage box"))) < 25).all(axis=2))
    left, upper, width, height = (value * scale for value in ON_THE_CLIP[0])
    assert abs(np.array([columns.min(), columns.max()]) - [left, left + width]).max() <= 4
    assert abs(np.array([rows.min(), rows.max()]) - [upper, upper + height]).max() <= 12  # the name stands on top
    assert header_of(Path("sheets/confidence.png").read_bytes(), 1) is not None


def test_pictures_that_are_missing_or_of_another_size_are_told(run: Run, frames: Path) -> None:
    """The frame is 640x480 and was labelled at 1920x1080; the other is nowhere. --strict makes it an error."""
    other = boxed(1, (1, 2, 300, 400), size=(1920, 1080)) | {"source-ref": on_clip(0)["source-ref"]}
    missing = boxed(2, (1, 2, 300, 400)) | {"source-ref": "file:///nowhere/a.jpg"}
    manifest = write(Path("odd.manifest"), [other, missing])
    status, _, err = run(manifest, "--images", frames, "--sheets", "sheets", "--out", "clean", "--strict")
    assert status == 1
    assert "odd.manifest:1: its picture has 640x480 pixels, the labelled one had 1920x1080" in err
    assert "odd.manifest:2: its picture (/nowhere/a.jpg): is not there" in err
    assert err.splitlines()[-1].startswith("error: --strict: 1 × ")
    assert not Path("clean").exists()


def test_a_chain_is_compared_drawn_and_filtered(run: Run, frames: Path) -> None:
    """An adjustment moved a box; a verification called a line bad; another failed and one was never labelled."""
    lines = [on_clip(index) for index in ON_THE_CLIP]
    for number, fields in enumerate(lines[:3]):
        fields["fixed"] = json.loads(json.dumps(fields["bb"]))
        fields["fixed-metadata"] = {
            **fields["bb-metadata"],
            "adjustment-status": "adjusted" if number else "unadjusted",
        }
    lines[1]["fixed"]["annotations"][0]["left"] += 300
    lines[2]["said"] = "1"
    lines[2]["said-metadata"] = {"class-name": "bad", "type": "groundtruth/label-verification"}
    lines[3]["fixed-metadata"] = {"failure-reason": "ClientError: \x1b[2J"}
    manifest = write(Path("chain.manifest"), [*lines, line(9), "{broken"])
    options = ("--images", frames, "--sheets", "s", "--against", "bb", "--drop-verified", "bad", "--out", "clean")
    status, out, err = run(manifest, *options)
    assert status == 0
    assert "the last of the chain is read: 'fixed'" in out
    assert "adjusted: 2, left as they were: 1" in out
    assert "verified as 'bad' by 'said': 1" in out
    assert "'fixed' against 'bb': 3 pictures have both" in out
    assert "'storage box': mean IoU 0.699 of 3 pairs; 1 moved" in out
    assert "chain.manifest:2: 'storage box' 365x250 at 189,33 moved to 365x250 at 489,33, IoU 0.10" in out
    for why in ("verified as 'bad'", "labelling failed", "unlabelled", "broken json"):
        assert f"left out: 1 line, {why}\n" in out
    assert "chain.manifest:4: labelling failed: ClientError: ?[2J" in err
    assert "chain.manifest:6: is no JSON" in err
    assert Path("clean").read_text().splitlines() == manifest.read_text().splitlines()[:2]
    assert {path.name for path in Path("s").iterdir()} == {
        "class-storage.box-001.jpg", "suspicious-001.jpg", "disagreements-001.jpg", "confidence.png", "report.jsonl",
    }  # fmt: skip
    report = [json.loads(text) for text in Path("s/report.jsonl").read_text().splitlines()]
    assert [(one["line"], one["kind"]) for one in report] == [
        (2, "outside"), (2, "disagreement-moved"), (3, "left-out"), (4, "left-out"), (5, "left-out"),
    ]  # fmt: skip


def test_a_repeated_line_is_left_out_and_told(run: Run) -> None:
    """The first of two lines about one picture stands."""
    manifest = write(Path("twice.manifest"), [boxed(1, (1, 2, 30, 40)), boxed(2), boxed(1, (5, 5, 50, 50))])
    status, out, err = run(manifest, "--out", "clean")
    assert status == 0
    assert "twice.manifest:3: names the picture that line 1 names" in err
    assert "left out: 1 line, duplicate of an earlier line" in out
    assert Path("clean").read_text().splitlines() == manifest.read_text().splitlines()[:2]
    assert run(manifest, "--strict", "--out", "other")[0] == 1
    assert not Path("other").exists()


def test_strict_takes_no_line_that_nobody_labelled(run: Run) -> None:
    """As in every other command: with --strict what would be left out is an error, and nothing is written."""
    manifest = write(Path("some.manifest"), [boxed(1, (1, 2, 30, 40)), line(2)])
    status, _, err = run(manifest, "--strict", "--out", "clean")
    assert (status, err) == (1, "error: --strict: 1 × unlabelled line; mend them, or leave --strict out\n")
    assert not Path("clean").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attribute", "bbb"), "has no label attribute 'bbb'; it has 'bb'"),
        (("--against", "bb"), "'bb' cannot be compared with 'bb'"),
        (("--min-confidence", "high"), "--min-confidence: 'high' is no confidence"),
        (("--sheets", "/dev/null/x"), "cannot be written"),
        (("--serve", "--listen", "here"), "--listen: 'here' is no address to listen on"),
    ],
)
def test_a_wrong_word_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """What cannot be done is said in one line, with what could be."""
    status, _, err = run(BLUE, *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert message in err


# -- the page ---------------------------------------------------------------------------------------------------------


def catalogue(manifest: Path, pictures: Pictures, against: str | None = None) -> LabelCatalogue:
    found = survey(manifest)
    task = Task(manifest, str(manifest), choose(found), choose(found, against) if against else None)
    judge = Judge(task, measure(task), Rules())
    return LabelCatalogue(judge, Decisions.beside(str(manifest), manifest), pictures, FakeClock())


@contextmanager
def page(shown: LabelCatalogue) -> Iterator[str]:
    """The review page on *shown*; its address."""
    stop, links = threading.Event(), list[str]()
    options = {"by": "ann", "price": None, "tell": links.append, "stop": stop}
    thread = threading.Thread(target=serve, args=(shown, Listen()), kwargs=options)
    thread.start()
    try:
        until(lambda: links, "the page's address")
        yield links[0]
    finally:
        stop.set()
        thread.join()


def test_two_reviewers_lose_nothing_and_learn_of_each_other(tmp_path: Path) -> None:
    """Each decides on other lines; both stand, in the file and in what each is told."""
    manifest = write(tmp_path / "my labels.manifest", [boxed(number, (1, 2, 30, 40)) for number in range(4)])
    with closing(Pictures()) as pictures:
        ann, bob = catalogue(manifest, pictures), catalogue(manifest, pictures)
        assert [item.id for group in ann.groups() for item in group] == ["1", "2", "3", "4"]
        list(bob.groups())
        assert ann.decide({"1": "drop", "2": "keep"}, "ann") == {
            "1": Decided("drop", "ann"),
            "2": Decided("keep", "ann"),
        }
        assert bob.decide({"2": "drop", "4": "drop"}, "bob") == {
            "1": Decided("drop", "ann"), "2": Decided("drop", "bob"), "4": Decided("drop", "bob"),
        }  # fmt: skip
        assert ann.news() == {"2": Decided("drop", "bob"), "4": Decided("drop", "bob")}
        assert ann.news() == {}
        ann.decide({"1": None}, "ann")
        assert bob.news() == {"1": None}
        (again,) = catalogue(manifest, pictures).groups()
        assert [item.decision and item.decision.word for item in again] == [None, "drop", None, "drop"]
        with pytest.raises(ObjectNotFound):
            ann.decide({"5": "drop"}, "ann")


def test_decisions_hold_for_the_clean_manifest_of_that_version(run: Run, tmp_path: Path) -> None:
    """What was dropped by hand is left out; once the manifest is another one, decisions are told of and not used."""
    manifest = write(tmp_path / "a.manifest", [boxed(number, (1, 2, 30, 40)) for number in range(3)])
    with closing(Pictures()) as pictures:
        ann = catalogue(manifest, pictures)
        list(ann.groups())
        ann.decide({"2": "drop"}, "ann")
    _, out, err = run(manifest, "--out", "clean")
    assert "left out: 1 line, dropped by hand" in out
    assert err == ""
    text = manifest.read_text().splitlines()
    assert Path("clean").read_text().splitlines() == [text[0], text[2]]
    write(manifest, reversed(text))
    status, out, err = run(manifest, "--out", "other", "--strict")
    assert status == 1
    assert "holds 1 decisions on another version of the manifest" in err


def test_damaged_decisions_are_an_error(tmp_path: Path) -> None:
    """They are a person's work: nothing is decided over them."""
    manifest = write(tmp_path / "a.manifest", [boxed(1)])
    decisions = Decisions.beside(str(manifest), manifest)
    decisions.store.put("overrides/labels/a.manifest.json", b"{}")
    with pytest.raises(ObjectConflict):
        decisions.load(Findings())


def test_a_manifest_in_a_bucket_keeps_its_decisions_there(
    run: Run, s3_store: S3Store, moto_endpoint: str, tmp_path: Path
) -> None:
    """Read from s3://, decided beside it, written to s3://."""
    s3_store.put("jobs/one/output.manifest", BLUE)
    where = f"s3://{s3_store.name}/jobs/one/output.manifest"
    decisions = Decisions.beside(where, BLUE, moto_endpoint)
    decisions.decide({3: Decision(decision="drop", by="ann")})
    target = f"s3://{s3_store.name}/clean/output.manifest"
    status, out, err = run(where, "--out", target, "--endpoint-url", moto_endpoint)
    assert (status, err) == (0, "")
    assert f"{target}: 20 lines" in out
    kept = s3_store.get("clean/output.manifest").body.splitlines()
    assert kept == [text for number, text in enumerate(BLUE.read_bytes().splitlines(), 1) if number != 3]
    decisions.store.close()  # type: ignore[attr-defined]


def test_labels_are_dropped_by_hand_in_a_browser(frames: Path, tmp_path: Path) -> None:
    """Pictures with their boxes, a hostile class name as plain text; a key drops one, and the file says so."""
    hostile = "<img src=x onerror=alert(1)>"
    lines = [on_clip(index) for index in ON_THE_CLIP]
    lines[1]["bb-metadata"]["class-map"] = {"0": hostile}
    manifest = write(tmp_path / "clip.manifest", lines)
    with (
        closing(Pictures(frames)) as pictures,
        page(catalogue(manifest, pictures)) as address,
        chromium(tmp_path / "profile") as browser,
    ):
        browser.get(address)
        tiles = "return document.querySelectorAll('.tile').length"
        until(lambda: browser.execute_script(tiles) == len(lines), "the tiles")
        until(lambda: browser.execute_script("return document.querySelectorAll('.tile svg rect').length") >= 4, "boxes")
        assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
        header = browser.find_element("css selector", ".totals").text  # nothing is to be bought any more
        assert "kept" in header.lower()
        assert "$" not in header
        browser.execute_script("document.activeElement?.blur()")
        browser.find_element("tag name", "body").send_keys("d")
        stored = tmp_path / "overrides/labels/clip.manifest.json"
        until(stored.is_file, "the decision")
        said: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
        assert not [entry for entry in said if entry["level"] == "SEVERE"]
    assert [word["decision"] for word in json.loads(stored.read_text())["decisions"].values()] == ["drop"]


def chain(*indexes: int) -> list[dict[str, Any]]:
    """Lines about the clip whose boxes a second job took over; by their order: as they were, renamed, moved."""
    lines = [on_clip(index) for index in indexes]
    for fields in lines:
        fields["fixed"] = json.loads(json.dumps(fields["bb"]))
        fields["fixed-metadata"] = {**fields["bb-metadata"], "creation-date": "2026-11-23T12:00:00.000000"}
    lines[1]["fixed-metadata"]["class-map"] = {"0": "lunch box"}
    lines[2]["fixed"]["annotations"][0]["left"] -= 200
    return lines


def test_the_page_shows_what_another_job_changed_and_says_nothing_of_prices(frames: Path, tmp_path: Path) -> None:
    """Both boxes with a name each that can be read; words, buttons and reasons that mean something for labels."""
    manifest = write(tmp_path / "clip.manifest", chain(0, 120, 240))
    with (
        closing(Pictures(frames)) as pictures,
        page(catalogue(manifest, pictures, "bb")) as address,
        chromium(tmp_path / "profile") as browser,
    ):
        browser.get(address)
        until(lambda: browser.execute_script("return document.querySelectorAll('.tile').length") == 3, "the tiles")
        drawn = "return [...document.querySelectorAll('.tile')].map((tile) => tile.querySelectorAll('rect').length)"
        until(lambda: browser.execute_script(drawn) == [1, 2, 2], "the boxes")
        text = browser.find_element("tag name", "body").text
        assert "What a threshold drops" in text
        for word in ("saves", "labelled", "To label", "Faces", "Background only", "$"):
            assert word not in text
        reasons = browser.find_elements("css selector", "#facet-reasons .chip span")
        assert {"class changed", "moved"} <= {each.text for each in reasons}
        browser.execute_script("document.activeElement?.blur()")
        browser.find_element("tag name", "body").send_keys("n", "\ue007")  # the second one, full size
        names = "return [...document.querySelectorAll('#view-boxes text')].map((text) => text.textContent)"
        until(lambda: len(browser.execute_script(names)) == 2, "the names")
        assert set(browser.execute_script(names)) == {"before: storage box 0.09", "lunch box 0.09"}
        edges = "return [...document.querySelectorAll('#view-boxes text')].map((text) => text.getBoundingClientRect())"
        one, other = sorted(browser.execute_script(edges), key=lambda edge: float(edge["top"]))
        assert one["bottom"] <= other["top"]
