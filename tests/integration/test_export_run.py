"""edge-cloud export and import, as people meet them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from cloud.dataset.findings import Findings
from cloud.labeling import export_pictures
from cloud.labeling.export import Report, Target, export
from cloud.labeling.export_plan import Source, make_plan
from cloud.labeling.formats import webdataset
from cloud.labeling.formats.registry import Name, Readable, format_of
from edge_agent.errors import ConfigInvalid, WriteFailed
from edge_agent.store.s3 import S3Store
from tests.support import labelled
from tests.support.command import Run
from tests.support.wait import until

GROUND_TRUTH = Path(__file__).parents[1] / "ground_truth"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def run_export(manifest: Path, name: Name, out: Path, findings: Findings | None = None, mode: str = "copy") -> Report:
    form, source = format_of(name), Source.of(manifest, "m", None, ("color", "object"))
    chosen = make_plan(source, form, None, pictures=mode != "none", title=out.name)
    modes: dict[str, export_pictures.Mode] = {"copy": "copy", "link": "link", "none": "none"}
    return export(source, form, chosen, Target(out, modes[mode]), Findings() if findings is None else findings)


def is_sound(directory: Path) -> bool:
    """Whether ``sha256sum -c`` finds every file of the export as it was written, and no file is without a sum."""
    sums = directory / "checksums.sha256"
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    named = {line.split("  ", 1)[1] for line in sums.read_text().splitlines()}
    checked = subprocess.run(["sha256sum", "--quiet", "-c", sums.name], cwd=directory, check=False, capture_output=True)
    return checked.returncode == 0 and named == files - {sums.name}


@pytest.mark.parametrize("name", list(Readable))
@pytest.mark.parametrize("manifest", ["yellow-box-large", "blue-box-small"])
def test_the_real_manifests_come_back_byte_for_byte(run: Run, tmp_path: Path, name: str, manifest: str) -> None:
    """633 and 21 lines through every importable format: each line is the very same, confidences and all."""
    real = GROUND_TRUTH / f"{manifest}.output.manifest"
    status, _, err = run("export", name, real, "--pictures", "none", "--out", tmp_path / "set", "--strict")
    assert (status, err) == (0, "no line has a split: everything is 'train'\n")
    assert is_sound(tmp_path / "set")
    status, _, err = run("import", name, tmp_path / "set", "--out", tmp_path / "back.manifest", "--strict")
    assert (status, err) == (0, "")
    back = (tmp_path / "back.manifest").read_text().splitlines()
    lines = real.read_text().splitlines()
    assert sorted(back) == sorted(lines)


@pytest.mark.parametrize("name", list(Readable))
def test_without_its_sidecar_a_data_set_still_comes_back(run: Run, tmp_path: Path, name: str) -> None:
    """Boxes, classes and splits are in the format's own files; pictures are found where they stand."""
    manifest = labelled.dataset(tmp_path)
    run_export(manifest, Name(name), tmp_path / "set")
    (tmp_path / "set" / "sources.jsonl").unlink()
    status, _, err = run("import", name, tmp_path / "set", "--out", tmp_path / "back", "--attribute", "bb", "--strict")
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "back").read_text().splitlines()]
    found = {line["source-ref"].rpartition("/")[2].removesuffix(".jpg"): line for line in lines}
    assert set(found) == set(labelled.PLACES)
    for stem, (split, places) in labelled.PLACES.items():
        names = found[stem]["bb-metadata"]["class-map"]
        boxes = [
            (names[str(box["class_id"])], box["left"], box["top"], box["width"], box["height"])
            for box in found[stem]["bb"]["annotations"]
        ]
        assert (boxes, found[stem]["split"]) == (places, split)


def test_an_edited_data_set_comes_back_as_edited(run: Run, tmp_path: Path) -> None:
    """A box that somebody moved is where they moved it, without the confidence of the old; the other keeps its own."""
    manifest = labelled.dataset(tmp_path)
    run_export(manifest, Name.COCO, tmp_path / "set")
    path = tmp_path / "set" / "annotations" / "instances_val.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0]["bbox"] = [50, 40, 3, 4]
    del coco["annotations"][0]["score"]
    path.write_text(json.dumps(coco))
    assert run("import", "coco", tmp_path / "set", "--out", tmp_path / "back")[0] == 0
    (line,) = [json.loads(row) for row in (tmp_path / "back").read_text().splitlines() if "b_1_000001" in row]
    places = [box["left"] for box in line["bb"]["annotations"]]
    assert places == [50, 5]
    assert [each.get("confidence") for each in line["bb-metadata"]["objects"]] in ([None, 0.09], [0.0, 0.09])
    assert line["bb-metadata"]["job-name"] == "labeling-job/test"


