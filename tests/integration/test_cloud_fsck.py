"""fsck finds what was broken by hand, says what to do, and mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud import extraction
from cloud.cli import app
from cloud.dataset.index import Claim, VideoIndex
from cloud.events import ObjectRef
from cloud.fsck import Fault, check
from cloud.judge.rules import JudgeRules
from cloud.pipeline import process
from cloud.repair import repair
from cloud.settings import Settings
from edge_agent.errors import VideoUnreadable
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from tests.support.clock import FakeClock
from tests.support.toy_video import ToyDecoder, ToySheet, toy

OFF = {name: {"action": "off"} for name in JudgeRules.model_fields}
SETTINGS = Settings.model_validate({"dataset": "d", "sampling": {"every": 2}, "judges": OFF})
PARTITION = "manifests/blue_box/undated.manifest"
FRAME = "frames/blue_box_1/blue_box_1_000002.jpg"
INDEX = "index/blue_box_1.json"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "Decoder", ToyDecoder)
    monkeypatch.setattr(extraction, "ContactSheet", ToySheet)


@pytest.fixture
def made(directory_store: DirectoryStore) -> ObjectStore:
    return build(directory_store)


def build(store: ObjectStore) -> ObjectStore:
    """A data set of two videos, sound in every respect, beside the videos."""
    for stem in ("blue_box_1", "blue_box_2"):
        store.put(f"videos/{stem}.mp4", toy(5, 10))
        process(ObjectRef(store.name, f"videos/{stem}.mp4"), store, store, SETTINGS, FakeClock())
    assert found(store) == []
    return store


def found(store: ObjectStore) -> list[tuple[Fault, str]]:
    return [(finding.fault, finding.key) for finding in check(store, SETTINGS, store)]


def contents(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).body for info in store.list()}


def drop(key: str) -> Callable[[ObjectStore], None]:
    return lambda store: store.delete(key)


def put(key: str, body: bytes) -> Callable[[ObjectStore], None]:
    return lambda store: void(store.put(key, body))


def edit(key: str, change: Callable[[bytes], bytes]) -> Callable[[ObjectStore], None]:
    return lambda store: void(store.put(key, change(store.get(key).body)))


def void(_: object) -> None:
    return None


def first_again(body: bytes) -> bytes:
    return body.splitlines(keepends=True)[0] + body


def without_first(body: bytes) -> bytes:
    return b"".join(body.splitlines(keepends=True)[1:])


def claimed(body: bytes) -> bytes:
    index = VideoIndex.from_json(body)
    assert index is not None
    return Claim(settings=index.settings, video=index.video).to_json()


def other_settings(body: bytes) -> bytes:
    return body.replace(SETTINGS.fingerprint.encode(), b"0" * 16)


BREAKAGES = {
    "a line is gone": (edit(PARTITION, without_first), [(Fault.LINES_DIFFER, PARTITION)]),
    "a partition is gone": (drop(PARTITION), [(Fault.LINES_DIFFER, PARTITION)] * 2),
    "a line is there twice": (
        edit(PARTITION, first_again),
        [(Fault.LINES_TWICE, PARTITION), (Fault.LINES_DIFFER, PARTITION)],
    ),
    "a line is of another frame": (
        edit(PARTITION, lambda body: body.replace(b"_1_000002", b"_1_000003")),
        [(Fault.LINES_DIFFER, PARTITION)],
    ),
    "lines of no video": (
        edit(PARTITION, lambda body: body + b'{"source-ref": "s3://b/blue_box_9_000000.jpg"}\n'),
        [(Fault.LINES_STALE, PARTITION)],
    ),
    "a partition is damaged": (
        edit(PARTITION, lambda body: body[:-20]),
        [(Fault.PARTITION_DAMAGED, PARTITION)],
    ),
    "a frame is gone": (drop(FRAME), [(Fault.FRAME_MISSING, FRAME)]),
    "a frame is another of the same size": (edit(FRAME, lambda body: body[::-1]), [(Fault.FRAME_DAMAGED, FRAME)]),
    "a frame is another": (put(FRAME, b"x"), [(Fault.FRAME_DAMAGED, FRAME)]),
    "a frame too many": (
        put("frames/blue_box_1/blue_box_1_000003.jpg", b"x"),
        [(Fault.FRAME_ORPHANED, "frames/blue_box_1/blue_box_1_000003.jpg")],
    ),
    "frames of no video": (
        put("frames/blue_box_9/blue_box_9_000000.png", b"x"),
        [(Fault.FRAME_ORPHANED, "frames/blue_box_9/blue_box_9_000000.png")],
    ),
    "a sheet is gone": (drop("previews/blue_box_1.jpg"), [(Fault.SHEET_MISSING, "previews/blue_box_1.jpg")]),
    "a sheet of no video": (
        put("previews/blue_box_9.jpg", b"x"),
        [(Fault.SHEET_ORPHANED, "previews/blue_box_9.jpg")],
    ),
    "an index is damaged": (edit(INDEX, lambda body: body[:50]), [(Fault.INDEX_DAMAGED, INDEX)]),
    "an index was only begun": (edit(INDEX, claimed), [(Fault.UNFINISHED, INDEX)]),
    "made under other settings": (edit(INDEX, other_settings), [(Fault.SETTINGS_STALE, INDEX)]),
    "a video is another": (put("videos/blue_box_1.mp4", toy(5, 99)), [(Fault.VIDEO_CHANGED, INDEX)]),
    "a video was missed": (
        put("videos/blue_box_3.mp4", toy(3, 5)),
        [(Fault.VIDEO_MISSED, "videos/blue_box_3.mp4")],
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_is_broken_is_found_and_mended(made: ObjectStore, breakage: str) -> None:
    """Each breakage is found by its name, with advice; after repair every byte is as before."""
    before = contents(made)
    breaks, expected = BREAKAGES[breakage]
    breaks(made)
    findings = list(check(made, SETTINGS, made))
    assert [(finding.fault, finding.key) for finding in findings] == expected
    assert all(finding.fix for finding in findings)
    assert repair(findings, made, SETTINGS, FakeClock(), made) == []
    assert found(made) == []
    if not any(fault.startswith("video_") for fault, _ in expected):
        after = {key: body for key, body in contents(made).items() if not key.startswith("failed/")}
        assert after == before


def test_several_breakages_on_s3_are_mended_at_once(s3_store: S3Store) -> None:
    """As on a directory, with S3's own ETags, checksums and listings."""
    made = build(s3_store)
    before = contents(made)
    broken = ("a line is gone", "a frame is another of the same size", "frames of no video", "a sheet is gone")
    for breakage in broken:
        BREAKAGES[breakage][0](made)
    findings = list(check(made, SETTINGS, made))
    assert {finding.fault for finding in findings} == {BREAKAGES[breakage][1][0][0] for breakage in broken}
    assert repair(findings, made, SETTINGS, FakeClock(), made) == []
    assert found(made) == []
    assert contents(made) == before


