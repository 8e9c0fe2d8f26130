"""What the shell asks of the upload process, as files: the ledger has one writer, and it is not the shell.

A request is one file in ``requests/`` in the state directory; the upload process looks there twice a second, does what
is asked, and deletes it. Done twice, after a crash in between, does no harm.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path

from edge_agent.durable import os_errors, write_durably

DIRECTORY = "requests"
_SUFFIX = ".retry"


class Requests:
    """The directory of requests under *state*. Methods raise SpoolError."""

    def __init__(self, state: Path) -> None:
        self._directory = state / DIRECTORY

    def retry(self, stems: Collection[str] | None) -> None:
        """Ask that these segments (None: all) are tried again now, whatever they wait for. Durable on return."""
        with os_errors(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            names = (f"{os.getpid()}-{number}{_SUFFIX}" for number in itertools.count())
            name = next(name for name in names if not (self._directory / name).exists())
            document = None if stems is None else sorted(stems)
            write_durably(self._directory / name, json.dumps(document).encode())

    def answer(self, retry: Callable[[Collection[str] | None], object]) -> int:
        """Call *retry* for every request, and then forget it; how many there were."""
        with os_errors(self._directory):
            if not self._directory.exists():
                return 0
            found = sorted(path for path in self._directory.iterdir() if path.suffix == _SUFFIX)
        for path in found:
            with os_errors(path):
                retry(_stems(path.read_bytes()))
                path.unlink(missing_ok=True)
        return len(found)


def _stems(content: bytes) -> Collection[str] | None:
    """What is asked for; nothing by what is no request."""
    try:
        document = json.loads(content)
    except ValueError:
        return ()
    if document is None:
        return None
    return tuple(map(str, document)) if isinstance(document, list) else ()