def many(tmp_path: Path, number: int) -> Path:
    lines = []
    for index in range(number):
        path = labelled.picture(tmp_path / "frames" / f"v_1_{index:06d}.jpg", shade=index)
        lines.append(labelled.line(path.as_uri(), [("box", 1, 2, 3, 4)]))
    return labelled.manifest(tmp_path / "many.manifest", lines)


def recorded(ledger: Path) -> int:
    """How many copies are whole, as another process sees it."""
    if not ledger.is_file():
        return 0
    with closing(sqlite3.connect(ledger)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM copies").fetchone()[0])
        except sqlite3.OperationalError:  # it is being made
            return 0


def test_a_killed_export_is_taken_up_and_copies_nothing_twice(run: Run, tmp_path: Path) -> None:
    """SIGKILL half way: nothing stands under the name; the next run copies what is missing and no picture more."""
    manifest = many(tmp_path, 60)
    os.mkfifo(tmp_path / "held")  # one thread is held in the middle, so the end cannot come before the signal
    script = (
        "import sys\nfrom cloud.labeling import export_pictures as module\nreal = module._place\n"
        "def place(path, target, *rest, **more):\n"
        "    copy = real(path, target, *rest, **more)\n"
        f"    if target.name == 'v_1_000030.jpg': open({str(tmp_path / 'held')!r}).read()\n"
        "    return copy\n"
        "module._place = place\nfrom cloud import cli\n"
        f"sys.argv = ['edge-cloud', 'export', 'voc', {str(manifest)!r}, '--out', {str(tmp_path / 'set')!r}]\n"
        "cli.main()\n"
    )
    partial = tmp_path / ".set.partial" / "data" / "JPEGImages"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        until(lambda: recorded(tmp_path / ".set.partial" / ".ledger") == 59, "all pictures but the held one")
        until((partial / "v_1_000030.jpg").exists, "the held one")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "set").exists()
    before = {path.name: path.stat().st_ino for path in partial.glob("v_1_*.jpg")}
    (partial / "v_1_000007.jpg").write_bytes(b"damaged since")
    report = run_export(manifest, Name.VOC, tmp_path / "set")
    after = {path.name: path.stat().st_ino for path in (tmp_path / "set" / "JPEGImages").iterdir()}
    again = {name for name, inode in before.items() if after[name] != inode}
    assert report.pictures == {"train": 60}
    assert again == {"v_1_000007.jpg", "v_1_000030.jpg"}  # the damaged one, and the one that was on its way
    assert report.copied == 2
    assert is_sound(tmp_path / "set")
    assert not (tmp_path / ".set.partial").exists()


def test_another_format_takes_up_what_was_copied_and_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    """After a run that failed, one in another format has its own files alone."""
    manifest = labelled.dataset(tmp_path)
    out = tmp_path / "set"
    form, source = format_of(Name.VOC), Source.of(manifest, "m", None, ("color", "object"))
    chosen = make_plan(source, form, None, pictures=True, title="set")

    def stop(done: int) -> None:
        if done == 5:
            raise WriteFailed("stop here")

    with pytest.raises(WriteFailed):
        export(source, form, chosen, Target(out), Findings(), progress=stop)
    run_export(manifest, Name.CVAT, out)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    pictures = [f"images/{stem}.jpg" for stem in sorted(labelled.PLACES)]
    assert found == ["annotations.xml", "checksums.sha256", "images", *pictures, "sources.jsonl"]


def test_pictures_of_one_name_from_several_places_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """Equal names, names that differ in case or suffix, and hostile ones: a file each, the same in every run."""
    names = ["a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x.png", "d/-rf ..jpg", "e/ü 'q\"<b>.jpg", "f/x.y.jpg"]
    lines = [
        labelled.line(labelled.picture(tmp_path / name, shade=10 * n).as_uri(), []) for n, name in enumerate(names)
    ]
    manifest = labelled.manifest(tmp_path / "m", lines)
    run_export(manifest, Name.YOLO, tmp_path / "one")
    run_export(manifest, Name.YOLO, tmp_path / "two")
    pictures = sorted(path.name for path in (tmp_path / "one" / "images" / "train").iterdir())
    assert len(pictures) == len({name.rpartition(".")[0].lower() for name in pictures}) == len(names)
    assert (tmp_path / "one" / "checksums.sha256").read_text() == (tmp_path / "two" / "checksums.sha256").read_text()
    assert is_sound(tmp_path / "one")
    rows = [json.loads(row) for row in (tmp_path / "one" / "sources.jsonl").read_text().splitlines()]
    for row, name in zip(rows, names, strict=True):
        assert (tmp_path / "one" / row["picture"]).read_bytes() == (tmp_path / name).read_bytes()


