"""The heavy libraries, loaded for the first video and told to leave threads to us."""

from __future__ import annotations

import os


def load() -> None:
    """Import OpenCV, numpy and libav; again, it costs nothing. Without effect on a numpy that is loaded already.

    Pictures are worked on by threads of ours: OpenCV's wait by spinning, which costs two milliseconds of CPU for each
    1080p frame, and OpenBLAS, which nothing here multiplies matrices with, starts some that spin for a tenth of a
    second of CPU before they sleep.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    import av
    import cv2
    import numpy as np

    del av, np
    cv2.setNumThreads(1)
