"""What a check found: a verdict, what was seen, what to do. Pure; standard library only."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.errors import EdgeCaptureError
from edge_agent.redact import redact


class Verdict(enum.StrEnum):
    """``WARNING``: it works, or may, but somebody should look. ``FAULT``: something will not be recorded or sent,
    or a secret lies open."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination. *check* names it, as ``camera cam1``; *fix* is "" where nothing is to be done."""

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"check": self.check, "verdict": self.verdict.value, "seen": self.seen, "fix": self.fix}


def ok(check: str, seen: str) -> Finding:
    return Finding(check, Verdict.OK, redact(seen))


def warning(check: str, seen: str, fix: str = "") -> Finding:
    return Finding(check, Verdict.WARNING, redact(seen), fix)


def fault(check: str, seen: str, fix: str = "") -> Finding:
    return Finding(check, Verdict.FAULT, redact(seen), fix)


def failed(check: str, error: EdgeCaptureError) -> Finding:
    """The fault that *error* is."""
    seen = f"{error.where}: {error.what}" if error.where else error.what
    return fault(check, seen, error.fix)


def report(findings: Iterable[Finding]) -> dict[str, object]:
    """The contract of ``doctor --json``: ``ok`` (no fault), and ``checks`` with check, verdict, seen and fix each."""
    found = list(findings)
    return {
        "ok": all(finding.verdict is not Verdict.FAULT for finding in found),
        "checks": [finding.as_dict() for finding in found],
    }
