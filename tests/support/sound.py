"""Sound of cameras, and what is heard in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

TONE = (
    "audiotestsrc is-live=true ! audio/x-raw,rate={rate},channels=1 ! audioconvert ! {encoder} ! {payloader} name=pay1"
)

# Pipelines of a microphone beside a picture; to be put behind one of tests.support.rtsp.
MICROPHONES = {
    "aac": TONE.format(rate=44100, encoder="avenc_aac", payloader="rtpmp4gpay pt=97"),
    "opus": TONE.format(rate=48000, encoder="opusenc", payloader="rtpopuspay pt=97"),
    "pcm_alaw": TONE.format(rate=8000, encoder="alawenc", payloader="rtppcmapay"),
    "pcm_mulaw": TONE.format(rate=8000, encoder="mulawenc", payloader="rtppcmupay"),
}


@dataclass(frozen=True, slots=True)
class HeardIn:
    """A file's sound: codec, where it begins and ends, how much is decoded (seconds), how loud it gets (1 is full)."""

    codec: str
    begin: float
    end: float
    seconds: float
    loudest: float
    packets: list[bytes]


def with_sound(path: Path, codec: str) -> Path:
    """H.264 of a second and a half, 25 pictures a second, beside noise in *codec*, no two packets of it alike."""
    noise = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.codec_context.gop_size = 25
        audio: Any = container.add_stream(codec, rate=48_000, layout="mono")
        for number in range(38):
            frame = av.AudioFrame.from_ndarray(noise.uniform(-0.5, 0.5, (1, 1920)).astype(np.float32), "flt", "mono")
            frame.rate, frame.pts = 48_000, number * 1920
            container.mux(video.encode(av.VideoFrame(160, 120, "yuv420p")))
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def listen(path: Path) -> HeardIn:
    """Demux and decode the sound of the file at *path*, which has one."""
    packets, ends, samples, loudest = [], [], 0, 0.0
    begin = None
    with av.open(f"file:{path}") as container:
        (stream,) = container.streams.audio
        for packet in container.demux(stream):
            if packet.size:
                assert packet.pts is not None
                packets.append(bytes(packet))
                begin = packet.pts if begin is None else begin
                ends.append(packet.pts + (packet.duration or 0))
            for frame in packet.decode():
                samples += frame.samples
                loudest = max(loudest, float(np.abs(frame.to_ndarray()).max()))
        base = stream.time_base
        assert base is not None
        return HeardIn(
            stream.codec_context.name,
            float((begin or 0) * base),
            float(max(ends) * base),
            samples / stream.codec_context.sample_rate,
            loudest,
            packets,
        )
