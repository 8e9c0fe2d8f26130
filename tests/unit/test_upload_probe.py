"""What is read from a video that came without a sidecar."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.errors import VideoUnreadable
from edge_agent.upload.probe import video_facts


def test_a_real_clip_is_described_by_its_packets(black_cup: Path) -> None:
    """Codec, picture size, frames and duration are those libav finds when it decodes the clip."""
    facts = video_facts(black_cup)
    with av.open(black_cup) as container:
        stream = container.streams.video[0]
        assert facts.frames == sum(1 for _ in container.decode(stream))
        assert (facts.codec, facts.width, facts.height) == (stream.codec.name, stream.width, stream.height)
        assert container.duration is not None
        assert facts.duration == pytest.approx(container.duration / av.time_base, abs=0.1)


@given(content=st.binary(max_size=4096))
@example(content=b"")
@example(content=b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
@example(content=b"#EXTM3U\n#EXTINF:9,\n/etc/hostname\n")
def test_junk_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """Whatever bytes pose as a video, the answer is VideoUnreadable and never another error."""
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(content)
    with pytest.raises(VideoUnreadable) as caught:
        video_facts(junk)
    assert "\n" not in str(caught.value)


@given(data=st.data())
def test_a_cut_clip_is_described_or_refused(tmp_path: Path, black_cup: Path, data: st.DataObject) -> None:
    """A clip cut anywhere never crashes the uploader nor claims more frames than the whole has."""
    content = black_cup.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with suppress(VideoUnreadable):
        assert 0 < video_facts(cut).frames <= video_facts(black_cup).frames


def test_a_file_that_is_not_there_is_no_verdict_on_a_video(tmp_path: Path) -> None:
    """Absence is the caller's to judge."""
    with pytest.raises(FileNotFoundError):
        video_facts(tmp_path / "absent.mp4")
