"""Broken timestamps become usable ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.reader import Arrival
from edge_agent.capture.sources.base import StreamFormat
from edge_agent.capture.stamps import HOLD, JUMP_SECONDS, Mender

TICKS = 90_000
FRAME = TICKS // 25
FORMAT = StreamFormat("h264", 320, 240)


@dataclass
class Template:
    """The one thing of a stream that mending looks at."""

    average_rate: Fraction | None = Fraction(25)


def arrival(dts: int | None, pts: int | None, monotonic: float, duration: int = 0) -> Arrival:
    packet: Any = Packet(b"x")
    packet.time_base = Fraction(1, TICKS)
    packet.dts, packet.pts, packet.duration = dts, pts, duration
    return Arrival(packet, FORMAT, cast("Any", Template()), monotonic)


def mend(mender: Mender, arrivals: Sequence[Arrival]) -> list[Arrival]:
    mended = [out for arrived in arrivals for out in mender.feed(arrived)]
    return mended + list(mender.flush())


def times(arrivals: Sequence[Arrival]) -> list[int]:
    return [cast("int", arrived.packet.dts) for arrived in arrivals]


def steady(count: int, start: int = 0, began: float = 0.0) -> list[Arrival]:
    return [arrival(start + n * FRAME, start + n * FRAME, began + n / 25) for n in range(count)]


stamps = st.none() | st.integers(-(2**40), 2**40) | st.integers(0, 100).map(lambda n: n * FRAME)


@given(st.lists(st.tuples(stamps, stamps, st.floats(0, 100), st.sampled_from([0, FRAME])), max_size=80))
def test_whatever_comes_leaves_in_order_and_whole(sent: list[tuple[int | None, int | None, float, int]]) -> None:
    """No packet is dropped or reordered; dts strictly increases; nothing is shown before it is decoded."""
    now, arrivals = 0.0, []
    for dts, pts, waited, duration in sent:
        now += waited
        arrivals.append(arrival(dts, pts, now, duration))
    mended = mend(Mender(), arrivals)
    assert [out.packet for out in mended] == [sent.packet for sent in arrivals]
    found = times(mended)
    assert all(before < after for before, after in itertools.pairwise(found))
    assert all(cast("int", out.packet.pts) >= cast("int", out.packet.dts) for out in mended)


@given(st.integers(0, 2**33), st.integers(1, 200))
def test_good_timestamps_stay_as_they_are(start: int, count: int) -> None:
    """A camera that keeps time is believed to the tick."""
    mender = Mender()
    assert times(mend(mender, steady(count, start))) == [start + n * FRAME for n in range(count)]
    assert mender.mended.missing == mender.mended.not_increasing == mender.mended.jumps == 0


def test_b_frames_keep_their_order_of_presentation() -> None:
    """Presentation times that run ahead of decoding times are left alone."""
    pts = [2, 5, 3, 4, 8, 6, 7]
    sent = [arrival(n * FRAME, at * FRAME, n / 25) for n, at in enumerate(pts)]
    assert [out.packet.pts for out in mend(Mender(), sent)] == [at * FRAME for at in pts]


@pytest.mark.parametrize("missing", [1, 3, HOLD - 1, HOLD])
def test_first_packets_without_a_time_are_counted_back_from_the_first_that_has_one(missing: int) -> None:
    """They are kept, in order, a frame apart, before the packet whose time is known."""
    mender = Mender()
    sent = [arrival(None, None, n / 25) for n in range(missing)] + steady(5, TICKS * 10, missing / 25)
    assert times(mend(mender, sent)) == [TICKS * 10 + (n - missing) * FRAME for n in range(missing + 5)]
    assert mender.mended.missing == missing


@pytest.mark.parametrize("count", [1, 2, HOLD, HOLD + 1, HOLD * 3])
def test_a_camera_that_never_gives_a_time_gets_a_steady_one(count: int) -> None:
    """All packets come out, a frame apart, also when the source ends before any had a time."""
    mended = times(mend(Mender(), [arrival(None, None, n / 25) for n in range(count)]))
    assert len(mended) == count
    assert {after - before for before, after in itertools.pairwise(mended)} <= {FRAME}


def test_a_missing_time_in_between_is_the_next_frames() -> None:
    """One packet without a time stands where it belongs."""
    sent = steady(10)
    sent[5].packet.dts = sent[5].packet.pts = None
    assert times(mend(Mender(), sent)) == [n * FRAME for n in range(10)]


@pytest.mark.parametrize(("waited", "after"), [(0.0, 1), (0.02, FRAME // 2), (0.04, FRAME), (0.1, FRAME)])
def test_two_packets_with_one_time_are_as_far_apart_as_they_came(waited: float, after: int) -> None:
    """A duplicate stands where it came, at most a frame later: it neither stops the muxer nor moves what follows."""
    mender = Mender()
    sent = steady(10)
    sent[5] = arrival(4 * FRAME, 4 * FRAME, 4 / 25 + waited)
    mended = times(mend(mender, sent))
    assert mended[5] == 4 * FRAME + after
    assert mended[6:] == [n * FRAME for n in range(6, 10)]
    assert mender.mended.not_increasing == 1


@pytest.mark.parametrize("jump", [-3600.0, -2.0, 3.0, 3600.0, 1e6])
def test_a_jump_of_the_cameras_clock_is_taken_out(jump: float) -> None:
    """Time goes on a frame later, as it did on the wire, and stays even from there."""
    mender = Mender()
    sent = steady(25) + steady(25, int(TICKS * (1 + jump)), 1.0)
    assert times(mend(mender, sent)) == [n * FRAME for n in range(50)]
    assert mender.mended.jumps == 1


@pytest.mark.parametrize("gap", [0.5, 2.0, 30.0])
def test_a_real_gap_is_kept(gap: float) -> None:
    """When nothing came for a while, the recording says so."""
    mender = Mender()
    sent = steady(25) + steady(25, int(TICKS * (1 + gap)), 1 + gap)
    mended = times(mend(mender, sent))
    assert mended[25] - mended[24] == int(TICKS * gap) + FRAME
    assert mender.mended.jumps == 0


def test_a_gap_is_kept_when_the_packet_before_it_is_handed_out_after_it() -> None:
    """libav hands a packet out when the next one comes: then both come behind the gap, and it is a gap all the same."""
    mender = Mender()
    after = int(TICKS * 3.5)
    sent = [*steady(25), arrival(25 * FRAME, 25 * FRAME, 3.5), *steady(25, after, 3.5)]
    assert times(mend(mender, sent)) == [*(n * FRAME for n in range(26)), *(after + n * FRAME for n in range(25))]
    assert (mender.mended.jumps, mender.mended.lost) == (0, 61)


def test_a_jump_over_a_real_gap_keeps_the_gap() -> None:
    """A camera that was away for ten seconds and came back hours off is ten seconds later."""
    mender = Mender()
    sent = steady(25) + steady(25, TICKS * 7200, 11.0)
    mended = times(mend(mender, sent))
    assert mended[25] - mended[24] == pytest.approx(TICKS * 10, abs=2 * FRAME)
    assert mender.mended.jumps == 1


def test_a_late_network_is_not_a_jump() -> None:
    """Packets that come in a burst after a hold-up keep the camera's time."""
    mender = Mender()
    sent = [arrival(n * FRAME, n * FRAME, 0.0 if n < 10 else 2.0) for n in range(60)]
    assert times(mend(mender, sent)) == [n * FRAME for n in range(60)]
    assert mender.mended.jumps == 0


