"""Whether somebody has a file open for writing: the kernel is asked for a read lease, which it refuses then."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path


def has_writer(path: Path) -> bool | None:
    """Whether any process has *path* open for writing now; None where the kernel cannot be asked.

    It cannot for a file of another user (without CAP_LEASE) and on most network file systems. The lease is given back
    at once; whoever opens the file for writing in between waits that long, and nobody is signalled but this process,
    with SIGURG, which is ignored unless asked for (SIGIO, the default, would end it). A file that is gone or cannot be
    opened: None.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False
