"""One video to samples: exact ordinals, whatever can be had of a damaged file, and only what is needed decoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cloud.decode import libraries
from cloud.decode import plan as planning
from cloud.decode.coded import picture_of_jpeg, small_grey_of_jpeg, tile_of_jpeg
from cloud.decode.convert import Converter
from cloud.decode.counted import Counted
from cloud.decode.packets import IndexBuilder
from cloud.decode.ranked import Ranked
from cloud.decode.reading import Probe, Reading, open_video, probe, unreadable
from cloud.decode.sample import Sample
from cloud.decode.scene import Scene
from cloud.decode.transport import ends_cut
from cloud.settings import PictureSettings, Sampling
from cloud.words import counted

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

    from cloud.decode.packets import Integers, PacketIndex

# Packets decoded to see whether frames come as their stamps say: a B-pyramid and what it refers to. Where nothing is
# reordered, one tells as much.
_TRIED = 8


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole pass found. ``frames``: in the video, as far as is known; ``decoded``: of them, through the decoder.

    ``truncated``: the container promises more than could be read, or ends inside a frame. ``lost`` counts what could
    not be had: sampled frames that damage took, frames after the end that the container promises, and ``holes``, those
    a constant rate promises in between; where frames are counted as they come, packets in error take the place of the
    first. ``mended`` counts frames whose time is not what their own stamp says, because it went back or was not there.
    """

    mode: planning.Mode
    frames: int
    decoded: int
    packets: int
    packet_errors: int
    truncated: bool
    lost: int
    mended: int
    holes: int = 0

    @property
    def why(self) -> tuple[str, ...]:
        """What is wrong with the video, in words: at least one where anything is lost."""
        damage = [counted(self.packet_errors, "packet") + " could not be read or decoded"] if self.packet_errors else []
        damage += ["the file ends before the video does"] if self.truncated else []
        why = damage + ([counted(self.holes, "frame") + " between others not in the file"] if self.holes else [])
        if not damage and self.lost > self.holes:
            why.append(counted(self.lost - self.holes, "frame") + " built on others that are not in the file")
        if self.mended:
            why.append(counted(self.mended, "frame") + " with a time that went back or was missing")
        return tuple(why)


