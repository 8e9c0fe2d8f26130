"""The loops people write instead, a process each; needs nothing of this project, so it runs in the peers' environment.

``python extract_loops.py LOOP CLIP OUT EVERY``: every EVERY-th frame of CLIP, by ordinal, goes to OUT as a JPEG of
quality 95; OUT ``-`` decodes it to a BGR or RGB array and no more. Prints one JSON object: ``frames``, and the ``cpu``
and ``wall`` seconds that were used after the imports. ``version LOOP`` prints the version of its library instead, and
``check CLIP OUT EVERY`` what stands in OUT: frames, mean bytes, and the least PSNR of three of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

QUALITY = 95


def _opencv(clip: str, every: int) -> Iterator[Any]:
    import cv2

    camera, number = cv2.VideoCapture(clip, cv2.CAP_FFMPEG), 0
    while (read := camera.read())[0]:
        if number % every == 0:
            yield read[1]
        number += 1


def _grab(clip: str, every: int) -> Iterator[Any]:
    import cv2

    camera, number = cv2.VideoCapture(clip, cv2.CAP_FFMPEG), 0
    while camera.grab():
        if number % every == 0:
            yield camera.retrieve()[1]
        number += 1


def _pyav(clip: str, every: int) -> Iterator[Any]:
    import av

    with av.open(clip) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield frame.to_ndarray(format="bgr24")


def _keyframes(clip: str, every: int) -> Iterator[Any]:
    """Right only where each sampled frame is a keyframe and each keyframe is sampled."""
    import av

    del every
    with av.open(clip) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def _planes(skip: Any) -> Callable[[str, int], Iterator[Any]]:
    """The floor of whoever decodes by libav and encodes by libjpeg-turbo: planes as they are, so levels are wrong."""

    def loop(clip: str, every: int) -> Iterator[Any]:
        import av
        import numpy as np

        with av.open(clip) as container:
            container.streams.video[0].codec_context.skip_frame = skip
            for number, frame in enumerate(container.decode(video=0)):
                if skip == "NONKEY" or number % every == 0:
                    yield tuple(
                        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
                            :, : plane.width
                        ]
                        for plane in frame.planes
                    )

    return loop


def _torchcodec(mode: str) -> Callable[[str, int], Iterator[Any]]:
    def loop(clip: str, every: int) -> Iterator[Any]:
        from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found, unused-ignore]

        video = VideoDecoder(clip, dimension_order="NHWC", seek_mode=mode)
        for number in range(0, len(video), every):
            yield video[number].numpy()[:, :, ::-1]

    return loop


def _decord(clip: str, every: int) -> Iterator[Any]:
    import decord  # type: ignore[import-not-found, unused-ignore]

    video = decord.VideoReader(clip)
    for number in range(0, len(video), every):
        yield video[number].asnumpy()[:, :, ::-1]


LOOPS: dict[str, tuple[str, Callable[[str, int], Iterator[Any]]]] = {
    "opencv": ("cv2", _opencv),
    "grab": ("cv2", _grab),
    "pyav": ("av", _pyav),
    "keyframes": ("av", _keyframes),
    "planes": ("simplejpeg", _planes("DEFAULT")),
    "keyframe-planes": ("simplejpeg", _planes("NONKEY")),
    "torchcodec": ("torchcodec", _torchcodec("exact")),
    "torchcodec-approximate": ("torchcodec", _torchcodec("approximate")),
    "decord": ("decord", _decord),
}


def run(loop: str, clip: str, out: str, every: int) -> dict[str, float]:
    import cv2
    import numpy as np

    module, pictures = LOOPS[loop]
    found = __import__(f"{module}.decoders" if module == "torchcodec" else module)
    encode_planes: Any = getattr(found, "encode_jpeg_yuv_planes", None)
    cpu, wall, frames = time.process_time(), time.perf_counter(), 0
    for picture in pictures(clip, every):
        if out != "-":
            path = f"{out}/{frames:06d}.jpg"
            if isinstance(picture, tuple):
                Path(path).write_bytes(encode_planes(*picture, quality=QUALITY))
            else:
                cv2.imwrite(path, np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        frames += 1
    return {"frames": frames, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def check(clip: str, out: str, every: int) -> dict[str, float]:
    """``psnr`` is in dB, of brightness, against what libav decodes: the wrong frame has 30 or less.

    Whoever encodes from BGR has clipped colours that no screen shows, and whoever encodes YUV has not: so the nearer of
    the frame's luma and the brightness of its BGR picture counts.
    """
    import av
    import cv2
    from av.video.reformatter import ColorRange

    paths = sorted(path for path in Path(out).rglob("*.jpg") if not {"previews", ".store"} & set(path.parts))
    places = {0, len(paths) // 2, len(paths) - 1} if paths else set()
    ratios = []
    with av.open(clip) as container:
        for number, frame in enumerate(container.decode(video=0)):
            place, rest = divmod(number, every)
            if rest == 0 and place in places:
                stored = cv2.imread(str(paths[place]), cv2.IMREAD_GRAYSCALE)
                assert stored is not None
                clipped = cv2.cvtColor(frame.to_ndarray(format="bgr24"), cv2.COLOR_BGR2GRAY)
                luma: Any = frame.to_ndarray()[: frame.height]
                if frame.color_range != ColorRange.JPEG:
                    luma = cv2.convertScaleAbs(luma, alpha=255 / 219, beta=-16 * 255 / 219)
                ratios.append(max(cv2.PSNR(clipped, stored), cv2.PSNR(luma, stored)))
    size = sum(path.stat().st_size for path in paths) / max(1, len(paths))
    return {"frames": len(paths), "bytes": size, "psnr": min(ratios, default=0.0)}


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "version":
        module = __import__(LOOPS[rest[0]][0])
        if rest[0].startswith("torchcodec"):
            __import__("torchcodec.decoders")
        print(json.dumps({"version": module.__version__}))
    elif what == "check":
        print(json.dumps(check(rest[0], rest[1], int(rest[2]))))
    else:
        print(json.dumps(run(what, rest[0], rest[1], int(rest[2]))))


if __name__ == "__main__":
    main()