def bad_lines(tmp_path: Path) -> Sequence[str]:
    good = labelled.picture(tmp_path / "good.jpg").as_uri()
    page = tmp_path / "page.jpg"
    page.write_text("<html>not found</html>")
    small = labelled.picture(tmp_path / "small.jpg", 48, 32).as_uri()
    other = labelled.picture(tmp_path / "other.jpg").as_uri()
    lines: list[dict[str, object]] = [
        labelled.line(good, [("cup", 90, 60, 20, 20)]),
        labelled.line(good, []),
        labelled.line((tmp_path / "gone.jpg").as_uri(), []),
        labelled.line(page.as_uri(), []),
        labelled.line(small, []),
        labelled.line(other, [("c\0p", 1, 1, 2, 2), ("cup", 200, 200, 5, 5)]),
        labelled.line("https://[example/x.jpg", []),
        labelled.line((tmp_path / "unlabelled.jpg").as_uri(), None),
        {"source": "a text", "bb": 3},
        labelled.line(f"file:///{'long' * 100}.jpg", []),
        labelled.line("/nul\0.jpg", []),
    ]
    return [*map(json.dumps, lines), "{broken"]


def test_everything_wrong_is_told_with_its_line_and_nothing_is_dropped_in_silence(run: Run, tmp_path: Path) -> None:
    """Each fault is one line with the number of its line; the summary counts what was left out."""
    manifest = tmp_path / "m"
    manifest.write_text("\n".join(bad_lines(tmp_path)))
    status, out, err = run("export", "yolo", manifest, "--out", tmp_path / "set")
    assert status == 0
    for number, said in {
        1: "clipped, as yolo demands",
        2: "is the second line of its picture",
        3: "no such picture",
        4: "is no picture that can be read",
        5: "says 96x64; its picture is 48x32",
        6: "class 'c\\x00p' has control characters in it",
        7: "pictures cannot be had by https:",
        8: "has no boxes: nobody labelled it",
        9: "has a text, not a picture",
        10: "no such picture",
        11: "no such picture",
        12: "is no JSON",
    }.items():
        assert any(line.startswith(f"{manifest}:{number}: ") and said in line for line in err.splitlines()), said
    assert "3 pictures" in out
    assert "11 left out" in out  # nine lines, and two labels of line 6
    assert is_sound(tmp_path / "set")


def test_strict_finishes_nothing(run: Run, tmp_path: Path) -> None:
    """With --strict the same is an error, and no data set appears."""
    manifest = tmp_path / "m"
    manifest.write_text("\n".join(bad_lines(tmp_path)))
    status, _, err = run("export", "coco", manifest, "--out", tmp_path / "set", "--strict")
    assert status == 1
    assert "error: --strict: " in err
    assert "1 × broken json" in err
    assert f"{tmp_path}/.set.partial: what was copied so far" in err
    assert not (tmp_path / "set").exists()


def test_boxes_whose_class_is_refused_do_not_turn_into_something_else(tmp_path: Path) -> None:
    """Not into class fields, which the lines have, too, nor into a picture with nothing in it: they are left out."""
    path, other = labelled.picture(tmp_path / "a.jpg"), labelled.picture(tmp_path / "b.jpg")
    lines = [
        labelled.line(path.as_uri(), [("c\0p", 1, 2, 3, 4)]),
        labelled.line(other.as_uri(), [("c\0p", 1, 2, 3, 4), ("cup", 1, 2, 3, 4)]),
    ]
    findings = Findings()
    report = run_export(labelled.manifest(tmp_path / "m", lines), Name.COCO, tmp_path / "set", findings)
    assert (report.pictures.total(), report.negatives, dict(report.labels)) == (1, 0, {"cup": 1})
    assert (findings.counts["class_refused"], findings.counts["bad_labels"]) == (2, 1)
    with pytest.raises(ConfigInvalid, match="nothing is left to export"):
        run_export(labelled.manifest(tmp_path / "m", lines[:1]), Name.COCO, tmp_path / "other")


def test_relative_names_are_relative_to_the_manifest(tmp_path: Path) -> None:
    """Wherever the command is run, also upwards; and of an export with nothing in it nothing stays behind."""
    sources = ["frames/a.jpg", "frames/b%20.jpg", "../in/frames/../c.jpg"]
    for source in sources:
        labelled.picture(tmp_path / "in" / source)
    lines = [labelled.line(source, [("cup", 1, 2, 3, 4)]) for source in sources]
    assert run_export(labelled.manifest(tmp_path / "in" / "m", lines), Name.COCO, tmp_path / "set").copied == 3
    lines = [labelled.line("frames/b.jpg", [("cup", 1, 2, 3, 4)])]
    with pytest.raises(ConfigInvalid, match="nothing is left to export"):
        run_export(labelled.manifest(tmp_path / "in" / "m", lines), Name.COCO, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "set"]


