"""Contract 1: the segment name, the sidecar and the object's metadata."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge_agent.errors import NameInvalid
from edge_agent.segment import (
    MAX_STEM,
    ClassTag,
    Segment,
    SegmentName,
    Take,
    check_camera,
    check_device,
    check_fields,
    check_name_length,
    format_moment,
    parse_frame,
    parse_moment,
    video_key,
)

FIELDS = ("color", "object")
LOWER = string.ascii_lowercase + string.digits
ALPHANUMERIC = string.ascii_letters + string.digits
RESERVED = {"source", "set-by", "set-at"}
SAFE_KEY = set(ALPHANUMERIC + "._/=-")


def words(alphabet: str, separators: str, size: int) -> st.SearchStrategy[str]:
    word = st.text(alphabet, min_size=1, max_size=6)
    more = st.lists(st.tuples(st.sampled_from(separators), word), max_size=3)
    return st.builds(lambda first, rest: (first + "".join(s + w for s, w in rest))[:size], word, more).filter(
        lambda text: text[-1] not in separators
    )


field_names = st.lists(
    words(LOWER, "-", 20).filter(lambda name: name[0].isalpha() and name not in RESERVED),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)
values = words(LOWER, "-", 20)
takes = words(ALPHANUMERIC, "-.", 40)
devices = words(ALPHANUMERIC, "-.", 30)
cameras = words(ALPHANUMERIC, ".", 20)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - made aware


@st.composite
def tags(draw: st.DrawFn) -> ClassTag:
    names = draw(field_names)
    return ClassTag(names, tuple(draw(values) for _ in names))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    tag = draw(tags())
    assume(not any(name.endswith(("-ref", "-metadata")) for name in tag.fields))
    take = Take(draw(devices), draw(cameras), draw(moments))
    return Segment(
        SegmentName(tag, str(take)),
        device=take.device,
        camera=take.camera,
        start=take.start,
        duration=draw(st.floats(0, 1e6)),
        frames=draw(st.integers(0, 10**9)),
        codec=draw(st.sampled_from(["h264", "mjpeg"])),
        width=draw(st.integers(0, 16384)),
        height=draw(st.integers(0, 16384)),
        size=draw(st.integers(0, 2**50)),
        crc64nvme="rosUhgp5mIg=",
        clock=draw(st.sampled_from(["synchronised", "unsynchronised"])),
        recovered=draw(st.booleans()),
        class_set_by=draw(st.text(max_size=30)),
        class_set_at=draw(st.sampled_from(["", "2026-11-22T14:31:05.123Z"])),
    )


@given(tags(), takes)
def test_every_valid_name_comes_back_from_its_stem(tag: ClassTag, take: str) -> None:
    """Any class tag and take, spelt as a stem, parse into the same name."""
    name = SegmentName(tag, take)
    assert SegmentName.parse(name.stem, tag.fields) == name
    assert ClassTag.parse(str(tag), tag.fields) == tag


@given(tags(), takes, st.integers(0, 10**9))
def test_every_frame_name_comes_back_from_its_stem(tag: ClassTag, take: str, index: int) -> None:
    """Any frame's stem gives back its segment and its ordinal."""
    name = SegmentName(tag, take)
    assert parse_frame(name.frame(index), tag.fields) == (name, index)


@given(devices, cameras, moments)
def test_every_take_comes_back_from_its_text(device: str, camera: str, start: datetime) -> None:
    """Device, camera and millisecond survive the name, whatever dashes the device has and whatever the year."""
    take = Take(device, camera, start)
    assert Take.parse(str(take)) == take


@given(st.one_of(st.text(max_size=60), st.text("abz019_-. /\\\n\x00A٣", max_size=40)), field_names)
@example("blue_box_1", FIELDS)
@example("blue_box_1\n", FIELDS)
@example("blue_box_٣", FIELDS)
def test_any_text_parses_and_respells_identically_or_is_refused_in_one_line(text: str, names: tuple[str, ...]) -> None:
    """A stem is understood exactly or refused with a message fit for a terminal, never half understood."""
    try:
        name = SegmentName.parse(text, names)
    except NameInvalid as error:
        assert str(error).isprintable()
    else:
        assert name.stem == text


@given(st.one_of(st.text(max_size=60), st.from_regex(r"blue_box_1_[0-9٠-٩]{4,8}\n?", fullmatch=True)))
@example("blue_box_1_000007")
@example("blue_box_1_0000007")
@example("blue_box_1_٠٠٠٠٠١")
def test_any_text_is_one_frame_exactly_or_refused(text: str) -> None:
    """No two spellings name the same frame."""
    try:
        name, index = parse_frame(text)
    except NameInvalid as error:
        assert str(error).isprintable()
    else:
        assert name.frame(index) == text


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[a-z-]{0,9}-c-[0-9٠-٩]{8}T[0-9]{9}Z", fullmatch=True)))
@example("dock7-cam1-20261322T143105123Z")
@example("dock7-cam1-٢٠٢٦1122T143105123Z")
def test_a_take_that_does_not_respell_identically_is_hand_made(text: str) -> None:
    """Device, camera and start are read from a take only where they spell that very take."""
    take = Take.parse(text)
    assert take is None or str(take) == text


