"""Checks side by side, each within its time: one that hangs holds up neither the others nor the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.config import Settings
from edge_agent.control.local import Agents
from edge_agent.doctor.finding import Finding, failed, fault, warning
from edge_agent.errors import EdgeCaptureError


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: the settings and the file they are from, the clock, and what runs on this spool now."""

    settings: Settings
    path: Path
    clock: Clock
    agents: Agents = field(default_factory=Agents)


Examine = Callable[[Patient], Iterator[Finding]]
"""Yields a finding for each of the check's names, in that order, as they are found. An EdgeCaptureError becomes the
fault of the next name, and ends the check."""


@dataclass(frozen=True, slots=True)
class Check:
    """*names* it will report on, how, and within how many *seconds*."""

    names: tuple[str, ...]
    examine: Examine
    seconds: float = 30.0


class _Running:
    """A check at work, in a daemon thread: a resolver that does not answer cannot be told to stop."""

    def __init__(self, check: Check, patient: Patient) -> None:
        self.check = check
        self._patient = patient
        self._found: list[Finding] = []
        self.thread = threading.Thread(target=self._run, name=f"check {check.names[0]}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for finding in self.check.examine(self._patient):
                self._found.append(finding)
        except EdgeCaptureError as error:
            self._found.append(failed(self.missing()[0] if self.missing() else self.check.names[-1], error))

    def missing(self) -> list[str]:
        """Names on which nothing was reported yet."""
        told = {finding.check for finding in self._found}
        return [name for name in self.check.names if name not in told]

    def findings(self) -> list[Finding]:
        """What was found; what has not been by now is a fault."""
        hangs = self.thread.is_alive()
        found = list(self._found)
        seen = f"no answer within {self.check.seconds:.0f} s" if hangs else "not tried, since the above failed"
        fix = "if it hangs again, look there" if hangs else "mend that first"
        return found + [(fault if hangs else warning)(name, seen, fix) for name in self.missing()]


def examine(patient: Patient, checks: Sequence[Check]) -> list[Finding]:
    """What all of *checks* find, in their order, within the time of the slowest."""
    begun = patient.clock.monotonic()
    running = [_Running(check, patient) for check in checks]
    found: list[Finding] = []
    for one in running:
        one.thread.join(max(0.0, begun + one.check.seconds - patient.clock.monotonic()))
        found += one.findings()
    return found
