"""Odd and damaged videos: no crash, no hang, and exact ordinals where frames survive."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cloud.decode.decoder import Decoder, Report
from cloud.decode.packets import IndexBuilder
from cloud.decode.plan import Mode
from cloud.decode.sample import Sample
from cloud.settings import PictureSettings, Sampling
from edge_agent.errors import VideoUnreadable
from tests.support import odd_videos
from tests.support.odd_videos import KINDS, Kind

AS_IT_IS = PictureSettings()
RULES = [
    Sampling(every=1),
    Sampling(every=12),
    Sampling(every=7, phase=3),
    Sampling(seconds=0.3),
    Sampling(count=4),
    Sampling(scene=0.02),
]
COUNTED = {  # kinds whose stamps do not say which frame is which
    "transport-cut-in-a-gop",
    "matroska-cut-in-a-gop",
    "cut-in-a-gop",
    "open-gop-cut",
    "hevc-open-gop-cut",
    "interlaced",
    "two-frames",
    "vp8",
    "vp9",
    "mpeg2",
}


def run(path: Path, rule: Sampling, picture: PictureSettings = AS_IT_IS) -> tuple[list[Sample], Report]:
    with Decoder(path, str(path)) as decoder:
        samples = list(decoder.samples(rule, picture))
        return samples, decoder.report()


@pytest.mark.parametrize("name", KINDS)
def test_ordinals_and_pictures_are_those_of_a_plain_decode(name: str, tmp_path: Path) -> None:
    """Whatever the container, codec, cut and rule, a sample is the very frame that stands at its ordinal."""
    path = odd_videos.make(tmp_path, name)
    frames = odd_videos.plain(path)
    for rule in RULES:
        samples, report = run(path, rule)
        indices = [sample.index for sample in samples]
        assert indices == sorted(set(indices))
        if rule.every is not None:
            assert indices == list(range(rule.phase, len(frames), rule.every))
        if rule.count is not None:
            assert len(indices) == min(rule.count, len(frames))
        for sample in samples:
            if sample.jpeg is None:
                assert np.array_equal(sample.picture, frames[sample.index]), (rule, sample.index, report)
            assert max(sample.grey.shape[0] / 180, sample.grey.shape[1] / 320) <= 1
        assert not report.truncated
        assert report.packet_errors == 0
        assert report.frames == len(frames)
        assert not report.holes or "cut" in name
        assert (report.lost > 0) == ("cut" in name)
        assert bool(report.why) == ("cut" in name)


@pytest.mark.parametrize("name", KINDS)
def test_only_what_samples_need_is_decoded(name: str, tmp_path: Path) -> None:
    """With keyframes where samples are, nothing else is decoded, in every container whose stamps can be trusted."""
    path = odd_videos.make(tmp_path, name)
    _, report = run(path, Sampling(every=12))
    if name in COUNTED:
        assert report.mode is Mode.SEQUENCE
    elif name.startswith("motion-jpeg"):
        assert (report.mode, report.decoded) == (Mode.COPY, 0)
    elif "keyint=12" in KINDS[name].options and not KINDS[name].hidden and name != "intra-refresh":
        assert report.mode is Mode.KEYFRAMES
        assert report.decoded == -(-report.frames // 12)
    elif name == "one-gop":
        assert report.mode is Mode.REFERENCES
        assert report.decoded < 30


@settings(max_examples=25)
@given(
    codec=st.sampled_from(["libx264", "libx264", "libx265", "mpeg4"]),
    suffix=st.sampled_from([".mp4", ".mkv", ".ts"]),
    gop=st.integers(1, 20),
    b_frames=st.integers(0, 4),
    open_gop=st.booleans(),
    frames=st.integers(8, 40),
    first=st.integers(0, 6),
    hidden=st.integers(0, 6),
    steps=st.lists(st.integers(90, 20000), min_size=1, max_size=5),
    rule=st.sampled_from(RULES),
)
def test_any_stream_gives_the_frames_a_plain_decode_gives(
    codec: str,
    suffix: str,
    gop: int,
    b_frames: int,
    open_gop: bool,
    frames: int,
    first: int,
    hidden: int,
    steps: list[int],
    rule: Sampling,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Any codec, container, group length, reordering, rate, cut and edit list: the frame at the ordinal, or none."""
    options = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:open-gop={int(open_gop)}"
    steps = [round(step / 90) * 90 for step in steps]  # Matroska knows milliseconds only
    if codec == "mpeg4":
        options, steps = f"g={gop} bf={min(b_frames, 2)}", [3000]
    kind = Kind(suffix, codec, options, steps=tuple(steps), frames=frames, first=first, hidden=hidden, size=(64, 64))
    path = odd_videos.write(tmp_path_factory.mktemp("any") / f"video{suffix}", kind)
    try:
        samples, report = run(path, rule)
    except VideoUnreadable:
        assert not path.stat().st_size or not _decodable(path)
        return
    expected = odd_videos.plain(path)
    assert report.frames == len(expected)
    for sample in samples:
        assert np.array_equal(sample.picture, expected[sample.index])


