"""Sheets, statistics and the notebook, on pictures made here."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from cloud.dataset import Frame, open_dataset
from cloud.dataset.entries import entry_of
from cloud.dataset.findings import SHOWN, Findings
from cloud.dataset.pictures import Pictures, header_of
from cloud.dataset.stats import NOT_KNOWN, Origin, Stats, collect, median
from cloud.dataset.stats_plot import draw, panels_of, sides_of
from cloud.dataset.stats_table import lines as table
from cloud.decode.jpeg import encode_jpeg
from cloud.labeling.output import choose, read_labels, survey
from cloud.review.pages_of import Look, Page, pages
from cloud.review.tiles import CAPTION, color_of, shrunk
from edge_agent.errors import ConfigInvalid, ObjectConflict
from tests.support.manifests import GROUND_TRUTH, boxed, line, write

if TYPE_CHECKING:
    from cloud.decode.sample import Picture


def picture(width: int = 640, height: int = 480) -> bytes:
    return encode_jpeg(np.full((height, width, 3), 90, np.uint8), 90)


def placed(root: Path, *numbers: int) -> Path:
    """A directory with the pictures of those lines."""
    for number in numbers:
        name = line(number)["source-ref"].rpartition("/")[2]
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(picture())
    return root


def drawn(manifest: Path, images: Path, look: Look) -> tuple[list[Page], Findings]:
    findings = Findings()
    records = read_labels(manifest, choose(survey(manifest)), findings)
    return list(pages(records, Pictures(images=images), "title", findings, look)), findings


def decoded(jpeg: bytes) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def counted(manifest: Path) -> Stats:
    return collect(read_labels(manifest, choose(survey(manifest)), Findings()))


def test_every_picture_is_on_a_page_and_only_there(tmp_path: Path) -> None:
    """Seven lines, three a page: three pages that say which lines they show, the last with one row of one picture."""
    images = placed(tmp_path / "images", *range(1, 8))
    manifest = write(tmp_path / "a.manifest", [line(number) for number in range(1, 8)])
    found, findings = drawn(manifest, images, Look(tile_width=100, columns=2, per_page=3))
    assert [(page.first, page.last, page.pictures) for page in found] == [(1, 3, 3), (4, 6, 3), (7, 7, 1)]
    assert findings.total == 0
    height = decoded(found[0].jpeg).shape[0]
    assert height == 76 + 2 * (75 + CAPTION + 12) - 12 + 2 * 20


def test_boxes_are_drawn_where_the_label_says(tmp_path: Path) -> None:
    """A box in pixels of the labelled size lies on the tile at its scale, in the colour of its label."""
    images = placed(tmp_path / "images", 1)
    manifest = write(tmp_path / "a.manifest", [boxed(1, (320, 240, 160, 120))])
    found, _ = drawn(manifest, images, Look(tile_width=320, columns=1, per_page=1))
    sheet = decoded(found[0].jpeg).astype(int)
    tile = sheet[96 : 96 + 240, 20 : 20 + 320]
    coloured = np.abs(tile - np.array(color_of("box"))).sum(axis=2) < 90
    rows, columns = np.nonzero(coloured)
    assert abs(columns.min() - 160) <= 2
    assert abs(columns.max() - 240) <= 2
    assert abs(rows.max() - 180) <= 2


def test_what_cannot_be_shown_is_a_tile_that_says_so(tmp_path: Path) -> None:
    """A missing picture, rubbish, a damaged one and an absurd one are tiles and findings; nothing else is held up."""
    images = placed(tmp_path / "images", 1, 2, 3, 4)
    sources = [line(number)["source-ref"].rpartition("/")[2] for number in range(6)]
    (images / sources[2]).write_bytes(b"GIF89a rubbish")
    (images / sources[3]).write_bytes(b"")
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    (images / sources[4]).write_bytes(huge)
    lines = [{**line(number), "source-ref": f"file:///nowhere/{sources[number]}"} for number in range(1, 6)]
    manifest = write(tmp_path / "a.manifest", lines)
    found, findings = drawn(manifest, images, Look(tile_width=100, columns=5, per_page=10))
    assert found[0].pictures == 5
    assert [(each.code, each.line) for each in findings] == [
        ("broken_picture", 2), ("broken_picture", 3), ("broken_picture", 4), ("missing_picture", 5),
    ]  # fmt: skip


def test_hostile_names_of_pictures_are_findings_in_one_line(tmp_path: Path) -> None:
    """Brackets, control characters and terminal codes in a picture's name: a card and a printable line for each."""
    sources = ["file://[bad/x.jpg", "s3://[bad/x.jpg", "file:///a\0b.jpg", "file:///\x1b[31m\u202ered.jpg", "x\ny.jpg"]
    manifest = write(tmp_path / "a.manifest", [{"source-ref": source} for source in sources])
    found, findings = drawn(manifest, tmp_path, Look(tile_width=100))
    assert found[0].pictures == len(sources)
    assert [each.line for each in sorted(findings, key=lambda each: each.line or 0)] == [1, 2, 3, 4, 5]
    assert all(said.isprintable() for said in findings.lines())


