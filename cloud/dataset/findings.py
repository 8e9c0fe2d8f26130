"""What is wrong with what was read: every finding counted, the first ones of each kind kept to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.errors import EdgeCaptureError

SHOWN = 20
"""Of each kind; ten million bad lines must neither fill the memory nor the screen."""


class FindingsPresent(EdgeCaptureError):
    """Raised by :meth:`Findings.raise_if_strict`: what is normally counted and left out is an error here."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong. ``code`` is stable (``duplicate_line``); ``line`` counts from 1, None when it is of the whole.

    ``dropped``: what it is about was left out of the result.
    """

    code: str
    where: str
    line: int | None
    what: str
    fix: str = ""
    dropped: bool = False

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        text = f"{place}: {self.what}"
        return printable(f"{text}; {self.fix}" if self.fix else text)


def printable(text: str) -> str:
    """*text* as one line that does nothing to a terminal: names come from outside."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


@dataclass(slots=True)
class Findings:
    """Collects findings in bounded memory: all are counted by code, the first :data:`SHOWN` of each are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    _kept: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        self.counts[finding.code] += 1
        self.dropped += finding.dropped
        kept = self._kept.setdefault(finding.code, [])
        if len(kept) < SHOWN:
            kept.append(finding)

    def update(self, others: Findings) -> None:
        """Take in all that *others* counted and kept."""
        self.counts.update(others.counts)
        self.dropped += others.dropped
        for code, found in others._kept.items():
            kept = self._kept.setdefault(code, [])
            kept += found[: SHOWN - len(kept)]

    def forget(self, codes: Iterable[str]) -> None:
        """As if what *codes* say had not been looked for: it does not matter where these findings go."""
        for code in codes:
            self.counts.pop(code, None)
            self._kept.pop(code, None)

    def __iter__(self) -> Iterator[Finding]:
        """The kept ones, by code in the order in which each was first met."""
        for kept in self._kept.values():
            yield from kept

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def kinds(self) -> str:
        """How many there are of each kind, the most first: ``654 × duplicate line, 1 × broken json``."""
        return ", ".join(f"{number:,} × {code.replace('_', ' ')}" for code, number in self.counts.most_common())

    def lines(self) -> Iterator[str]:
        """For a person: each kept finding, then how many more there are of its kind."""
        for code, kept in self._kept.items():
            yield from map(str, kept)
            if (more := self.counts[code] - len(kept)) > 0:
                yield f"… and {more:,} more of {code.replace('_', ' ')}"

    def raise_if_strict(self, strict: bool) -> None:
        """Raise FindingsPresent, counting them by kind, when *strict* and there are any."""
        if strict and self.counts:
            raise FindingsPresent(f"--strict: {self.kinds}", fix="mend them, or leave --strict out")
