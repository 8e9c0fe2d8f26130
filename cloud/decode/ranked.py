"""Chosen frames of a video whose stamps say which frame is which: only what they need goes through the decoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloud.decode.jpeg import is_storable
from cloud.decode.plan import Mode, Plan, Run, earlier_keyframe

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from cloud.decode.packets import Integers, PacketIndex
    from cloud.decode.reading import Reading

    Packets = Iterator[tuple[int, av.Packet[VideoStream]]]
    Found = tuple[int, av.VideoFrame | bytes]

_MAX_RETRIES = 16  # each reads the file anew
_INTRA = (1, 5, 7)  # AV_PICTURE_TYPE_I, _SI, _BI


@dataclass(slots=True)
class Ranked:
    """One pass by ``plan``. ``pts`` are the shown frames' stamps in order, ``wanted`` the ordinals to give, ascending.

    A run that does not give its samples is decoded once more from the keyframe before its own, which may be damaged.
    Where a keyframe turns out to be but the beginning of a gradual refresh, all is decoded from the first packet on.
    """

    open: Callable[[], Reading]
    index: PacketIndex
    numbers: Integers
    pts: Integers
    wanted: Integers
    plan: Plan
    decoded: int = field(default=0, init=False)
    errors: int = field(default=0, init=False)
    missing: int = field(default=0, init=False)
    _last: int = field(default=-1, init=False)
    _targets: frozenset[int] = field(default=frozenset(), init=False)
    _refreshed: bool = field(default=False, init=False)

    def run(self) -> Iterator[Found]:
        """Ordinal, and the frame, or the packet that is its JPEG; ordinals ascend."""
        self._targets = frozenset(self.wanted.tolist())
        runs, retries = deque(self.plan.runs), _MAX_RETRIES
        while runs:
            video = self.open()
            with closing(video.container):
                packets = enumerate(packet for packet in video.packets() if packet.size)
                context = video.stream.codec_context
                while runs:
                    run = runs.popleft()
                    due, given, errors = self._due(run), 0, self.errors
                    found = self._copied if self.plan.mode is Mode.COPY else self._decoded
                    for number, picture in found(context, packets, run):
                        given += 1
                        self._last = number
                        yield number, picture
                    if self._refreshed and run.start:
                        runs = deque([Run(0, runs[-1].stop if runs else run.stop)])
                        break
                    again = self.plan.mode is not Mode.COPY and retries and run.start
                    if given < due and again and self._due(run):
                        retries, self.errors = retries - 1, errors
                        runs.appendleft(Run(earlier_keyframe(self.index, run.start), run.stop))
                        break
                    self.missing += due - given

    def _due(self, run: Run) -> int:
        """How many samples *run* has still to give."""
        numbers = self.numbers[run.start : run.stop].tolist()
        return sum(number > self._last and number in self._targets for number in numbers)

    def _decoded(self, context: VideoCodecContext, packets: Packets, run: Run) -> Iterator[Found]:
        """The samples of *run*. Frames that come late, or with a stamp that no packet has, are damage: left out.

        Ends early, before the first sample, where the run's keyframe refers to frames before it.
        """
        import av

        last, errors = self._last, self.errors
        key = int(self.numbers[run.start]) if run.start else -1
        for packet in self._fed(context, packets, run):
            try:
                frames = context.decode(packet)
            except av.FFmpegError:
                self.errors += packet is not None
                continue
            self.decoded += len(frames)
            for frame in frames:
                number = self._number(frame)
                if number >= key >= 0:
                    if number > key or frame.pict_type not in _INTRA:
                        self._refreshed = self.errors == errors
                        return
                    key = -1
                if number > last and number in self._targets:
                    last = number
                    yield number, frame
        if run.stop < len(self.index):
            context.flush_buffers()

    def _fed(self, context: VideoCodecContext, packets: Packets, run: Run) -> Iterator[av.Packet[VideoStream] | None]:
        """The packets of *run*, and None, which makes the decoder give what it holds back."""
        for position, packet in packets:
            if position >= run.start:
                if self.plan.skip:
                    needed = position == run.start or int(self.numbers[position]) in self._targets
                    context.skip_frame = "DEFAULT" if needed else "NONREF"
                yield packet
            if position + 1 >= run.stop:
                break
        yield None

    def _number(self, frame: av.VideoFrame) -> int:
        import numpy as np

        if frame.pts is None:
            return -1
        number = int(np.searchsorted(self.pts, frame.pts))
        return number if number < len(self.pts) and self.pts[number] == frame.pts else -1

    def _copied(self, context: VideoCodecContext, packets: Packets, run: Run) -> Iterator[Found]:
        """The packets of *run*, all samples; those that are no file as they stand are decoded."""
        import av

        for position, packet in packets:
            if position >= run.start:
                number = int(self.numbers[position])
                coded = _storable(packet, context)
                if coded is not None:
                    yield number, coded
                else:
                    try:
                        frames = context.decode(packet)
                    except av.FFmpegError:
                        frames = []
                        self.errors += 1
                    self.decoded += len(frames)
                    if frames:
                        yield number, frames[0]
            if position + 1 >= run.stop:
                break


def _storable(packet: av.Packet[VideoStream], context: VideoCodecContext) -> bytes | None:
    """The JPEG file that *packet* is, with standard Huffman tables where the camera left them out; else None."""
    import av
    from av.bitstream import BitStreamFilterContext

    coded = bytes(packet)
    if is_storable(coded, context.width, context.height):
        return coded
    try:
        completed: list[Any] = BitStreamFilterContext("mjpeg2jpeg", packet.stream).filter(packet)
    except av.FFmpegError:
        return None
    coded = b"".join(bytes(part) for part in completed)
    return coded if is_storable(coded, context.width, context.height) else None
