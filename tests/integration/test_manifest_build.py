"""`edge-cloud manifest build` and `merge`, on frames of real clips."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cloud.dataset import overrides
from cloud.dataset.compose import Composed, Tally
from cloud.dataset.findings import Finding, FindingsPresent
from cloud.dataset.index import VideoIndex
from cloud.dataset.overrides import Decision
from cloud.dataset.places import LocalFolder, StoreFolder
from cloud.dataset.shards import BuildReport, Label, publish, write
from cloud.extract import Extractor, Target
from cloud.pipeline import Result
from cloud.settings import Settings
from edge_agent.clock import SystemClock
from edge_agent.errors import StoreUnreachable
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.store.s3 import S3Store
from tests.support.command import Run
from tests.support.memory_store import MemoryStore, Told

FIRST, AGAIN = "black_cup_dock7-cam1-20261122T143105123Z", "black_cup_dock7-cam2-20261122T150000000Z"
YELLOW = "yellow_box_1"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys, "manifest")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real clip under two names, and another; blur is judged harshly, so that frames are rejected."""
    root = tmp_path_factory.mktemp("extracted")
    tests = Path(__file__).parents[1]
    cup, box = tests.parent / "edge_agent/demo/black_cup_1.mp4", tests / "footage/yellow_box_1.mp4"
    judges = {"blur": {"action": "reject", "threshold": 0.15}, "faces": {"action": "off"}}
    rules = {"sampling": {"every": 20}, "sheet": {"tile_width": 64}, "judges": judges}
    settings = Settings.model_validate({"dataset": "unused", **rules})
    (root / "data").mkdir()
    extractor = Extractor(settings, DirectoryStore(root / "data"), SystemClock())
    for stem, clip in ((FIRST, cup), (AGAIN, cup), (YELLOW, box)):
        shutil.copy(clip, root / f"{stem}.mp4")
        assert isinstance(extractor.one(Target(None, str(root / f"{stem}.mp4"))), Result)
    return root / "data"


@pytest.fixture
def data(extracted: Path, tmp_path: Path) -> Path:
    """A data set of one's own."""
    return Path(shutil.copytree(extracted, tmp_path / "data"))


def index_of(data: Path, stem: str) -> VideoIndex:
    index = VideoIndex.from_json((data / f"index/{stem}.json").read_bytes())
    assert index is not None
    return index


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path: Path) -> set[str]:
    return {line["source-ref"].rpartition("/")[2] for line in lines_of(path)}


def listed(data: Path, *stems: str) -> set[str]:
    return {frame.key.rpartition("/")[2] for stem in stems for frame in index_of(data, stem).kept}


def test_a_whole_build_says_what_it_did_and_does_it_again(run: Run, data: Path) -> None:
    """Twins go, videos are split, keys are added; the report accounts for every line; again is the same bytes."""
    arguments = ("build", data, "-n", "all", "--drop-twins", "--split", "50/50/0", "--extra", "camera,frame")
    status, out, err = run(*arguments)
    assert status == 0, err
    made = data / "datasets/all"
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert set(before) == {"all.manifest", "all.report.json"}
    assert frames_of(made / "all.manifest") == listed(data, FIRST, YELLOW)
    report = BuildReport.model_validate_json(before["all.report.json"])
    twins = len(index_of(data, AGAIN).kept)
    assert report.removed == {"twins of frames of other videos": twins}
    assert f"{twins} out: twins of frames of other videos, {twins * 0.04:.2f} USD saved" in out
    assert report.read == report.lines + twins
    assert report.counts["class"] == {"black_cup": len(listed(data, FIRST)), "yellow_box": len(listed(data, YELLOW))}
    sides = {(line["source-ref"].split("/")[-2], line["split"]) for line in lines_of(made / "all.manifest")}
    assert [side for _, side in sides] == ["train", "train"]
    first = lines_of(made / "all.manifest")[0]
    assert list(first) == ["source-ref", "color", "object", "camera", "frame", "split"]
    assert (first["camera"], first["frame"]) == ("cam1", 0)
    assert "validation: gets no video: there are too few, and the first of each class is for training" in err
    assert run(*arguments)[0] == 0
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_review_decisions_are_honoured(run: Run, data: Path) -> None:
    """A dropped frame leaves, a rejected one that a person kept comes in; the rest stays as it was."""
    store, index = DirectoryStore(data), index_of(data, FIRST)
    rejected = next(frame for frame in index.frames if frame.verdict == "rejected")
    dropped = index.kept[0]
    words = {dropped.index: Decision(decision="drop"), rejected.index: Decision(decision="keep")}
    overrides.decide(store, FIRST, index.video.etag, words)
    status, out, err = run("build", data, "-n", "mine", "--class", "black_*", "--video", f"{FIRST[:22]}*")
    assert (status, err) == (0, "")
    gone, back = {dropped.key.rpartition("/")[2]}, {rejected.key.rpartition("/")[2]}
    assert frames_of(data / "datasets/mine/mine.manifest") == listed(data, FIRST) - gone | back
    assert "1 brought back by a reviewer" in out
    assert "1 out: dropped by a reviewer" in out
    (restored,) = (one for one in lines_of(data / "datasets/mine/mine.manifest") if one["source-ref"].endswith(*back))
    assert restored == {"source-ref": store.uri(rejected.key), "color": "black", "object": "cup"}
    settings = data.parent / "cloud.yaml"
    settings.write_text("{raw: unused, dataset: unused, lines: {extra: [camera, frame]}}")
    assert run("build", data, "-n", "mine", "--extra", "device", "-c", settings)[0] == 0
    (restored,) = (one for one in lines_of(data / "datasets/mine/mine.manifest") if one["source-ref"].endswith(*back))
    usual = {"camera": "cam1", "frame": rejected.index}
    assert list(restored.items())[3:] == [*usual.items(), ("device", "dock7")]