def test_links_share_the_bytes_and_the_original_stays(tmp_path: Path) -> None:
    """--pictures link: one inode, two names; deleting the export deletes no picture."""
    manifest = labelled.dataset(tmp_path)
    run_export(manifest, Name.COCO, tmp_path / "set", mode="link")
    original = tmp_path / "frames" / "a_1_000001.jpg"
    assert (tmp_path / "set/images/train/a_1_000001.jpg").stat().st_ino == original.stat().st_ino
    assert is_sound(tmp_path / "set")
    shutil.rmtree(tmp_path / "set")
    assert original.stat().st_nlink == 1


def test_pictures_and_manifest_come_from_s3_and_from_nearby(run: Run, s3_store: S3Store, tmp_path: Path) -> None:
    """From the bucket where it has them, whatever their keys, from --images where it has not."""
    frames = [labelled.picture(tmp_path / f"v_1_{n:06d}.png", shade=n) for n in range(3)]
    for frame in frames[:2]:
        s3_store.put(f"frames/v_1/{frame.name}", frame)
    near = tmp_path / "near" / "v_1"
    near.mkdir(parents=True)
    frames[2].rename(near / frames[2].name)
    sources = [s3_store.uri(f"frames/v_1/{frame.name}") for frame in frames]
    lines = [labelled.line(source, [("cup", 1, 2, 3, 4)]) for source in [*sources, f"s3://{s3_store.name}/a b?.jpg"]]
    for line in lines:
        line["bb"]["image_size"] = []  # type: ignore[index]
    s3_store.client.put_object(Bucket=s3_store.name, Key="a b?.jpg", Body=(near / frames[2].name).read_bytes())
    s3_store.put("m.manifest", "".join(json.dumps(line) + "\n" for line in lines).encode())
    endpoint = s3_store.client.meta.endpoint_url
    arguments = ["--endpoint-url", endpoint, "--images", tmp_path / "near", "--out", tmp_path / "set"]
    status, out, err = run("export", "voc", s3_store.uri("m.manifest"), *arguments)
    assert status == 0
    assert "4 pictures" in out  # the last has a key that no store of ours would have taken
    assert "picture_refused" not in err
    assert (tmp_path / "set/JPEGImages/a-b.jpg").is_file()
    assert "<width>96</width><height>64</height>" in (tmp_path / "set/Annotations/v_1_000002.xml").read_text()