def test_a_hash_in_a_name_is_a_letter(tmp_path: Path) -> None:
    """What would end the path of a web address is part of a picture's name."""
    (tmp_path / "a#1?.jpg").write_bytes(b"")
    reader = Pictures(images=tmp_path, base=tmp_path)
    assert reader.local("s3://bucket/x/a#1?.jpg") == tmp_path / "a#1?.jpg"
    assert Pictures(base=tmp_path).local("a#1?.jpg") == tmp_path / "a#1?.jpg"


def test_a_pipe_or_a_device_named_as_a_picture_is_not_read(tmp_path: Path) -> None:
    """A manifest that names /dev/zero is answered at once."""
    manifest = write(tmp_path / "a.manifest", [{"source-ref": "file:///dev/zero"}])
    _, findings = drawn(manifest, tmp_path, Look())
    assert dict(findings.counts) == {"missing_picture": 1}


def test_keys_cannot_leave_the_directory_of_pictures(tmp_path: Path) -> None:
    """'..' in an object's key finds nothing above --images."""
    (tmp_path / "secret.jpg").write_bytes(picture())
    (tmp_path / "images").mkdir()
    reader = Pictures(images=tmp_path / "images", base=tmp_path / "images")
    assert reader.local("s3://bucket/../secret.jpg") is None


def test_a_plain_name_is_a_path_from_the_manifest_on(tmp_path: Path) -> None:
    """Beside it, above it, or from the root, to the letter: what a file:// URI could name anyhow."""
    reader = Pictures(base=tmp_path / "lists")
    assert reader.local("a%20b.jpg") == tmp_path / "lists/a%20b.jpg"
    assert reader.local("../frames/a.jpg") == tmp_path / "lists/../frames/a.jpg"
    assert reader.local(str(tmp_path / "a.jpg")) == tmp_path / "a.jpg"
    assert reader.local((tmp_path / "a b.jpg").as_uri()) == tmp_path / "a b.jpg"


def test_local_pictures_are_found_by_the_longest_end_of_their_name(tmp_path: Path) -> None:
    """Of two directories with a file of that name, the one that agrees in more parts is taken."""
    for place in ("a.jpg", "frames/a.jpg", "frames/b/a.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    reader = Pictures(images=tmp_path)
    assert reader.local("s3://bucket/x/frames/b/a.jpg") == tmp_path / "frames/b/a.jpg"
    assert reader.local("s3://bucket/x/frames/a.jpg") == tmp_path / "frames/a.jpg"
    assert reader.local("s3://bucket/other/a.jpg") == tmp_path / "a.jpg"


def test_portraits_and_pngs_fit_their_tile() -> None:
    """A tall picture is fitted by its height, a small one is not enlarged, a PNG is read as well."""
    tall = picture(480, 1920)
    header = header_of(tall, len(tall))
    assert header is not None
    assert shrunk(tall, header, 240, 240).shape == (240, 60, 3)
    png = cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))[1].tobytes()
    small = header_of(png, len(png))
    assert small is not None
    assert shrunk(png, small, 240, 240).shape == (10, 20, 3)


def test_a_truncated_png_is_an_error_of_ours() -> None:
    """Damage beyond showing is an ObjectConflict, not a library's exception."""
    png = cv2.imencode(".png", np.zeros((100, 200, 3), np.uint8))[1].tobytes()[:40]
    header = header_of(png, len(png))
    assert header is not None
    with pytest.raises(ObjectConflict):
        shrunk(png, header, 100, 100)


def test_a_page_too_large_for_a_jpeg_is_refused_at_once() -> None:
    """The limits of the format are told before anything is drawn."""
    with pytest.raises(ConfigInvalid, match="larger than"):
        Look(tile_width=1000, columns=1, per_page=1000)


