"""Is there something to see, and does it move? One keyframe every few seconds is looked at, very small.

The decisions are pure functions over 64x36 bytes of brightness. Decoding a 1080p keyframe takes some 12 milliseconds,
a quarter of what recording the camera costs if done every five seconds. So while all is well only the keyframe's size
is looked at that often, which a lens that is covered or a light that goes out changes at once, and the picture itself
when the size has changed, and now and then in any case.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import av.error

from edge_agent.camera import HealthSettings

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

    from edge_agent.capture.reader import Arrival

WIDTH, HEIGHT = 64, 36
# Brightness 0 to 255; libav's grey is full range, so a video's black (16 of 16 to 235) is 0 here.
BLACK = 16  # a picture that is nowhere brighter, but for specks, is black; a dark room with one lamp is not
BRIGHT_SPECKS = WIDTH * HEIGHT // 200
COVERED_SPREAD = 10.0  # mean deviation from the mean: a hand or a bag on the lens leaves a soft, even patch
COVERED_DETAIL = 1.0  # mean difference between neighbours: below what noise and codec leave of any real edge
SAME_STEP = 1  # two encodings of one picture differ by rounding; the noise of a live sensor differs more, or
SAME_SHARE = 0.005  # in more places: averaged over a cell it still tips several percent of them by one
# A keyframe's size varies by some tens of percent as things move; a black or even picture has a tenth of it.
SIZE_CHANGED = 1.5
WELL_LOOKS = 3  # while all is well, every so manyth due keyframe is decoded whatever its size
FROZEN_LOOKS = 4  # so often at least within the time after which a picture counts as frozen
SEEN = 2  # a bad picture must be seen this often in a row: one torn keyframe is no covered lens


class Picture(enum.StrEnum):
    """What the camera shows."""

    UNKNOWN = "unknown"
    OK = "ok"
    FROZEN = "frozen"
    BLACK = "black"
    COVERED = "covered"


def brightness_is_black(grey: bytes) -> bool:
    """Whether *grey* shows nothing at all."""
    return sum(1 for value in grey if value > BLACK) <= BRIGHT_SPECKS


def is_covered(grey: bytes) -> bool:
    """Whether *grey* is nearly uniform: no contrast across it and no edge in it."""
    mean = sum(grey) / len(grey)
    if sum(abs(value - mean) for value in grey) / len(grey) > COVERED_SPREAD:
        return False
    rows = (grey[start : start + WIDTH] for start in range(0, len(grey), WIDTH))
    steps = [abs(left - right) for row in rows for left, right in itertools.pairwise(row)]
    return sum(steps) / len(steps) < COVERED_DETAIL


def is_same(before: bytes, after: bytes) -> bool:
    """Whether both are encodings of one picture, not two pictures of a quiet scene."""
    if before == after:
        return True
    changed = [abs(a - b) for a, b in zip(before, after, strict=True) if a != b]
    return max(changed) <= SAME_STEP and len(changed) <= SAME_SHARE * len(after)


def is_other_size(before: int, after: int) -> bool:
    """Whether a keyframe of *after* bytes may show another kind of picture than one of *before* bytes."""
    return max(before, after) > SIZE_CHANGED * min(before, after)


@dataclass(slots=True)
class Judge:
    """Says what a camera shows, from the looks so far. Pure."""

    frozen_seconds: float
    picture: Picture = Picture.UNKNOWN
    _reference: bytes = b""
    _since: float = 0.0  # when the picture last changed
    _suspect: Picture = Picture.OK
    _seen: int = 0

    def look(self, grey: bytes, now: float) -> Picture:
        """The verdict with *grey*, seen at *now* (seconds), among what was seen."""
        if not self._reference or not is_same(self._reference, grey):
            self._reference, self._since = grey, now
        found = self._found(grey, now)
        self._seen = self._seen + 1 if found is self._suspect else 1
        self._suspect = found
        if found in (Picture.OK, Picture.FROZEN) or self._seen >= SEEN:  # frozen was long in coming
            self.picture = found
        return self.picture

    @property
    def is_suspicious(self) -> bool:
        """Whether the last look, or the verdict, was another than that all is well."""
        return self.picture is not Picture.OK or self._suspect is not Picture.OK

    def _found(self, grey: bytes, now: float) -> Picture:
        if brightness_is_black(grey):
            return Picture.BLACK
        if is_covered(grey):
            return Picture.COVERED
        return Picture.FROZEN if now - self._since >= self.frozen_seconds else Picture.OK


class PictureWatch:
    """Looks at one keyframe every ``check_seconds``, and tells of every change once. Lives as long as the recorder."""

    def __init__(self, settings: HealthSettings, tell: Callable[..., None]) -> None:
        self._settings = settings
        self._tell = tell
        self._judge = Judge(settings.frozen_seconds)
        self._due = float("-inf")
        self._decoded_at = float("-inf")
        self._size = 0  # of the keyframe that was decoded last
        self._decoder: tuple[object, VideoCodecContext] | None = None

    @property
    def picture(self) -> Picture:
        return self._judge.picture

    def look(self, arrival: Arrival) -> None:
        """Look at *arrival*, if it is a keyframe and one is due. A keyframe that cannot be decoded tells nothing."""
        if not (self._settings.check_seconds and arrival.packet.is_keyframe and arrival.monotonic >= self._due):
            return
        self._due = arrival.monotonic + self._settings.check_seconds
        if not self._is_worth_decoding(arrival):
            return
        self._decoded_at, self._size = arrival.monotonic, arrival.packet.size
        try:
            grey = self._grey(arrival)
        except av.error.FFmpegError:
            return
        if grey is None:
            return
        before = self._judge.picture
        after = self._judge.look(grey, arrival.monotonic)
        if after is not before and not (before is Picture.UNKNOWN and after is Picture.OK):
            self._tell(f"picture_{after.value}")

    def _is_worth_decoding(self, arrival: Arrival) -> bool:
        """Whether the keyframe's size, or the time since the last look, says that something may be wrong."""
        settings, judge = self._settings, self._judge
        longest = min(WELL_LOOKS * settings.check_seconds, settings.frozen_seconds / FROZEN_LOOKS)
        if judge.is_suspicious or arrival.monotonic - self._decoded_at >= longest:
            return True
        return is_other_size(self._size, arrival.packet.size)

    def _grey(self, arrival: Arrival) -> bytes | None:
        """The keyframe's brightness, WIDTH x HEIGHT bytes, or None when the decoder gives no picture."""
        if self._decoder is None or self._decoder[0] != arrival.format:
            self._decoder = (arrival.format, decoder_for(arrival))
        decoder = self._decoder[1]
        try:
            frames = [*decoder.decode(arrival.packet), *decoder.decode(None)]
        finally:
            decoder.flush_buffers()
        if not frames:
            return None
        plane = frames[-1].reformat(WIDTH, HEIGHT, "gray", interpolation="AREA").planes[0]
        rows = memoryview(plane)
        return b"".join(bytes(rows[y * plane.line_size : y * plane.line_size + WIDTH]) for y in range(HEIGHT))


def decoder_for(arrival: Arrival) -> VideoCodecContext:
    """A decoder on one thread for *arrival*'s stream."""
    template = arrival.template.codec_context
    decoder = cast("VideoCodecContext", av.CodecContext.create(arrival.format.codec, "r"))
    decoder.thread_count = 1
    # Nobody looks at the picture closely: what only smooths it, or is only there for exactness, is left out.
    decoder.options = {"skip_loop_filter": "all", "flags2": "+fast"}
    if template.extradata:
        decoder.extradata = template.extradata
    return decoder