def test_lines_are_mended_without_the_videos(made: ObjectStore) -> None:
    """Lines follow from the index: a lost partition comes back although the videos are gone."""
    before = made.get(PARTITION).body
    made.delete(PARTITION)
    for stem in ("blue_box_1", "blue_box_2"):
        made.delete(f"videos/{stem}.mp4")
    repair(list(check(made, SETTINGS)), made, SETTINGS, FakeClock())
    assert made.get(PARTITION).body == before


def test_what_outlived_its_video_goes_only_when_asked(made: ObjectStore) -> None:
    """A data set may be meant to outlive its videos, so their absence is reported, and mended on request."""
    before = contents(made)
    made.delete("videos/blue_box_1.mp4")
    findings = list(check(made, SETTINGS, made))
    assert [(finding.fault, finding.key) for finding in findings] == [(Fault.VIDEO_GONE, INDEX)]
    repair(findings, made, SETTINGS, FakeClock(), made)
    assert contents(made) == {key: body for key, body in before.items() if key != "videos/blue_box_1.mp4"}
    repair(findings, made, SETTINGS, FakeClock(), made, gone=True)
    assert found(made) == []
    assert not [key for key in contents(made) if "blue_box_1" in key]


def test_a_damaged_partition_is_set_aside_before_it_is_replaced(made: ObjectStore) -> None:
    """Not one byte a person may have written is lost."""
    damaged = made.get(PARTITION).body[:-20]
    made.put(PARTITION, damaged)
    repair(list(check(made, SETTINGS)), made, SETTINGS, FakeClock())
    assert made.get(f"failed/{PARTITION}").body == damaged


def test_a_parked_video_is_reported_with_its_reason(made: ObjectStore) -> None:
    """What cannot be opened is said again by every check, and counts as no missed video."""
    made.put("videos/blue_box_4.mp4", b"rubbish")
    with pytest.raises(VideoUnreadable):
        process(ObjectRef(made.name, "videos/blue_box_4.mp4"), made, made, SETTINGS, FakeClock())
    (finding,) = check(made, SETTINGS, made)
    assert (finding.fault, finding.key) == (Fault.PARKED, "failed/blue_box_4.json")
    assert "is no video that can be read" in finding.what


def test_the_command_prints_advice_and_exits_with_one(directory_store: DirectoryStore, tmp_path: Path) -> None:
    """One line a fault, or JSON; 0 and a word of relief when nothing is wrong."""
    store, run = directory_store, CliRunner().invoke
    config = tmp_path / "cloud.yaml"
    config.write_text(json.dumps({"sampling": {"every": 2}, "judges": OFF}))
    common = ["fsck", str(store.root), "--raw", str(store.root), "--config", str(config)]
    store.put("videos/blue_box_1.mp4", toy(5, 10))
    process(ObjectRef(store.name, "videos/blue_box_1.mp4"), store, store, SETTINGS, FakeClock())
    assert (run(app, common).exit_code, run(app, common).output) == (0, "nothing is wrong\n")
    store.delete(FRAME)
    result = run(app, common)
    assert result.exit_code == 1
    assert result.output.splitlines()[0].startswith(f"{FRAME}: is missing; process the video again")
    document = json.loads(run(app, [*common, "--json"]).output)
    assert (document["fault"], document["key"]) == ("frame_missing", FRAME)
    mended = run(app, [*common, "--repair"])
    assert (mended.exit_code, mended.output) == (0, "1 fault found, 1 mended, 0 left\n")
