"""Videos read where they stand."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cloud.local import LocalVideos


def test_a_video_that_changed_between_two_looks_is_another_version(tmp_path: Path) -> None:
    """The ETag is that of the bytes there now, however often it is asked for and whatever stood there before."""
    path, videos = tmp_path / "red_cup_1.mp4", LocalVideos()
    for number, body in enumerate((b"one", b"two", b"three")):
        path.write_bytes(body)
        os.utime(path, ns=(0, number))
        digests = {videos.head(str(path)).etag for _ in range(3)}
        assert digests == {hashlib.sha256(body).hexdigest()}


def test_two_videos_are_told_apart(tmp_path: Path) -> None:
    """One that is asked for in between, a hard link of equal identity too, has the ETag of its own bytes."""
    videos = LocalVideos()
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    os.link(tmp_path / "a", tmp_path / "c")
    for name in ("a", "b", "c", "a"):
        body = (tmp_path / name).read_bytes()
        assert videos.head(str(tmp_path / name)).etag == hashlib.sha256(body).hexdigest()