def test_a_video_none_of_whose_frames_can_be_decoded_is_refused(tmp_path: Path) -> None:
    """MPEG-4 whose headers the container dropped has packets and stamps, and gives nothing: that is an error."""
    kind = Kind(".ts", "mpeg4", "g=1 bf=0", steps=(3000,), frames=8, first=0, hidden=0, size=(64, 64))
    path = odd_videos.write(tmp_path / "video.ts", kind)
    with pytest.raises(VideoUnreadable, match="gives no frame"):
        run(path, Sampling(every=1))


def _decodable(path: Path) -> bool:
    try:
        return bool(odd_videos.plain(path))
    except (av.FFmpegError, IndexError):
        return False


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_stored_upright(degrees: int, tmp_path: Path) -> None:
    """The display matrix is honoured, in the picture, in its small copy, and before a crop."""
    whole = odd_videos.make(tmp_path, "constant")
    path = odd_videos.turned(whole, tmp_path / "turned.mp4", degrees)
    expected = np.rot90(odd_videos.plain(whole)[12], degrees // 90)
    samples, _ = run(path, Sampling(every=12))
    assert np.array_equal(samples[1].picture, expected)
    grey = cv2.cvtColor(np.ascontiguousarray(expected), cv2.COLOR_BGR2GRAY)
    assert samples[1].grey.shape == grey.shape
    assert np.abs(samples[1].grey.astype(int) - grey).mean() < 3
    corner, _ = run(path, Sampling(every=12), PictureSettings(crop=(0.5, 0, 0.5, 0.25)))
    height, width = expected.shape[:2]
    assert np.array_equal(corner[1].picture, expected[: height // 4, width // 2 :])
    assert corner[1].grey.shape == (height // 4, width // 2)


def test_a_turned_motion_jpeg_video_is_not_copied(tmp_path: Path) -> None:
    """Packets lie on their side there: they are decoded and turned."""
    whole = odd_videos.make(tmp_path, "motion-jpeg-variable")
    samples, report = run(odd_videos.turned(whole, tmp_path / "turned.mp4", 90), Sampling(every=20))
    assert [sample.jpeg for sample in samples] == [None] * 3
    assert samples[0].picture.shape == (96, 64, 3)
    assert report.decoded == 3


@pytest.mark.parametrize("name", ["motion-jpeg", "motion-jpeg-avi", "motion-jpeg-variable"])
def test_motion_jpeg_packets_are_stored_bit_by_bit(name: str, tmp_path: Path) -> None:
    """What the camera compressed is what is stored, undecoded; a crop, a size or PNG makes a new picture."""
    path = odd_videos.make(tmp_path, name)
    with av.open(path) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    samples, report = run(path, Sampling(every=5))
    assert [sample.jpeg for sample in samples] == packets[::5]
    assert report.decoded == 0
    assert np.abs(samples[2].picture.astype(int) - odd_videos.plain(path)[10]).mean() < 6  # chroma enlarged otherwise
    for changed in (PictureSettings(crop=(0, 0, 0.5, 1)), PictureSettings(max_side=48), PictureSettings(format="png")):
        assert {sample.jpeg for sample in run(path, Sampling(every=20), changed)[0]} == {None}


def test_motion_jpeg_without_tables_gets_them(tmp_path: Path) -> None:
    """A camera that leaves the standard Huffman tables out gives JPEG files all the same, of the very same picture."""
    whole = odd_videos.make(tmp_path, "motion-jpeg")
    bare = tmp_path / "bare.mkv"
    with av.open(whole) as given, av.open(bare, "w") as made:
        copy = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                content = _without_tables(bytes(packet))
                stripped: Any = av.Packet(content)
                stripped.pts, stripped.dts, stripped.time_base = packet.pts, packet.dts, packet.time_base
                stripped.is_keyframe = True
                stripped.stream = copy
                made.mux(stripped)
    samples, report = run(bare, Sampling(every=10))
    assert report.decoded == 0
    for sample, original in zip(samples, run(whole, Sampling(every=10))[0], strict=True):
        assert sample.jpeg is not None
        assert np.array_equal(sample.picture, original.picture)


def _without_tables(coded: bytes) -> bytes:
    kept, place = bytearray(coded[:2]), 2
    while coded[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(coded[place + 2 : place + 4])
        if coded[place + 1] != 0xC4:
            kept += coded[place:end]
        place = end
    return bytes(kept + coded[place:])


def _same(samples: list[Sample], frames: list[NDArray[np.uint8]]) -> int:
    """How many samples are the picture at their ordinal."""
    return sum(s.index < len(frames) and np.array_equal(s.picture, frames[s.index]) for s in samples)


@pytest.mark.parametrize("name", ["b-frames", "transport", "matroska", "avi"])
def test_a_video_cut_off_at_any_place_gives_the_frames_before(name: str, tmp_path: Path) -> None:
    """Cut at every 5 %: what comes is what stood at that ordinal in the whole video, and the cut is told."""
    whole = odd_videos.make(tmp_path, name)
    frames, content = odd_videos.plain(whole), whole.read_bytes()
    if name == "b-frames":
        whole = _moov_first(whole, tmp_path / "first.mp4")
        content = whole.read_bytes()
    best = 0
    for share in range(5, 100, 5):
        cut = tmp_path / f"cut{whole.suffix}"
        cut.write_bytes(content[: len(content) * share // 100])
        try:
            samples, report = run(cut, Sampling(every=1))
        except VideoUnreadable:
            assert share <= 60
            continue
        same = _same(samples, frames)
        assert same >= len(samples) - 3, share  # the last few may refer to what is cut off
        assert len(samples) >= best
        best = len(samples)
        length = cut.stat().st_size
        starts = length % 188 == 0 and bool(content[length + 1] & 0x40)  # the next packet of 188 starts a frame
        between_frames = name == "transport" and starts  # then nothing in the file tells
        if share < 90 and not between_frames:
            assert report.truncated, share
    assert best > 45


def _moov_first(source: Path, target: Path) -> Path:
    with av.open(source) as given, av.open(target, "w", options={"movflags": "+faststart"}) as made:
        copy = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = copy
                made.mux(packet)
    return target


def test_flipped_bits_cost_frames_and_never_a_crash(tmp_path: Path) -> None:
    """200 damaged copies in four containers: each gives frames or one clear error, the same ones every time.

    Where every packet kept its time, a picture that came out unharmed stands at its ordinal.
    """
    gave = unharmed = 0
    for name in ("b-frames", "transport", "matroska", "motion-jpeg-avi"):
        whole = odd_videos.write(
            tmp_path / f"{name}{KINDS[name].suffix}",
            Kind(KINDS[name].suffix, KINDS[name].codec, KINDS[name].options, KINDS[name].pixels, (48, 32), frames=25),
        )
        content, frames, times = whole.read_bytes(), odd_videos.plain(whole), _times(whole)
        known = {frame.tobytes(): number for number, frame in enumerate(frames)}
        assert len(known) == len(frames)
        for seed in range(50):
            chance = random.Random(seed)
            damaged = bytearray(content)
            for _ in range(chance.choice([1, 4, 30])):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            path = tmp_path / f"damaged{whole.suffix}"
            path.write_bytes(damaged)
            first, second = _outcome(path, chance.choice(RULES)), _outcome(path, chance.choice(RULES[:1]))
            assert _outcome(path, RULES[0]) == second
            gave += bool(first[1])
            if second[1] and _times(path) == times:
                for sample in run(path, RULES[0])[0]:
                    number = known.get(sample.picture.tobytes())
                    assert number in (None, sample.index), (name, seed)
                    unharmed += number is not None
    assert gave > 120
    assert unharmed > 1500


def _times(path: Path) -> list[int | None]:
    """When each packet's picture is shown."""
    try:
        with av.open(path) as container:
            return [packet.pts for packet in container.demux(video=0) if packet.size]
    except av.FFmpegError:
        return []


def test_a_frame_that_is_not_in_the_file_is_lost_and_said(tmp_path: Path) -> None:
    """Packets of MPEG-TS that never arrived leave a hole in a constant rate; a rate that varies has none."""
    whole = odd_videos.make(tmp_path, "transport")
    with av.open(whole) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, end = packets[20].pos, packets[21].pos
    content = whole.read_bytes()
    assert start is not None
    assert end is not None
    torn = tmp_path / "torn.ts"
    torn.write_bytes(content[:start] + content[end:])
    samples, report = run(torn, Sampling(every=1))
    assert (report.packets, report.lost, report.holes) == (59, 1, 1)
    assert report.why[-1] == "1 frame between others not in the file"
    assert len(samples) == report.frames


def _outcome(path: Path, rule: Sampling) -> tuple[str, list[tuple[int, float, int]]]:
    try:
        samples, _ = run(path, rule)
    except VideoUnreadable as error:
        assert len(str(error).splitlines()) == 1
        return str(error), []
    assert [sample.index for sample in samples] == sorted({sample.index for sample in samples})
    assert [sample.time for sample in samples] == sorted(sample.time for sample in samples)
    return "", [(sample.index, sample.time, int(sample.picture.sum())) for sample in samples]


def test_damage_leaves_the_other_frames_their_ordinals(tmp_path: Path) -> None:
    """A destroyed group costs its own frames; the ones behind keep number and picture, whatever the rule."""
    whole = odd_videos.make(tmp_path, "constant")
    frames, content = odd_videos.plain(whole), bytearray(whole.read_bytes())
    with av.open(whole) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, size = packets[24].pos, packets[24].size
    assert start is not None
    content[start : start + size] = b"\x00" * size
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    samples, report = run(damaged, Sampling(every=1))
    survivors = {sample.index: sample.picture for sample in samples}
    assert all(np.array_equal(survivors[n], frames[n]) for n in (*range(24), *range(36, 60)))
    assert report.lost == 60 - len(samples)
    assert report.lost + report.packet_errors > 0
    keys, sparse = run(damaged, Sampling(every=12))
    assert [sample.index for sample in keys if sample.index != 24] == [0, 12, 36, 48]
    assert sparse.frames == 60


@pytest.mark.parametrize(
    ("gap", "holes"),
    [(2, 1), (26, 25), (27, 0), (90_000, 0), (1.5, 0)],
    ids=["one", "a second", "still", "jump", "odd"],
)
def test_a_gap_is_a_hole_only_where_frames_were_to_be(gap: float, holes: int) -> None:
    """A clock that was set, a still and a rate that varies are no frames that were lost."""
    builder = IndexBuilder()
    for number in range(100):
        packet: Any = av.Packet(b"x")
        packet.pts = packet.dts = 3600 * number + (round(3600 * (gap - 1)) if number >= 50 else 0)
        builder.add(packet)
    assert builder.index().holes() == holes


def test_a_video_without_a_frame_is_refused_in_one_line(tmp_path: Path) -> None:
    """Zero frames is an error that names the video."""
    path = odd_videos.make(tmp_path, "constant")
    empty = tmp_path / "empty.mp4"
    with av.open(path) as given, av.open(empty, "w") as made:
        made.add_stream_from_template(given.streams.video[0])
        made.start_encoding()
    with pytest.raises(VideoUnreadable) as caught:
        run(empty, Sampling(every=1))
    assert str(caught.value).startswith(f"{empty}: ")
    assert len(str(caught.value).splitlines()) == 1