def test_the_name_of_the_architecture_reads_as_documented() -> None:
    """The documented example gives class, device, camera, start and frame names."""
    name = SegmentName.parse("yellow_box_dock7-cam1-20261122T143105123Z")
    assert name.tag.as_dict() == {"color": "yellow", "object": "box"}
    assert name.made_by == Take("dock7", "cam1", datetime(2026, 11, 22, 14, 31, 5, 123000, UTC))
    assert name.frame(23) == "yellow_box_dock7-cam1-20261122T143105123Z_000023"
    assert name.frame(1_234_567).endswith("_1234567")


@pytest.mark.parametrize("stem", ["blue_box_1", "yellow_box_3", "light-blue_box_take.2-b", "a_b_C"])
def test_plain_names_parse(stem: str) -> None:
    """Names a person made up are as good as the daemon's."""
    name = SegmentName.parse(stem)
    assert name.stem == stem
    assert name.made_by is None


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "blue",
        "blue_box",
        "blue_box_1_2",
        "Blue_box_1",
        "blue_bo x_1",
        "blue_box_1.",
        "blue_box_-1",
        "blue__1",
        "blue_box_a--b",
        "../box_1_2",
        "blue/x_box_1",
        "blue\\x_box_1",
        "blue_box_1\n",
        "blue_box_\x1b[31m",
        "blue_box_\x00",
        "bläu_box_1",
        "blue_box_" + "x" * MAX_STEM,
        "b" * 64 + "_box_1",
        "blue_box_\ud800",
    ],
)
def test_bad_names_are_refused_in_one_line(stem: str) -> None:
    """Bad characters, separators, control characters, wrong field counts and over-long names are refused legibly."""
    with pytest.raises(NameInvalid) as caught:
        SegmentName.parse(stem)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_name_for_other_fields_is_refused() -> None:
    """The number of fields comes from the configuration, and a name with another number is none."""
    assert SegmentName.parse("crate_1", ("object",)).tag.values == ("crate",)
    with pytest.raises(NameInvalid, match="<color>_<object>_<take>"):
        SegmentName.parse("crate_1")


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a", "a"),
        ("source",),
        ("set-by",),
        ("set-at",),
        ("x-ref",),
        ("x-metadata",),
        ("Color",),
        ("1a",),
        ("$a",),
        ("a\n",),
    ],
)
def test_field_names_that_cannot_be_manifest_keys_are_refused(names: tuple[str, ...]) -> None:
    """Reserved, repeated and unspellable field names are refused before anything is recorded under them."""
    with pytest.raises(NameInvalid) as caught:
        check_fields(names)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["", "a_b", "a/b", "..", "-a", "a-", "a b", "a\n", "é", "x" * 64])
def test_device_and_camera_names_that_cannot_stand_in_a_take_are_refused(name: str) -> None:
    """What would break the take, or a path, is no device and no camera."""
    for check in (check_device, check_camera):
        with pytest.raises(NameInvalid) as caught:
            check(name)
        assert str(caught.value).isprintable()


def test_a_camera_has_no_dash_so_that_the_device_may_have_some() -> None:
    """The take's last two dashes are its own."""
    assert check_device("dock-7.b") == "dock-7.b"
    with pytest.raises(NameInvalid):
        check_camera("cam-1")


def test_names_that_will_be_too_long_are_known_beforehand() -> None:
    """Device, camera and class are checked together, before the first segment would fail."""
    tag = ClassTag(FIELDS, ("y" * 63, "b" * 63))
    check_name_length(tag, "dock7", "cam1")
    with pytest.raises(NameInvalid, match="too long"):
        check_name_length(tag, "d" * 63, "cam1")


def test_a_class_needs_exactly_the_configured_fields() -> None:
    """Missing and unknown fields are named."""
    assert str(ClassTag.of({"object": "box", "color": "blue"}, FIELDS)) == "blue_box"
    with pytest.raises(NameInvalid, match="no object"):
        ClassTag.of({"color": "blue"}, FIELDS)
    with pytest.raises(NameInvalid, match="unknown field 'size'"):
        ClassTag.of({"color": "blue", "object": "box", "size": "1"}, FIELDS)


def test_a_take_is_in_utc_and_whole_milliseconds() -> None:
    """Another time zone and microseconds change the spelling of a moment, not the moment."""
    start = datetime(2026, 11, 22, 16, 31, 5, 123999, timezone(timedelta(hours=2)))
    assert str(Take("dock7", "cam1", start)) == "dock7-cam1-20261122T143105123Z"