def test_what_a_reviewer_kept_is_no_twin(run: Run, data: Path) -> None:
    """Of two videos alike, the frames somebody asked for stay, though they come second."""
    store, index = DirectoryStore(data), index_of(data, AGAIN)
    wanted = index.kept[1]
    overrides.decide(store, AGAIN, index.video.etag, {wanted.index: Decision(decision="keep")})
    assert run("build", data, "-n", "x", "--class", "black_cup", "--drop-twins")[0] == 0
    frames = frames_of(data / "datasets/x/x.manifest")
    assert wanted.key.rpartition("/")[2] in frames
    assert len(frames) == len(listed(data, FIRST))


def test_decisions_on_another_version_are_told_and_ignored(run: Run, data: Path) -> None:
    """The video was replaced since: the decisions say nothing, the build says so, --strict refuses."""
    overrides.decide(DirectoryStore(data), FIRST, "another", {0: Decision(decision="drop")})
    status, _, err = run("build", data, "-n", "x")
    assert status == 0
    assert f"{FIRST}: 1 decisions are about another version of the video" in err
    assert frames_of(data / "datasets/x/x.manifest") == listed(data, FIRST, AGAIN, YELLOW)
    status, out, err = run("build", data, "-n", "y", "--strict")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: --strict: 1 × decisions on another version")
    assert not (data / "datasets/y").exists()


def test_lines_are_chosen_by_name_and_time(run: Run, data: Path) -> None:
    """Class, device, video and a range of time, to the frame; what has no time is left out and named."""
    assert run("build", data, "-n", "x", "--device", "dock7")[0] == 0
    assert frames_of(data / "datasets/x/x.manifest") == listed(data, FIRST, AGAIN)
    assert run("build", data, "-n", "x", "--video", "yellow_*")[0] == 0
    assert frames_of(data / "datasets/x/x.manifest") == listed(data, YELLOW)
    kept = index_of(data, FIRST).kept
    status, _, err = run("build", data, "-n", "x", "--from", "2026-11-22T14:31:05.200", "--until", "2026-11-22T15:00Z")
    assert status == 0
    assert frames_of(data / "datasets/x/x.manifest") == {f.key.rpartition("/")[2] for f in kept if f.index > 0}
    assert "has no known time, and is left out" in err


def test_an_index_of_before_there_were_looks_is_read(run: Run, data: Path) -> None:
    """A record without looks loses no frame: they are kept, and told."""
    path = data / f"index/{AGAIN}.json"
    record = json.loads(path.read_bytes())
    for frame in record["frames"]:
        del frame["look"]
    path.write_text(json.dumps(record))
    status, _, err = run("build", data, "-n", "x", "--drop-twins")
    assert status == 0
    assert "has no look to compare" in err
    assert frames_of(data / "datasets/x/x.manifest") == listed(data, FIRST, AGAIN, YELLOW)


def test_classes_are_balanced_to_a_total(run: Run, data: Path) -> None:
    """Four lines of two classes are two of each, and the saving is told."""
    status, out, _ = run("build", data, "-o", data / "four.manifest", "--total", 4, "--balance", "class,camera")
    assert status == 0
    assert Counter(line["color"] for line in lines_of(data / "four.manifest")) == {"black": 2, "yellow": 2}
    assert str(data / "four.report.json") in out
    assert not (data / "datasets").exists()


