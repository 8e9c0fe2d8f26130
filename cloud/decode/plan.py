"""Which frames become pictures. Pure: no file, no codec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloud.settings import Sampling

# Media times come rounded to a container's time base (1 ms in Matroska): a frame this little early is on time.
EARLY = 0.0015


def is_sampled(rule: Sampling, index: int, time: float, last: float | None) -> bool:
    """Whether the frame with ordinal *index*, *time* seconds after the first, is sampled.

    *last* is the time of the frame sampled before it, None when there is none. The first frame always is. With
    ``every: N`` it is ordinals 0, N, 2N …; with ``seconds: T`` the first frame in each of [0, T), [T, 2T) …, so a gap
    in the footage brings no extra frames. Times never go back.
    """
    if rule.every is not None:
        return index % rule.every == 0
    if last is None:
        return True
    assert rule.seconds is not None  # noqa: S101 - Sampling holds exactly one of the two
    return _stretch(time, rule.seconds) > _stretch(last, rule.seconds)


def sampled(rule: Sampling, times: Iterable[float]) -> Iterator[int]:
    """Ordinals of the frames to sample, of frames at *times*."""
    last: float | None = None
    for index, time in enumerate(times):
        if is_sampled(rule, index, time, last):
            last = time
            yield index


def _stretch(time: float, length: float) -> int:
    return int((time + min(EARLY, length / 4)) // length)
