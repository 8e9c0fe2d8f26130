"""The checksum of a segment, ready when its last byte is written: nobody waits while an hour of video is read again."""

from __future__ import annotations

from pathlib import Path

from edge_agent.store.checksum import RunningCrc64Nvme, crc64nvme

HEAD = 64 << 10  # bytes; what is written again when an MP4 is closed is 8 bytes in the first 100


class Digest:
    """CRC-64/NVME of a file that is only appended to, but for its first HEAD bytes, which are read at the end.

    Of a file that is written in another way, all is read.
    """

    def __init__(self) -> None:
        self._rest = RunningCrc64Nvme()  # of everything from HEAD on
        self._end = HEAD
        self._is_appended = True

    def wrote(self, position: int, data: bytes) -> None:
        """*data* was written at *position*."""
        end = position + len(data)
        if end <= HEAD:
            return
        begin = max(position, HEAD)
        self._is_appended = self._is_appended and begin == self._end
        self._rest.update(data[begin - position :])
        self._end = end

    def of(self, path: Path) -> str:
        """The checksum of the file at *path*, to which all was written. Raises OSError."""
        if not self._is_appended:
            return crc64nvme(path).value
        whole = RunningCrc64Nvme()
        with path.open("rb") as file:
            whole.update(file.read(HEAD))
        whole.append(self._rest, self._end - HEAD)
        return whole.checksum().value
