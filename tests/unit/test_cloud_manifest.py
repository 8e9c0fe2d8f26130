"""Manifest lines, partitions, and where everything stands."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset import layout
from cloud.dataset.index import DecodeFacts, FrameFacts, ProbeFacts, SegmentFacts, VideoFacts, VideoIndex
from cloud.dataset.manifest import lines_of, make_line, merge, parse, parse_line
from cloud.settings import load
from edge_agent.errors import ConfigInvalid, ObjectConflict
from edge_agent.segment import SegmentName, parse_frame

BLUE = SegmentName.parse("blue_box_1")
STEMS = ["blue_box_1", "blue_box_10", "blue_box_2", "blue_box_a-b-1"]


def block(stem: str, indices: list[int]) -> list[str]:
    name = SegmentName.parse(stem)
    return [make_line(f"s3://bucket/{layout.frame_key(name, index)}", name.tag.as_dict()) for index in indices]


blocks = st.dictionaries(st.sampled_from(STEMS), st.lists(st.integers(0, 2_000_000), unique=True, max_size=5))


def test_a_line_looks_as_labelling_services_expect() -> None:
    """Key order and spacing are fixed to the byte."""
    assert make_line("s3://bucket/frames/blue_box_1/blue_box_1_000023.jpg", BLUE.tag.as_dict()) == (
        '{"source-ref": "s3://bucket/frames/blue_box_1/blue_box_1_000023.jpg", "color": "blue", "object": "box"}'
    )


def test_a_line_read_back_tells_its_frame() -> None:
    """Stem and ordinal come from the frame's name, also beyond six digits and with further keys in the line."""
    line = parse_line('{"source-ref": "file:///d/a_b_c_1234567.jpg", "x": [1]}')
    assert (line.stem, line.index) == ("a_b_c", 1_234_567)


@given(blocks, st.randoms(use_true_random=False))
def test_the_order_of_merging_does_not_matter(found: dict[str, list[int]], random: Random) -> None:
    """A partition's bytes depend on the set of videos in it, not on the order or number of merges."""
    ordered = b""
    for stem, indices in found.items():
        ordered = merge(ordered, stem, block(stem, indices))
    shuffled, again = b"", [*found, *found]
    random.shuffle(again)
    for stem in again:
        shuffled = merge(shuffled, stem, block(stem, sorted(found[stem])))
    assert shuffled == ordered
    lines = parse(ordered, "p")
    assert [(line.stem, line.index) for line in lines] == sorted((s, i) for s in found for i in found[s])


@given(blocks, st.lists(st.integers(0, 99), unique=True, max_size=5))
def test_a_video_replaces_its_own_block_only(found: dict[str, list[int]], indices: list[int]) -> None:
    """Processed anew, a video's old lines go and all others stay as they were, to the byte."""
    before = b""
    for stem, had in found.items():
        before = merge(before, stem, block(stem, had))
    after = merge(before, "blue_box_1", block("blue_box_1", indices))
    others = [line.text for line in parse(before, "p") if line.stem != "blue_box_1"]
    assert [line.text for line in parse(after, "p") if line.stem != "blue_box_1"] == others
    assert [line.index for line in parse(after, "p") if line.stem == "blue_box_1"] == sorted(indices)


def test_what_others_added_to_a_line_is_kept() -> None:
    """Lines of other videos are not rewritten: keys a person added stay, and a missing last line end is mended."""
    theirs = '{"source-ref":"s3://b/x_y_1_000000.jpg","color":"x","note":"gr\u00fcn"}'
    merged = merge(theirs.encode(), "blue_box_1", block("blue_box_1", [0])).decode()
    assert merged.splitlines()[1] == theirs
    assert merged.endswith("\n")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (b'{"source-ref": "s3://b/a_b_1_0000', "line 2 is damaged: no JSON"),
        (b'{"color": "blue"}\n', "line 2 is damaged: no object with a 'source-ref'"),
        (b'["x"]\n', "line 2 is damaged: no object with a 'source-ref'"),
        (b'{"source-ref": "s3://b/picture.jpg"}\n', "line 2 is damaged: source-ref 's3://b/picture.jpg' is no frame"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_damaged_partition_is_refused(damage: bytes, why: str) -> None:
    """Rather than lose lines it cannot read, merging stops and says where."""
    whole = "\n".join(block("blue_box_1", [0])).encode() + b"\n"
    with pytest.raises(ObjectConflict) as caught:
        merge(whole + damage, "blue_box_2", block("blue_box_2", [0]), "s3://b/p.manifest")
    assert str(caught.value).startswith("s3://b/p.manifest: ")
    assert why in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("stem", "partition"),
    [
        (
            "yellow_box_dock7-cam1-20261122T143105123Z",
            "manifests/yellow_box/2026-11-22-dock7.manifest",
        ),
        ("yellow_box_a-b-cam-20261231T235959999Z", "manifests/yellow_box/2026-12-31-a-b.manifest"),
        ("yellow_box_1", "manifests/yellow_box/undated.manifest"),
        ("yellow_box_dock7-cam1-20261399T143105123Z", "manifests/yellow_box/undated.manifest"),
    ],
)
def test_the_partition_follows_from_the_name(stem: str, partition: str) -> None:
    """One class, one device, one day; takes without a date share one partition of their class."""
    assert layout.partition_key(SegmentName.parse(stem)) == partition


