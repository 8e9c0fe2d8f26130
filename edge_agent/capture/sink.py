"""The file a segment is written to, made durable fragment by fragment."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.capture.digest import Digest
from edge_agent.durable import os_errors


class DurableFile:
    """A seekable binary file for libav's muxer that knows what of it has reached the disk.

    A hybrid MP4 is closed by appending ``moov`` and then turning an 8-byte header near its start. Had the header
    reached the disk and ``moov`` not, the file would be unreadable; so every write *before* the end is preceded by an
    fdatasync of everything written until then. Raises DiskFull, SpoolUnusable or WriteFailed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with os_errors(path):
            # No buffering: what write() returned for is the kernel's, and survives a kill -9 of this process.
            self._file = path.open("r+b", buffering=0)
            self._file.truncate()
        self._end = 0
        self._unsynced = 0
        self._digest = Digest()
        self.syncs = 0  # how often what was written had reached the disk

    @property
    def unsynced(self) -> int:
        """Bytes written and not yet known to be on the disk."""
        return self._unsynced

    def write(self, data: bytes) -> int:
        if self._file.closed:
            return len(data)  # abandoned: the muxer's last words are of no use
        with os_errors(self.path):
            position = self._file.tell()
            if position < self._end and self._unsynced:
                self._sync()
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                view = view[written:]
            self._digest.wrote(position, data)
            self._unsynced += len(data)
            self._end = max(self._end, position + len(data))
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return 0 if self._file.closed else self._file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._file.closed else self._file.tell()

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        if self._unsynced:
            with os_errors(self.path):
                self._sync()

    def _sync(self) -> None:
        os.fdatasync(self._file.fileno())
        self._unsynced = 0
        self.syncs += 1

    def checksum(self) -> str:
        """The CRC-64/NVME of the file, as sidecars spell it; at the end, and quick."""
        with os_errors(self.path):
            return self._digest.of(self.path)

    def close(self) -> None:
        self._file.close()