def test_class_fields_alone_make_class_folders(run: Run, tmp_path: Path) -> None:
    """A manifest nobody labelled: train/yellow_box/…, and lines without class fields are told."""
    lines: list[dict[str, object]] = []
    for number, color in enumerate(("yellow", "blue", "yellow")):
        path = labelled.picture(tmp_path / f"{color}_box_1_{number:06d}.jpg")
        split = "test" if number == 2 else "train"
        lines.append({"source-ref": path.as_uri(), "color": color, "object": "box", "split": split})
    lines.append({"source-ref": (tmp_path / "x.jpg").as_uri(), "split": "train"})
    manifest = labelled.manifest(tmp_path / "m", lines)
    status, _, err = run("export", "yolo", manifest, "--out", tmp_path / "set")
    assert status == 0
    assert f"{manifest}:4: has no class fields" in err
    found = sorted(path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*.jpg"))
    assert found == [
        "test/yellow_box/yellow_box_1_000002.jpg",
        "train/blue_box/blue_box_1_000001.jpg",
        "train/yellow_box/yellow_box_1_000000.jpg",
    ]
    assert run("import", "yolo", tmp_path / "set", "--out", tmp_path / "back")[0] == 0
    back = [json.loads(line) for line in (tmp_path / "back").read_text().splitlines()]
    assert sorted(map(json.dumps, back)) == sorted(map(json.dumps, lines[:3]))


@pytest.mark.parametrize("name", [Name.VOC, Name.LABEL_STUDIO])
def test_class_fields_that_make_no_class_are_left_out_and_told(run: Run, tmp_path: Path, name: Name) -> None:
    """A line break, a terminal's escape or blanks in a class field reach neither the data set nor the terminal."""
    fields = [("a\n\x1b[31mEVIL", "x"), (" ", "box"), ("red\u202e", "box")]
    lines = [
        {"source-ref": labelled.picture(tmp_path / f"{number}.jpg").as_uri(), "color": color, "object": kind}
        for number, (color, kind) in enumerate(fields)
    ]
    manifest = labelled.manifest(tmp_path / "m", lines)
    status, out, err = run("export", name, manifest, "--what", "tags", "--out", tmp_path / "set")
    assert (status, "1 picture (train 1)" in out, "2 left out" in out) == (0, True, True)
    assert f"{manifest}:1: class field 'color' has control characters in it; rename the class" in err
    assert f"{manifest}:2: class field 'color' is empty; rename the class" in err
    assert all(letter.isprintable() or letter == "\n" for letter in out + err)
    for path in (tmp_path / "set").rglob("*.txt"):
        assert "EVIL" not in path.read_text()
    assert run("export", name, manifest, "--what", "tags", "--out", tmp_path / "other", "--strict")[0] == 1
    status, _, err = run("export", name, labelled.manifest(manifest, lines[:2]), "--out", tmp_path / "none")
    assert (status, "nothing is left to export" in err, err.count("rename the class")) == (2, True, 2)


def test_augmented_manifests_are_the_lines_of_each_split(tmp_path: Path) -> None:
    """Line by line what came in, a file a split."""
    manifest = labelled.dataset(tmp_path)
    run_export(manifest, Name.AUGMENTED, tmp_path / "set", mode="none")
    written = [
        json.loads(line)
        for split in ("train", "validation", "test")
        for line in (tmp_path / "set" / f"{split}.manifest").read_text().splitlines()
    ]
    assert written == [json.loads(line) for line in manifest.read_text().splitlines()]


def test_archives_end_where_they_are_full_and_are_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven samples, three an archive; pictures stand nowhere but in them; the same bytes in both runs."""
    monkeypatch.setattr(webdataset, "SHARD_SAMPLES", 3)
    manifest = many(tmp_path, 7)
    for name in ("one", "two"):
        run_export(manifest, Name.WEBDATASET, tmp_path / name)
    archives = sorted(path.relative_to(tmp_path / "one").as_posix() for path in (tmp_path / "one").rglob("*.tar"))
    assert archives == ["train/train-000000.tar", "train/train-000001.tar", "train/train-000002.tar"]
    assert not list((tmp_path / "one").rglob("*.jpg"))
    assert (tmp_path / "one/checksums.sha256").read_bytes() == (tmp_path / "two/checksums.sha256").read_bytes()


def refusals(tmp_path: Path) -> Iterator[tuple[list[object], str]]:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "x").touch()
    manifest = labelled.dataset(tmp_path)
    empty = tmp_path / "empty"
    empty.touch()
    (tmp_path / "page.json").write_text("<html>")
    out = ["--out", tmp_path / "new"]
    yield ["export", "coco", manifest, "--out", taken], "is there already"
    yield ["export", "coco", tmp_path / "gone", *out], "cannot be read"
    yield ["export", "coco", empty, *out], "has no line to export"
    yield ["export", "coco", manifest, *out, "--attribute", "no"], "has no label attribute 'no'"
    yield ["export", "coco", manifest, *out, "--what", "labels"], "has no labels of pictures to export"
    yield ["import", "coco", tmp_path / "gone", *out], "is not there"
    yield ["import", "coco", tmp_path / "page.json", *out], "is no JSON"
    yield ["import", "yolo", tmp_path, *out], "has no data.yaml"
    yield ["import", "label-studio", tmp_path / "page.json", *out], "is no JSON"
    yield ["import", "cvat", tmp_path / "page.json", *out], "is no XML"
    yield ["import", "voc", taken, *out], "is no directory"


def test_what_cannot_be_done_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    """Exit status 2, one line, nothing made."""
    for arguments, said in refusals(tmp_path):
        status, _, err = run(*arguments)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert (status, len(errors)) == (2, 1), (arguments, err)
        assert said in errors[0]
        assert not (tmp_path / "new").exists()


def test_two_exports_to_one_place_do_not_mix(tmp_path: Path) -> None:
    """Whoever comes second is told so."""
    manifest = labelled.dataset(tmp_path)
    form, source = format_of(Name.COCO), Source.of(manifest, "m", None, ("color", "object"))
    chosen = make_plan(source, form, None, pictures=True, title="set")

    def another(done: int) -> None:
        if done == 1:
            with pytest.raises(ConfigInvalid, match="another export"):
                run_export(manifest, Name.COCO, tmp_path / "set")

    export(source, form, chosen, Target(tmp_path / "set"), Findings(), progress=another)
    assert is_sound(tmp_path / "set")
