"""The clips of the extraction benchmark, made with ffmpeg; named as the cloud side wants videos named."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.extract_runs import ROOT

RATE = 30
REAL = ROOT / "tests/footage"
_FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
_REPEATED = 10  # seconds of the clip that is repeated: whole groups, no reordering, so it joins without a seam


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: ``what`` says of it what matters here; ``seconds`` as long as it was made."""

    path: Path
    what: str
    seconds: float


def _encoded(path: Path, seconds: float, *encoder: str) -> Path:
    # No two pictures alike; no colours that BGR cannot hold, as who encodes from it would have an easier picture.
    picture = f"testsrc2=size=1920x1080:rate={RATE}:duration={seconds},eq=saturation=0.5:contrast=0.8"
    picture += ",noise=alls=8:allf=t"
    if not path.exists():
        subprocess.run([*_FFMPEG, "-f", "lavfi", "-i", picture, *encoder, str(path)], check=True)
    return path


def _h264(preset: str, group: int, frames: int, more: str) -> list[str]:
    rate = ["-c:v", "libx264", "-preset", preset, "-b:v", "4M", "-maxrate", "4.4M", "-bufsize", "4M"]
    shape = ["-g", str(group), "-keyint_min", str(group), "-bf", str(frames), "-pix_fmt", "yuv420p"]
    return [*rate, *shape, "-x264-params", f"scenecut=0:sliced-threads=0{more}"]


def short_groups(root: Path, seconds: float) -> Clip:
    """1080p30 H.264 with a keyframe each second and no B-frames: what the daemon is told to record."""
    length = min(seconds, _REPEATED)
    once = _encoded(root / f"once-{length:.0f}.mp4", length, *_h264("superfast", RATE, 0, ""))
    path = root / f"yellow_box_gop30-{seconds:.0f}.mp4"
    if not path.exists():
        loops = str(round(seconds / length) - 1)
        subprocess.run([*_FFMPEG, "-stream_loop", loops, "-i", str(once), "-c", "copy", str(path)], check=True)
    return Clip(path, f"1080p30 H.264 4 Mb/s, {seconds:.0f} s, GOP 30", seconds)


def long_groups(root: Path, seconds: float) -> Clip:
    """1080p30 H.264, a keyframe every 250 frames, three B-frames between references."""
    encoder = _h264("veryfast", 250, 3, ":b-adapt=0:b-pyramid=normal")
    path = _encoded(root / f"yellow_box_gop250-{seconds:.0f}.mp4", seconds, *encoder)
    return Clip(path, f"1080p30 H.264 4 Mb/s, {seconds:.0f} s, GOP 250 with B-frames", seconds)


def motion_jpeg(root: Path, seconds: float) -> Clip:
    """1080p30 Motion JPEG, about 90 KB a frame: a USB camera's lower qualities."""
    encoder = ["-c:v", "mjpeg", "-q:v", "8", "-huffman", "default", "-pix_fmt", "yuvj420p"]
    path = _encoded(root / f"yellow_box_mjpeg-{seconds:.0f}.avi", seconds, *encoder)
    return Clip(path, f"1080p30 Motion JPEG, {seconds:.0f} s", seconds)


def real() -> list[Clip]:
    """The tests' footage."""
    return [Clip(path, f"real clip {path.name}", 0.0) for path in sorted(REAL.glob("*.mp4"))]