def test_a_bucket_is_built_and_merged(
    run: Run, data: Path, s3_store: S3Store, moto_endpoint: str, tmp_path: Path
) -> None:
    """The same over s3://, and a union with an output manifest of the original project: labels come along."""
    for path in sorted(data.rglob("*")):
        if path.is_file() and path.relative_to(data).parts[0] in ("manifests", "index"):
            s3_store.put(str(path.relative_to(data)), path)
    bucket = f"s3://{s3_store.name}"
    options = ("--endpoint-url", moto_endpoint)
    heads = {json.loads(line)["source-ref"].partition("frames/")[0] for line in _partition(data)}
    status, _, err = run("build", bucket, "-n", "b", "--rebase", f"{heads.pop()}={bucket}/", *options)
    assert (status, err) == (0, "")
    made = f"{bucket}/datasets/b/b.manifest"
    truth = Path(__file__).parents[1] / "ground_truth"
    labelled = next(iter(sorted(truth.glob("*yellow-box-large*.manifest"))))
    out = tmp_path / "union.manifest"
    status, text, err = run("merge", made, labelled, "-o", out, "--split", "1/1/1", *options)
    assert status == 0, err
    lines = lines_of(out)
    assert len(lines) == len(s3_store.get("datasets/b/b.manifest").body.splitlines()) + 633
    assert sum("bb" in line for line in lines) == 633
    assert "job, data and manifest must be in one region" in err
    videos: dict[str, set[str]] = {}
    for line in lines:
        videos.setdefault(line["source-ref"].split("/")[-2], set()).add(line["split"])
    assert all(len(sides) == 1 for sides in videos.values())
    assert "read" in text


def test_what_is_labelled_is_not_paid_for_again(run: Run, tmp_path: Path) -> None:
    """Of two manifests, one with labels: only lines without are priced, and a labelled line taken out saves nothing."""
    labelled = Path(__file__).parents[1] / "ground_truth/yellow-box-large.output.manifest"
    status, out, _ = run("merge", labelled, labelled, "-o", tmp_path / "m")
    assert status == 0
    assert out.splitlines()[:2] == [
        "1,266 lines read, 633 in the manifest, 633 of them labelled: nothing to pay for",
        "  633 out: the same picture with nothing new",
    ]
    bare = tmp_path / "bare.manifest"
    bare.write_text('{"source-ref": "s3://b/x.jpg"}\n{"source-ref": "s3://b/y.jpg"}\n{"source-ref": "s3://b/y.jpg"}\n')
    status, out, _ = run("merge", labelled, bare, "-o", tmp_path / "m")
    assert out.splitlines()[:2] == [
        "636 lines read, 635 in the manifest, 633 of them labelled: 0.08 USD to label",
        "  1 out: the same picture with nothing new, 0.04 USD saved",
    ]


def test_a_key_that_is_not_known_is_told_with_how_many_lines_lack_it(run: Run, data: Path) -> None:
    """A video whose name tells no moment and no camera: the build says how many lines are without, not each of them."""
    lines = len(listed(data, YELLOW))
    status, _, err = run("build", data, "-n", "x", "--extra", "captured,frame,camera", "--video", "yellow_*")
    assert status == 0
    fix = "name videos as the daemon does, or leave it out of --extra"
    assert err.splitlines() == [
        f"warning: x: {lines} lines of {lines} without '{key}': it is not known of their videos; {fix}"
        for key in ("captured", "camera")
    ]


def _partition(data: Path) -> Iterator[str]:
    yield (data / "manifests/yellow_box/undated.manifest").read_text().splitlines()[0]


