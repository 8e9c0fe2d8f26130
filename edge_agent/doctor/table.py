"""The examination for a person: as wide as the terminal is, what to do below what was seen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.doctor.finding import Finding, Verdict

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAULT: "bold red"}


def show(findings: Sequence[Finding]) -> None:
    """Print *findings*, and their sum."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        seen = Text(finding.seen)
        if finding.fix:
            seen.append(f"\n→ {finding.fix}", style="bold")
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), Text(finding.check), seen)
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(summary(findings)))


def summary(findings: Sequence[Finding]) -> str:
    """How it stands, in a line. Pure."""
    verdicts = [finding.verdict for finding in findings]
    faults, warnings = verdicts.count(Verdict.FAULT), verdicts.count(Verdict.WARNING)
    if not faults and not warnings:
        return "all is well"
    counts = ((faults, "fault"), (warnings, "warning"))
    return ", ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count)