def test_keys_are_derived_from_the_stem() -> None:
    """Frames, preview and index of a video are found from its name alone."""
    assert layout.frame_key(BLUE, 23) == "frames/blue_box_1/blue_box_1_000023.jpg"
    assert layout.preview_key(BLUE) == "previews/blue_box_1.jpg"
    assert layout.index_key(BLUE) == "index/blue_box_1.json"
    assert parse_frame("blue_box_1_000023") == (BLUE, 23)
    assert layout.is_frame_key(BLUE, "frames/blue_box_1/blue_box_1_000023.jpg")
    assert layout.frame_key(BLUE, 23, ".png") == "frames/blue_box_1/blue_box_1_000023.png"
    assert layout.is_frame_key(BLUE, "frames/blue_box_1/blue_box_1_000023.png")
    assert layout.failed_key("videos/a/blue_box_1.mp4") == "failed/blue_box_1.json"
    assert layout.failed_key("videos/Blau u. gr\u00fcn.mp4") == "failed/Blau=20u.=20gr=C3=BCn.json"
    assert not layout.is_frame_key(BLUE, "frames/blue_box_1/notes.jpg")
    assert not layout.is_frame_key(BLUE, "frames/blue_box_10/blue_box_10_000023.jpg")


def test_a_line_is_plain_json() -> None:
    """Any JSON reader reads it back."""
    assert json.loads(make_line("s3://b/k", BLUE.tag.as_dict())) == {
        "source-ref": "s3://b/k",
        "color": "blue",
        "object": "box",
    }


SEGMENT = SegmentFacts(name="blue_box_1", class_={"color": "blue", "object": "box"}, take="1", camera="cam1")
FRAME = FrameFacts(
    index=23,
    time=0.8,
    at=None,
    key="k",
    size=1,
    checksum="",
    verdict="flagged",
    reasons=("blur",),
    scores={"blur": 0.7},
)


def index_of(*frames: FrameFacts) -> VideoIndex:
    return VideoIndex(
        settings="s",
        video=VideoFacts(uri="u", key="k", etag="e", version=None, size=1),
        segment=SEGMENT,
        probe=ProbeFacts(codec="h264", width=1, height=1, fps=None, duration=None),
        decode=DecodeFacts(
            mode="m", frames=1, decoded=1, packets=1, packet_errors=0, mended=0, lost=0, truncated=False
        ),
        preview="p",
        preview_size=1,
        preview_checksum="",
        manifest="m",
        frames=frames,
    )


def test_rejected_frames_are_left_out_and_flagged_ones_listed() -> None:
    """The manifest lists what is worth a label, or may be."""
    frames = [
        FRAME.model_copy(update={"key": verdict, "verdict": verdict}) for verdict in ("kept", "rejected", "flagged")
    ]
    lines = [json.loads(line) for line in lines_of(index_of(*frames), str)]
    assert [line["source-ref"] for line in lines] == ["kept", "flagged"]


def test_extra_keys_stand_behind_the_class_in_the_order_wanted_where_they_are_known() -> None:
    """Camera, ordinal and scores are known here; device and moment are not, and left out."""
    (line,) = lines_of(index_of(FRAME), str, ("scores", "device", "frame", "captured", "camera"))
    assert list(json.loads(line).items()) == [
        ("source-ref", "k"),
        ("color", "blue"),
        ("object", "box"),
        ("scores", {"blur": 0.7}),
        ("frame", 23),
        ("camera", "cam1"),
    ]


def test_extra_keys_may_not_be_class_fields() -> None:
    """A key cannot mean two things."""
    with pytest.raises(ConfigInvalid, match=r"'lines.extra' and 'fields' both have camera"):
        load(overrides={"dataset": "d", "fields": "color,camera", "lines": {"extra": "camera,frame"}})


def test_a_claim_is_no_index() -> None:
    """Whoever reads an index sees a finished one, or none."""
    index = index_of(FRAME)
    assert VideoIndex.from_json(index.to_json()) == index
    assert VideoIndex.from_json(index.claim.to_json()) is None
