"""What a directory store asks of the file system: durable directories, scratch files, renames, refusals."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import CredentialsRefused, EdgeCaptureError, KeyInvalid, ObjectExists, StoreUnreachable

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""How opening a path says that no file is there."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP}  # exFAT and some network file systems


def refusal(error: OSError, where: str) -> EdgeCaptureError:
    """What the operating system refused at *where*, as one of ours."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StoreUnreachable(f"the disk is full ({reason})", where=where, fix="free space, or use a larger disk")
    if error.errno in _REFUSED:
        return CredentialsRefused(reason, where=where, fix="let this process's user read and write the directory")
    if error.errno in _IN_THE_WAY:
        return KeyInvalid(
            "on a directory no key can be both an object and the beginning of another key's path",
            where=where,
            fix="use another key, or remove what is in the way",
        )
    if error.errno == errno.ENAMETOOLONG:
        return KeyInvalid(reason, where=where, fix="use a shorter key, or a store directory nearer to the root")
    return StoreUnreachable(reason, where=where, fix="check the disk or its mount")


def fsync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(directory: Path, within: Path) -> None:
    """Create what is missing of *directory* below *within*, durably. Raises FileNotFoundError without *within*."""
    missing: list[Path] = []
    while directory != within and not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync_directory(path.parent)


def prune(directory: Path, within: Path) -> None:
    """Remove *directory* and its parents below *within* as far as they are empty."""
    with suppress(OSError):  # not empty, not there any more, or not a directory: then it stays
        while directory != within:
            directory.rmdir()
            directory = directory.parent


def opened(path: Path) -> BinaryIO:
    """The regular file at *path*, open for reading. Raises one of ``ABSENT`` when no such file is there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe somebody left there must not block us
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def new_scratch(directory: Path) -> BinaryIO:
    """A new file in *directory*, open for writing and locked, so that :func:`sweep` sees that its writer lives."""
    while True:
        file = (directory / uuid.uuid4().hex).open("xb")
        with suppress(BlockingIOError):  # a sweep met it between its creation and its lock, and will remove it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file
        file.close()


def sweep(directory: Path) -> None:
    """Remove the scratch files in *directory* whose writers are dead."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def rename(scratch: Path, target: Path, *, absent: bool) -> None:
    """Give *scratch* the name *target*; with *absent* only if nothing has it. Raises ObjectExists."""
    if absent:
        try:
            os.link(scratch, target)
        except FileExistsError as error:
            raise ObjectExists("the object exists already", where=str(target)) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
    scratch.replace(target)
