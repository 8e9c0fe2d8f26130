"""Becomes the command it is given, which then ends with the process that started it, even when that one is killed.

``python -I -S launcher.py PARENT COMMAND…``: run as a file, standard library only, gone once the command runs. Exits
with 127, and one line on standard error, when the command cannot be run.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; kept across execve, sent when the thread that forked ends


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # gone before it could be watched
            raise SystemExit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is meant
    except OSError as error:
        sys.stderr.write(f"cannot be run: {error.strerror}\n")
        raise SystemExit(127) from error


if __name__ == "__main__":
    main()
