"""Files of this machine that appear whole or not at all, and what the operating system has against it."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import ConfigInvalid, DiskFull, EdgeCaptureError, WriteFailed
from edge_agent.store.files import fsync_directory, rename

_ELSEWHERE = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def refused(error: OSError, where: Path | str) -> EdgeCaptureError:
    """What the operating system refused when *where* was to be written, as one of ours."""
    what, place = f"cannot be written: {error.strerror or error}", str(where)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(what, where=place, fix="make room there, and run it again")
    if isinstance(error, _ELSEWHERE):
        return ConfigInvalid(what, where=place, fix="name another place")
    return WriteFailed(what, where=place, fix="mend that, and run it again")


@contextmanager
def writing(where: Path | str) -> Iterator[None]:
    """Raise what the operating system refuses in the block as :func:`refused` has it."""
    try:
        yield
    except OSError as error:
        raise refused(error, where) from error


@contextmanager
def whole(target: Path, *, absent: bool) -> Iterator[BinaryIO]:
    """Yield a file; when the block ends it stands at *target*, whole and durable, or not at all.

    What was there is replaced; with *absent* it stays, and ObjectExists is raised. Raises also as :func:`writing`.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.parent / f".{uuid.uuid4().hex}.part"
        try:
            with scratch.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            rename(scratch, target, absent=absent)
            fsync_directory(target.parent)
        finally:
            scratch.unlink(missing_ok=True)