def test_broken_lines_are_counted_and_strict_refuses_them(run: Run, tmp_path: Path) -> None:
    """Every line that cannot be used is named with its number; nothing is written when that is an error."""
    (tmp_path / "a").write_text('{"source-ref": "s3://b/x.jpg"}\n{"broken\n[]\n{"source-ref": "s3://b/x.jpg"}\n\n')
    status, out, err = run("merge", tmp_path / "a", "-o", tmp_path / "m")
    assert status == 0
    assert f"warning: {tmp_path}/a:2: is no JSON" in err
    assert f"warning: {tmp_path}/a:3: holds a list" in err
    assert "1 out: the same picture with nothing new" in out
    assert lines_of(tmp_path / "m.manifest") == [{"source-ref": "s3://b/x.jpg"}]
    status, _, err = run("merge", tmp_path / "a", "-o", tmp_path / "n", "--strict")
    assert status == 1
    assert "--strict: " in err
    assert not (tmp_path / "n.manifest").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("build", "data"), "--name or --out"),
        (("build", "data", "-n", "../x"), "cannot be called"),
        (("build", "data", "-n", "x", "-o", "y"), "--name or --out"),
        (("build", "data", "-n", "x", "--from", "noon"), "--from: 'noon' is no time"),
        (("build", "data", "-n", "x", "--balance", "colour"), "--balance"),
        (("build", "data", "-n", "x", "--split", "80/20"), "80/10/10"),
        (("build", "data", "-n", "x", "--extra", "mood"), "--extra"),
        (("build", "data", "-n", "x", "--class", "green_tea"), "0 read; the classes there are: black_cup, yellow_box"),
        (("build", "data", "-n", "x", "--device", "dock9"), "read; loosen what is asked for"),
        (("build", ".", "-n", "x"), "no line is left of 0 read; nothing was extracted there: is this the dataset?"),
        (("merge", "absent", "-o", "m"), "absent: cannot be read"),
        (("merge", "data", "-o", "nowhere/m"), "no such directory"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    run: Run, extracted: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    """Wrong options and empty results: one line on standard error, status 2, and nothing written."""
    monkeypatch.chdir(extracted.parent)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert says in err
    assert not (extracted / "datasets").exists()


# -- files ---------------------------------------------------------------------------------------------------------

LABEL = Label("set", "test", {}, 0.04)


def texts(number: int) -> list[str]:
    return [json.dumps({"source-ref": f"s3://b/{at}.jpg"}) for at in range(number)]


def test_shards_are_as_large_as_a_job_takes(tmp_path: Path) -> None:
    """Seven lines at three a shard are three files in order; what fits into one file is one, without a number."""
    facts = write(tmp_path, "set", texts(7), limit=3)
    assert [(one.name, one.lines) for one in facts] == [
        (f"set-000{at}.manifest", n) for at, n in ((1, 3), (2, 3), (3, 1))
    ]
    assert "".join((tmp_path / one.name).read_text() for one in facts) == "".join(f"{text}\n" for text in texts(7))
    assert [one.name for one in write(tmp_path, "one", texts(3), limit=3)] == ["one.manifest"]


def test_a_rebuild_takes_the_place_of_a_larger_one(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that the new build has not are deleted, and nothing else that is there."""
    place = StoreFolder(store, "datasets/set/")
    store.put("datasets/set/set-0009.manifest", b"a person's own")
    monkeypatch.setattr(write, "__defaults__", (3,))
    publish(place, iter(texts(7)), Composed(()), LABEL, Tally(), strict=False)
    assert len(list(store.list("datasets/set/"))) == 5
    publish(place, iter(texts(2)), Composed(()), LABEL, Tally(), strict=False)
    names = [info.key.rpartition("/")[2] for info in store.list("datasets/set/")]
    assert names == ["set-0009.manifest", "set.manifest", "set.report.json"]


def test_a_build_cut_short_is_seen_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step fails: the report stands only where all files do, and the next build leaves nothing of it over."""

    class Streaming(MemoryStore):
        def put(self, key: str, body: Any, **known: Any) -> Any:
            return super().put(key, body.read_bytes() if isinstance(body, Path) else body, **known)

    def make(store: Any, lines: int) -> None:
        publish(StoreFolder(store, ""), iter(texts(lines)), Composed(()), LABEL, Tally(), strict=False)

    monkeypatch.setattr(write, "__defaults__", (2,))
    for before, fails in itertools.product((0, 5), range(1, 11)):
        memory, calls = Streaming("b", tmp_path), iter(range(1, 99))
        memory.put("set-0009.manifest", b"a person's own")
        if before:
            make(memory, before)

        def around(call: str, real: Any, calls: Iterator[int] = calls, fails: int = fails) -> Any:
            if call in ("put", "delete") and next(calls) == fails:
                raise StoreUnreachable("the link is gone")
            return real()

        with suppress(StoreUnreachable):  # a build over nothing has fewer steps
            make(Told(memory, around), 7)
        if "set.report.json" in memory.objects:
            report = BuildReport.model_validate_json(memory.objects["set.report.json"].body)
            assert all(one.sha256 == memory.objects[one.name].info.etag for one in report.files)
        make(memory, 2)
        assert set(memory.objects) == {"set-0009.manifest", "set.manifest", "set.report.json"}


def test_an_error_leaves_a_local_file_as_it_was(tmp_path: Path) -> None:
    """Strict findings, or lines that end in an error: what stood there stands, and no scratch file is left."""
    place = LocalFolder(tmp_path)
    publish(place, iter(texts(2)), Composed(()), LABEL, Tally(), strict=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wrong = Tally()
    wrong.findings.add(Finding("no_look", "x", None, "has no look"))
    with pytest.raises(FindingsPresent):
        publish(place, iter(texts(3)), Composed(()), LABEL, wrong, strict=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (tmp_path / "set.manifest").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
