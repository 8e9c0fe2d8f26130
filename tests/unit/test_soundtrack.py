"""Sound waits for the picture of its moment."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.reader import Arrival, Heard
from edge_agent.capture.soundtrack import WAITING, Soundtrack
from edge_agent.capture.sources.base import StreamFormat

BASE = Fraction(1, 1000)


def packet(milliseconds: int | None) -> Any:
    return SimpleNamespace(pts=milliseconds, dts=milliseconds, time_base=BASE)


def picture(milliseconds: int, sounds: list[int | None], shift: int = 0) -> Arrival:
    """A picture the camera gave the time *milliseconds*, mended by *shift*, and the sound that came before it."""
    heard = Heard(cast("Any", None), tuple(packet(sound) for sound in sounds), milliseconds / 1000)
    return Arrival(packet(milliseconds + shift), StreamFormat("h264", 2, 2), cast("Any", None), 0.0, heard=heard)


@given(st.lists(st.integers(0, 10_000), max_size=60).map(sorted), st.integers(0, 10_000), st.integers(-5000, 5000))
def test_a_cut_falls_at_the_same_place_in_sound_and_picture(times: list[int], cut: int, shift: int) -> None:
    """What is from before the cut comes out before it, the rest after, all in order, moved along with the picture."""
    track = Soundtrack()
    track.hear(picture(0, list(times), shift))
    before = [round(time * 1000) for time, _ in track.before((cut - 0.5 + shift) / 1000)]
    after = [round(time * 1000) for time, _ in track.before(1e9)]
    assert before + after == [time + shift for time in times]
    assert all(time < cut + shift for time in before)
    assert all(time >= cut + shift for time in after)


def test_sound_nobody_fetches_is_bounded() -> None:
    """A closed gate costs no memory."""
    track = Soundtrack()
    for number in range(3):
        track.hear(picture(number, list(range(WAITING))))
    assert len(list(track.before(1e9))) == WAITING


def test_sound_without_a_time_is_left_out() -> None:
    """It has no place beside a picture."""
    track = Soundtrack()
    track.hear(picture(0, [None, 5]))
    assert [time for time, _ in track.before(1)] == [0.005]