def test_counts_come_from_names_and_from_the_line() -> None:
    """Of the published jobs: one class, two videos, 579 boxes, none of them by camera or day, which nobody told."""
    found = counted(GROUND_TRUTH / "yellow-box-large.output.manifest")
    assert found.as_json()["class"] == {"yellow_box": 633}
    assert found.as_json()["video"] == {"yellow_box_1": 321, "yellow_box_2": 312}
    assert found.boxes["storage box"].count == 579
    assert sum(map(sum, found.centres)) == 579
    assert found.per_picture == {0: 56, 1: 575, 2: 2}
    assert not {"camera", "device", "day", "split"} & set(found.as_json())


def test_a_line_s_own_keys_win_over_its_name(tmp_path: Path) -> None:
    """Camera, moment and split written into the line are what is counted; the device comes from the name."""
    lines = [
        line(1),
        line(2, camera="cam9", captured="2026-12-24T00:00:00Z", split="test"),
        {"source-ref": "s3://b/x.jpg"},
    ]
    found = counted(write(tmp_path / "a.manifest", lines)).as_json()
    assert found["camera"] == {"dock7/cam1": 1, "dock7/cam9": 1, NOT_KNOWN: 1}
    assert found["day"] == {"2026-11-22": 1, "2026-12-24": 1, NOT_KNOWN: 1}
    assert found["device"] == {"dock7": 2, NOT_KNOWN: 1}
    assert found["split"] == {"test": 1, NOT_KNOWN: 2}


def test_cameras_are_counted_as_a_build_counts_them(tmp_path: Path) -> None:
    """Two devices may both have a cam1, and a name may have more class fields than are told: build and stats agree."""
    stems = [f"yellow_box_large_{each}-20261122T143105123Z" for each in ("dock7-cam1", "dock8-cam1", "dock7-cam2")]
    stems.append("yellow_box_1")
    lines = [{"source-ref": f"s3://b/{stem}_000001.jpg"} for stem in stems]
    found = counted(write(tmp_path / "a.manifest", lines))
    entries = [entry_of(fields, "", ("color", "object")) for fields in lines]
    assert found.cameras == Counter(entry.camera or NOT_KNOWN for entry in entries)
    assert found.classes == Counter(entry.tag for entry in entries)
    assert found.cameras["dock7/cam1"] == found.cameras["dock8/cam1"] == 1


def test_sizes_and_places_of_boxes_are_shares_of_the_picture(tmp_path: Path) -> None:
    """A quarter of the sides in the lower right is a quarter there; what lies outside is counted at the edge."""
    manifest = write(tmp_path / "a.manifest", [boxed(1, (480, 360, 160, 120)), boxed(2, (-100, -100, 20, 20))])
    found = counted(manifest)
    one = found.boxes["box"]
    assert (one.count, one.unsized) == (2, 0)
    assert one.width[12] == one.height[12] == 1
    assert found.centres[42][42] == found.centres[0][0] == 1
    assert median([0, 0, 3, 1]) == 0.625
    assert median([0, 0]) is None


def test_a_hostile_name_reaches_terminal_and_plot_as_text(tmp_path: Path) -> None:
    """Control characters, mathematics and mark-up in classes and labels neither act nor break anything."""
    evil = "\x1b[31m$\\frac$<b>\u202e汉"
    lines = [{**line(1), "color": evil}, boxed(2, (1, 1, 9, 9), label=evil)]
    found = counted(write(tmp_path / "a.manifest", lines))
    assert all(row.isprintable() for row in table(found))
    for name in ("one.svg", "two.svg"):
        draw(found, evil, tmp_path / name)
    svg = (tmp_path / "one.svg").read_text()
    assert "<b>" not in svg
    assert svg == (tmp_path / "two.svg").read_text(), "a plot under version control changes only with the data"
    assert len(panels_of(found)) == 8