class Decoder:
    """A video file open for one pass; a context manager. *where* names the video in errors.

    ``passed`` is how many of the video's frames lie behind, while :meth:`samples` goes on.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where
        self._stack = ExitStack()
        self.passed = 0
        self._report: Report | None = None

    def __enter__(self) -> Self:
        """Raises VideoUnreadable when this is no video."""
        libraries.load()
        with ExitStack() as stack:
            video = self._open(stack)
            self.probe: Probe = probe(video)
            self._scan(video)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def samples(self, rule: Sampling, picture: PictureSettings) -> Iterator[Sample]:
        """Every frame that *rule* samples, in order; none when the video ends before ``phase``.

        Raises VideoUnreadable at the end when no frame came at all.
        """
        converter = Converter.of(picture, self._rotation)
        if self._numbers is None:
            one_pass = self._counted(rule, converter)
        else:
            one_pass = self._ranked(rule, converter, self._numbers)
        yield from self._stack.enter_context(closing(one_pass))
        if self._report is None or not (self._report.decoded or self.passed):
            raise unreadable("gives no frame: it is damaged or empty", self._where)

    def report(self) -> Report:
        """What the pass found. Needs :meth:`samples` to be exhausted."""
        assert self._report is not None  # noqa: S101 - the caller's order of calls
        return self._report

    def _open(self, stack: ExitStack) -> Reading:
        video = open_video(self._path, self._where)
        stack.enter_context(video.container)
        return video

    def _scan(self, video: Reading) -> None:
        """Read all packets once, and decode the first few."""
        builder = IndexBuilder()
        head: list[av.Packet[VideoStream]] = []
        for packet in video.packets():
            builder.add(packet)
            if packet.size and len(head) < _TRIED:
                head.append(packet)
        context = video.stream.codec_context
        name = context.codec.canonical_name
        self._facts = planning.StreamFacts(name, context.reorder_depth, context.field_order > 1)
        self._index: PacketIndex = builder.index()
        self._read_errors = video.errors
        self._cut = builder.corrupt_last or (
            video.container.format.name == "mpegts" and ends_cut(self._path, video.stream.id)
        )
        self._rotation = 0.0
        self._base = video.stream.time_base or Fraction(0)
        usual = float(self._index.span()[1] * self._base)
        self._step = usual or (1 / self.probe.fps if self.probe.fps else 1 / 30)
        self._numbers: Integers | None = planning.ordinals(self._index, self._facts)
        if not self._holds(video, head if self._facts.reorder else head[:1]):
            self._numbers = None

    def _holds(self, video: Reading, head: list[av.Packet[VideoStream]]) -> bool:
        """Whether the first packets give one frame each, in the order of their stamps, as far as they are sound."""
        import av

        context, frames = video.stream.codec_context, []
        sound = True
        for packet in [*head, None]:
            try:
                frames += context.decode(packet)
            except av.FFmpegError:
                sound = False
        if frames:
            self._rotation = float(frames[0].rotation)
        stamps = [frame.pts for frame in frames]
        expected = sorted(packet.pts for packet in head if not packet.is_discard and packet.pts is not None)
        if sound and not any(frame.is_corrupt or frame.interlaced_frame for frame in frames):
            return stamps == expected
        return all(stamp in expected for stamp in stamps)

    def _ranked(self, rule: Sampling, converter: Converter, numbers: Integers) -> Generator[Sample, None, None]:
        import numpy as np

        shown = numbers >= 0
        pts = np.sort(self._index.pts[shown])
        base = float(self._base)
        times = np.round((pts - pts[0]) * base, 6)
        scene = Scene(rule.scene) if rule.scene is not None else None
        wanted = self._wanted(rule, times.tolist())
        copy = self._facts.codec == "mjpeg" and converter.changes_nothing and scene is None
        plan = planning.plan(self._index, self._facts, numbers, wanted, copy=copy)
        work = Ranked(partial(open_video, self._path, self._where), self._index, numbers, pts, wanted, plan)
        for number, found in work.run():
            self.passed = number + 1
            time = float(times[number])
            if isinstance(found, bytes):
                yield _copied(number, time, found)
            else:
                sample = _sample(number, time, found, converter)
                if scene is None or scene.changed(sample.grey):
                    yield sample
        if work.decoded or not len(wanted) or work.missing < len(wanted):
            self.passed = len(pts)
        self._report = self._found(plan.mode, work.decoded, work.errors, work.missing, 0)

    def _wanted(self, rule: Sampling, times: list[float]) -> Integers:
        import numpy as np

        if rule.scene is not None:
            return np.arange(len(times))
        if rule.count is not None:
            return np.array(planning.spread(rule.count, len(times)), np.int64)
        return np.fromiter(planning.sampled(rule, times), np.int64)

    def _counted(self, rule: Sampling, converter: Converter) -> Generator[Sample, None, None]:
        """Every frame decoded, in order; ordinals are counted."""
        scene = Scene(rule.scene) if rule.scene is not None else None
        chosen: frozenset[int] = frozenset()
        if rule.count is not None:
            with ExitStack() as stack:
                total = sum(1 for _ in Counted(self._open(stack), self._step).frames())
            chosen = frozenset(planning.spread(rule.count, total))
        last: float | None = None
        with ExitStack() as stack:
            work = Counted(self._open(stack), self._step)
            for number, time, frame in work.frames():
                self.passed = number + 1
                sample = _sample(number, time, frame, converter)
                if scene is not None:
                    take = scene.changed(sample.grey)
                elif rule.count is not None:
                    take = number in chosen
                else:
                    take = planning.is_sampled(rule, number, time, last)
                if take:
                    last = time
                    yield sample
        shown = int((~self._index.hidden).sum())
        missing = max(0, shown - work.decoded) if self._facts.codec in planning.RANKED else work.errors
        self._report = self._found(planning.Mode.SEQUENCE, work.decoded, work.errors, missing, work.mended)

    def _found(self, mode: planning.Mode, decoded: int, errors: int, missing: int, mended: int) -> Report:
        """*missing* frames, of those the file holds packets for, could not be had."""
        ticks, usual = self._index.span()
        after = (self.probe.duration or 0.0) - float(ticks * self._base)
        timed = usual > 0 or len(self._index) == 1
        short = timed and after > 1.5 * self._step + 0.05
        promised = (self.probe.frames or 0) - len(self._index)
        lost = missing
        if short:
            lost += promised if promised > 0 else round(after / self._step)
        frames = decoded if self._numbers is None else int((self._numbers >= 0).sum())
        errors += self._read_errors
        holes = self._index.holes()
        return Report(mode, frames, decoded, len(self._index), errors, short or self._cut, lost + holes, mended, holes)


def _sample(number: int, time: float, frame: av.VideoFrame, converter: Converter) -> Sample:
    return Sample(
        number,
        time,
        None,
        make_picture=partial(converter.picture, frame),
        make_grey=partial(converter.grey, frame),
        make_planes=partial(converter.planes, frame),
        make_tile=partial(converter.tile, frame),
    )


def _copied(number: int, time: float, packet: bytes) -> Sample:
    return Sample(
        number,
        time,
        packet,
        make_picture=partial(picture_of_jpeg, packet),
        make_grey=partial(small_grey_of_jpeg, packet),
        make_tile=partial(tile_of_jpeg, packet),
    )
