"""What was ordered for uploads, for a process that asks several times a second."""

from __future__ import annotations

from edge_agent.control.desired import DesiredState
from edge_agent.upload.limits import UploadOrder


class DesiredUploads:
    """The desired state's order for uploads. Used by one thread at a time."""

    def __init__(self, desired: DesiredState) -> None:
        self._state = desired
        self._signature: tuple[int, int] | None = None
        self._order: UploadOrder | None = None

    def current(self) -> UploadOrder | None:
        """What holds now: one stat, unless it has changed. Raises SpoolError when the file cannot be read."""
        signature = self._state.signature()
        if signature != self._signature:
            self._order = self._state.upload()
            self._signature = signature
        return self._order
