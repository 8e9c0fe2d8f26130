"""What reaches the disk whole or not at all, and what the operating system refuses as one of our errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import DiskFull, EdgeCaptureError, SpoolUnusable, WriteFailed

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNUSABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
}


def os_error(error: OSError, where: Path | str) -> EdgeCaptureError:
    """*error* of the operating system at *where*, as one of ours."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFull(reason, where=str(where), fix="free space on this disk, or point the spool at a larger one")
    if error.errno in _UNUSABLE:
        return SpoolUnusable(reason, where=str(where), fix="create it, and let the agent's user write to it")
    return WriteFailed(reason, where=str(where), fix="check the disk")


@contextmanager
def os_errors(where: Path | str) -> Iterator[None]:
    """Raise what the operating system refuses at *where* as DiskFull, SpoolUnusable or WriteFailed."""
    try:
        yield
    except NameTaken:
        raise
    except OSError as error:
        named = error.filename if error.filename2 is None else None  # of two names the system does not say which
        raise os_error(error, named or where) from error


def fsync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """*path* holds *content*, whole and durable, or what it held before."""
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
    fsync_directory(path.parent)


def move_durably(source: Path, target: Path) -> None:
    """Rename without ever overwriting. Raises FileExistsError when *target* exists."""
    os.link(source, target)
    # Before the old name goes: a disk may keep one directory's changes and not another's.
    fsync_directory(target.parent)
    source.unlink()
    if source.parent != target.parent:
        fsync_directory(source.parent)


class NameTaken(FileExistsError):
    """A name that is in use: passes through :func:`os_errors`, unlike a directory that is a file."""


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Nobody deletes *path* to make room while the block lasts; see :func:`claimed`.

    A file that cannot be opened is not protected: whoever uses it will notice.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether *path* is there and in nobody's use; then nobody begins to use it while the block lasts."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(descriptor), path.stat())  # else it has just moved on
    except (BlockingIOError, FileNotFoundError):
        mine = False
    try:
        yield mine
    finally:
        os.close(descriptor)