def test_a_negative_frame_is_refused() -> None:
    """Ordinals begin at 0."""
    with pytest.raises(NameInvalid):
        SegmentName.parse("blue_box_1").frame(-1)


@given(segments())
def test_a_sidecar_describes_its_segment_whole(segment: Segment) -> None:
    """Segment to JSON and back loses nothing."""
    assert Segment.from_json(segment.to_json()) == segment


@given(segments())
def test_metadata_describes_the_segment_whole(segment: Segment) -> None:
    """Segment to user metadata and back loses nothing, and S3 takes every value as it is."""
    metadata = segment.to_metadata()
    assert Segment.from_metadata(metadata) == segment
    for key, value in metadata.items():
        assert set(key) <= set(LOWER + "-")
        assert value.isascii()
        assert value.isprintable()


@given(segments())
def test_a_video_key_is_safe_everywhere(segment: Segment) -> None:
    """No key leaves its prefix, none needs quoting, and its last part is the segment's name."""
    key = video_key(segment)
    assert set(key) <= SAFE_KEY
    assert key.startswith("videos/")
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key.endswith(f"/{segment.name.stem}.mp4")
    assert len(key.split("/")) == 6


SEGMENT = Segment(
    SegmentName.parse("yellow_box_dock7-cam1-20261122T143105123Z"),
    device="dock7",
    camera="cam1",
    start=datetime(2026, 11, 22, 14, 31, 5, 123000, UTC),
    duration=1.0,
    frames=25,
    codec="h264",
    width=640,
    height=480,
)

BROKEN: list[tuple[str, Any]] = [
    ("name", None),
    ("name", 5),
    ("name", "yellow_box"),
    ("name", "blue_box_1"),
    ("class", None),
    ("class", "ab"),
    ("class", ["color", "object"]),
    ("class", {"a\nb": "yellow", "object": "box"}),
    ("class", {"color": "blue", "object": "box"}),
    ("class", {}),
    ("start", "yesterday"),
    ("start", "2026-11-22T14:31:05"),
    ("start", "9999-12-31T23:59:59-01:00"),
    ("start", 5),
    ("device", "../../etc"),
    ("device", 7),
    ("camera", "a/b"),
    ("frames", "many"),
    ("frames", -1),
    ("frames", True),
    ("size", None),
    ("duration", "long"),
    ("duration", float("nan")),
    ("recovered", "false"),
    ("codec", []),
]


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_a_broken_sidecar_is_refused_in_one_line(key: str, value: object) -> None:
    """A sidecar with any wrong or foreign value is refused, whatever the value."""
    with pytest.raises(NameInvalid) as caught:
        Segment.from_json(json.dumps({**SEGMENT.as_dict(), key: value}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["name", "class", "start", "device", "camera", "frames", "codec", "duration"])
def test_a_sidecar_without_a_needed_key_is_refused(key: str) -> None:
    """What cannot be left out is missed."""
    document = SEGMENT.as_dict()
    del document[key]
    with pytest.raises(NameInvalid):
        Segment.from_dict(document)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "5", "[" * 100_000, '{"name": "\\ud800"}'])
def test_a_sidecar_that_is_no_json_object_is_refused(text: str) -> None:
    """Torn and foreign files are no sidecars."""
    with pytest.raises(NameInvalid) as caught:
        Segment.from_json(text)
    assert str(caught.value).isprintable()


def test_keys_of_a_later_version_are_ignored() -> None:
    """A sidecar with more in it than we know is read."""
    assert Segment.from_json(json.dumps({**SEGMENT.as_dict(), "mood": "good"})) == SEGMENT


@pytest.mark.parametrize(
    "change",
    [
        {"frames": "x"},
        {"duration": ""},
        {"width": "1.5"},
        {"class-set-by": "\\x"},
        {"class-set-by": "é€"},
        {"start": ""},
        {"device": "a/b"},
    ],
)
def test_broken_metadata_is_refused(change: dict[str, str]) -> None:
    """Metadata somebody else wrote is refused, not guessed at."""
    with pytest.raises(NameInvalid):
        Segment.from_metadata({**SEGMENT.to_metadata(), **change})
    with pytest.raises(NameInvalid):
        Segment.from_metadata(change)


def test_a_segment_learns_its_file() -> None:
    """Size and checksum are added without touching the rest."""
    assert SEGMENT.with_file(5, "abc=") == replace(SEGMENT, size=5, crc64nvme="abc=")


@given(moments)
def test_a_moment_comes_back_to_the_millisecond(moment: datetime) -> None:
    """ISO text and back loses no more than microseconds."""
    assert timedelta(0) <= moment - parse_moment(format_moment(moment)) < timedelta(milliseconds=1)
