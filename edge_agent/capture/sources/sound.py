"""The sound that comes with a camera's packets: copied where MP4 can hold it, else made AAC (G.711, mostly)."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import av.error

from edge_agent.errors import SourceUnsupported

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

    from edge_agent.capture.sources.base import AudioPacket

# What the MP4 muxer stores and players read back. AAC needs its parameters beforehand: MPEG-TS carries them in every
# packet instead (ADTS), and so does LATM; such sound is made anew.
COPIED = frozenset({"aac", "opus", "mp3", "ac3"})
AAC_BIT_RATE = 32_000  # a channel; G.711 has nothing finer to tell
# An AAC packet is 1024 samples, and comes two packets late. At G.711's own 8 kHz that would be a quarter of a second,
# missing at every cut.
AAC_RATE = 32_000
_OPUS_PRE_SKIP = 312  # samples of 48 kHz: libopus's own look-ahead, for streams that do not tell theirs


class CopiedSound:
    """*stream*'s packets as they are. Raises SourceUnsupported."""

    def __init__(self, stream: AudioStream) -> None:
        context = stream.codec_context
        container = av.open(io.BytesIO(), "w", format="mp4")
        try:
            self.template = container.add_stream_from_template(stream, opaque=True)
            if context.name.endswith("opus") and not context.extradata:  # RTP carries none, MP4 must have it
                self.template.codec_context.extradata = opus_head(context.layout.nb_channels)
            container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceUnsupported(
                f"its sound ({context.name}) cannot be stored in MP4 ({error})", fix="set audio: false"
            ) from error

    def packets(self, packet: AudioPacket) -> Iterator[AudioPacket]:
        yield packet


class AacSound:
    """*stream* decoded and encoded as AAC. Raises SourceUnsupported."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        context = stream.codec_context
        container = av.open(io.BytesIO(), "w", format="mp4")
        try:
            rate, channels = max(AAC_RATE, context.sample_rate), min(2, context.layout.nb_channels)
            self.template = container.add_stream("aac", rate=rate, layout="mono" if channels == 1 else "stereo")
            self.template.codec_context.bit_rate = AAC_BIT_RATE * channels
            container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceUnsupported(
                f"its sound ({context.name}) cannot be made AAC ({error})", fix="set audio: false"
            ) from error
        self._container = container  # the encoder lives in it

    def packets(self, packet: AudioPacket) -> Iterator[AudioPacket]:
        with contextlib.suppress(av.error.InvalidDataError):  # one torn packet ends no connection
            for frame in self._stream.decode(packet):
                yield from self.template.encode(frame)


def sound_of(stream: AudioStream) -> CopiedSound | AacSound:
    """How *stream* gets into a segment. Raises SourceUnsupported."""
    context = stream.codec_context
    copied = context.name in COPIED or context.name == "libopus"
    return CopiedSound(stream) if copied and (context.extradata or context.name != "aac") else AacSound(stream)


def opus_head(channels: int) -> bytes:
    """The identification header of an Opus stream (RFC 7845, 5.1) with one or two channels."""
    rate = 48_000  # RTP's Opus clock (RFC 7587), whatever the microphone's
    # Magic, version, channels, samples to skip, rate; then no gain and the ordinary channel mapping.
    return struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, _OPUS_PRE_SKIP, rate, 0, 0)