def test_a_jitter_below_the_limit_is_believed() -> None:
    """Only what cannot be jitter is called a jump."""
    sent = [*steady(2), *steady(2, int(JUMP_SECONDS * TICKS), 0.08)]
    mender = Mender()
    mend(mender, sent)
    assert mender.mended.jumps == 0


@pytest.mark.parametrize(("declared", "delivered"), [(25, 12), (25, 1), (25, 60), (12, 25), (25, 25)])
def test_without_times_the_recording_lasts_as_long_as_it_took(declared: int, delivered: int) -> None:
    """A stream that declares one rate and delivers another is timed by its arrival."""
    count = 60 * delivered
    sent = [arrival(None, None, n / delivered, duration=TICKS // declared) for n in range(count)]
    mended = times(mend(Mender(), sent))
    assert (mended[-1] - mended[0]) / TICKS == pytest.approx((count - 1) / delivered, abs=1.0)
    assert (mended[-1] - mended[-delivered - 1]) / TICKS == pytest.approx(1.0, rel=0.02)


def test_without_times_a_first_burst_is_a_declared_frame_apart() -> None:
    """What came at once when the connection opened was taken one after the other."""
    sent = [arrival(None, None, 0.0) for _ in range(40)] + [arrival(None, None, n / 25) for n in range(1, 60)]
    mended = times(mend(Mender(), sent))
    assert mended[39] - mended[0] == 39 * FRAME
    assert (mended[-1] - mended[39]) / TICKS == pytest.approx(59 / 25, abs=0.05)


@pytest.mark.parametrize("period", [1 << 32, 1 << 33])
def test_a_counter_that_wraps_goes_on(period: int) -> None:
    """RTP counts to 32 bits and MPEG-TS to 33; the picture after the wrap is exactly a frame later."""
    mender = Mender()
    sent = steady(50, period - 20 * FRAME)
    for out in sent:
        packet = out.packet
        packet.dts = packet.pts = cast("int", packet.dts) % period
    mended = times(mend(mender, sent))
    assert {after - before for before, after in itertools.pairwise(mended)} == {FRAME}
    assert (mender.mended.wraps, mender.mended.retimed) == (1, 0)


def test_frames_that_leave_a_hole_are_counted_as_lost() -> None:
    """Two packets missing from an even stream are told, and their time is kept."""
    mender = Mender()
    sent = steady(40)
    del sent[20:22]
    mended = times(mend(mender, sent))
    assert mended[20] - mended[19] == 3 * FRAME
    assert (mender.mended.lost, mender.mended.retimed) == (2, 0)


def test_a_presentation_time_no_codec_can_mean_is_mended() -> None:
    """A picture shown an hour after it is decoded is shown when it is decoded."""
    mender = Mender()
    sent = steady(10)
    sent[5].packet.pts = 3600 * TICKS
    mended = mend(mender, sent)
    assert [out.packet.pts for out in mended] == [n * FRAME for n in range(10)]
    assert [out.retimed for out in mended] == [n == 5 for n in range(10)]
    assert mender.mended.misordered == 1