@pytest.mark.parametrize("module", ["cloud.dataset.index", "cloud.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    """What reads one record, and every command, does not pay for what other commands need."""
    heavy = "av", "boto3", "cv2", "matplotlib", "numpy", "pandas", "rich.console", "starlette", "structlog", "uvicorn"
    check = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nonsense"):
        __import__("cloud.dataset").dataset.nonsense  # noqa: B018


def test_a_notebook_filters_shows_and_tabulates(tmp_path: Path) -> None:
    """Frames by class and label, a sheet that shows itself, a row for each frame in pandas."""
    images = placed(tmp_path / "images", 1, 2, 3)
    red = {**line(3), "color": "red"}
    manifest = write(tmp_path / "a.manifest", [boxed(1, (10, 20, 30, 40)), boxed(2), red, "{broken"])
    frames = open_dataset(manifest, images=images)
    assert [frame.tag["color"] for frame in frames] == ["yellow", "yellow", "red"]
    assert dict(frames.findings.counts) == {"broken_json": 1}
    [one] = frames.where(color="yellow").with_label("box")
    assert isinstance(one, Frame)
    assert (one.boxes[0].left, one.labelled, one.image.shape) == (10, True, (480, 640, 3))
    assert [frame.labelled for frame in frames] == [True, True, False]
    sheet = frames.sheet()
    sheet.save(tmp_path / "sheet.jpg")
    assert decoded(sheet._repr_jpeg_()).shape[0] > 180
    table_of = frames.to_pandas()
    assert list(table_of["color"]) == ["yellow", "yellow", "red"]
    assert list(table_of["boxes"].fillna(-1)) == [1, 0, -1]
    assert table_of["camera"].unique().tolist() == ["dock7/cam1"]
    assert "3 frames, 1 video<" in frames._repr_html_()


def test_what_nobody_told_is_none_in_a_table(tmp_path: Path) -> None:
    """A picture of no video has no device, camera, day and side: pandas finds them missing, and groups without them."""
    manifest = write(tmp_path / "a.manifest", [{**line(1), "split": "train"}, {"source-ref": "s3://b/x.jpg"}])
    frames = open_dataset(manifest)
    told, untold = frames
    assert (told.origin.camera, told.origin.split) == ("dock7/cam1", "train")
    assert untold.origin == Origin(None, None, None, None, None, None)
    rows = frames.to_pandas()
    assert rows[["video", "device", "camera", "day", "split"]].isna().sum(axis=1).tolist() == [0, 5]
    assert list(rows.groupby("camera").size().index) == ["dock7/cam1"]


def test_what_a_cell_shows_of_anything_is_a_short_line(tmp_path: Path) -> None:
    """Sheet, frame, counts and data set say what they are in under 200 characters: no bytes of pictures, no lines."""
    long = {**line(2), "source-ref": f"s3://b/{'x' * 900}.jpg", "color": "y" * 900, "note": "z" * 900}
    manifest = write(tmp_path / "a.manifest", [boxed(1, (10, 20, 30, 40)), long])
    frames = open_dataset(manifest, images=placed(tmp_path / "images", 1))
    one, other = frames
    assert repr(one).endswith("_000001.jpg: yellow_box, 1 labelled>")
    assert repr(frames.stats()) == "<Stats: 2 lines, 1 labelled>"
    for shown in (one, other, frames.stats(), frames.sheet()):
        assert len(repr(shown)) < 200
        assert repr(shown).isprintable()


def test_bars_are_in_parts_by_side_and_say_what_has_none(tmp_path: Path) -> None:
    """Test videos are not in the colour of training; each side has its own in all panels; nothing is left out."""
    lines = [{**line(number), "source-ref": f"s3://b/a_b_{number % 3}_{number:06d}.jpg"} for number in range(30)]
    for number in range(20):
        lines[number]["split"] = ("train", "test")[number % 3 == 0]
    found = counted(write(tmp_path / "a.manifest", lines))
    classes, videos = sides_of(found.classes, found.class_splits), sides_of(found.videos, found.video_splits)
    assert [side.name for side in videos] == ["train", "test", NOT_KNOWN]
    assert [side.color for side in videos] == [side.color for side in classes]
    [plain] = sides_of(found.videos, {})
    assert len({side.color for side in [plain, *videos]}) == 4
    assert sum((side.counts for side in videos), Counter()) == found.videos
    assert videos[1].counts == {"a_b_0": 7}


def test_a_sheet_says_which_pictures_are_missing(tmp_path: Path) -> None:
    """What is wrong with pictures stands beside what is wrong with lines, and is not added up from sheet to sheet."""
    manifest = write(tmp_path / "a.manifest", [*map(line, range(1, SHOWN + 3)), "{broken"])
    frames = open_dataset(manifest, images=placed(tmp_path / "images", 1))
    for _ in range(2):
        frames.sheet()
        assert dict(frames.findings.counts) == {"broken_json": 1, "missing_picture": SHOWN + 1}
        assert len(list(frames.findings)) == 1 + SHOWN


def test_a_notebook_says_in_one_line_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such class field, no frame to show, no pandas: an error of ours that says what to do."""
    frames = open_dataset(write(tmp_path / "a.manifest", [line(1)]))
    with pytest.raises(ConfigInvalid, match="no class field size"):
        frames.where(size="large")
    with pytest.raises(ConfigInvalid, match="no such frame"):
        frames.where(color="mauve").sheet()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigInvalid, match="pip install pandas"):
        frames.to_pandas()
