"""Every rule of a labelling service, on any manifest, before anybody pays: each fault with its line and what to do.

Memory: 12 bytes a line, and the findings that are shown.
"""

from __future__ import annotations

import bisect
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import Line, read_lines
from cloud.dataset.pictures import Pictures
from cloud.dataset.validate_pictures import check_pictures, lacks_cors, region_of
from cloud.dataset.validate_repeats import Sources
from cloud.dataset.validate_rules import MAX_ITEMS, REFUSED, Fault, LineRules, Region, finding


@dataclass(frozen=True, slots=True)
class Rules:
    """What to check beyond the lines themselves. ``pictures`` None: they are not looked at.

    ``attribute`` is where the job is to write its labels.
    """

    attribute: str | None = None
    pictures: Pictures | None = None


@dataclass(slots=True)
class Checked:
    """What validation found in one or more manifests that are labelled together."""

    findings: Findings = field(default_factory=Findings)
    items: int = 0

    @property
    def refused(self) -> bool:
        """Whether the service would refuse the job, or some of its lines."""
        return any(code in REFUSED for code in self.findings.counts)


@dataclass(slots=True)
class _Repeats:
    """The lines of several manifests, numbered through, so that a picture in two of them is found."""

    sources: Sources = field(default_factory=Sources)
    names: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    last: int = 0

    def begin(self, where: str) -> None:
        self.names.append(where)
        self.starts.append(self.last)

    def add(self, line: Line) -> None:
        self.last = self.starts[-1] + line.number
        self.sources.add(line.source or line.text, self.last)

    def place(self, number: int) -> tuple[str, int]:
        which = bisect.bisect_left(self.starts, number) - 1
        return self.names[which], number - self.starts[which]

    def findings(self) -> Iterator[Finding]:
        for later, first in self.sources.repeats():
            (where, line), (other, number) = self.place(later), self.place(first)
            named = f"line {number}" if other == where else f"{other}:{number}"
            what = f"is about the same picture as {named}: it would be labelled, and paid for, twice"
            yield Finding("duplicate_line", where, line, what, "take one of them out")


def validate(manifests: Sequence[tuple[Path, str]], rules: Rules) -> Checked:
    """Check *manifests*, each a file and what findings call it. Reads them once, from start to end.

    Raises ConfigInvalid when a file cannot be read, and, with pictures, what keeps a store from being read.
    """
    checked, repeats = Checked(), _Repeats()
    findings = checked.findings
    for path, where in manifests:
        repeats.begin(where)
        line_rules = LineRules(rules.attribute, _region(rules.pictures))
        items = 0
        with closing(_checked(path, where, rules, line_rules, findings)) as lines:
            for line in lines:
                items += 1
                repeats.add(line)
        checked.items += items
        for code, what, fix in _of_the_whole(items, line_rules):
            findings.add(Finding(code, where, None, what, fix))
        for bucket in line_rules.buckets if rules.pictures else ():
            if rules.pictures and lacks_cors(rules.pictures, bucket):
                what = f"bucket {bucket} lets no labelling page load its pictures (CORS)"
                findings.add(Finding("no_cors", where, None, what, "allow GET from any origin in its CORS rules"))
    for repeat in repeats.findings():
        findings.add(repeat)
    return checked


def _checked(
    path: Path, where: str, rules: Rules, line_rules: LineRules, findings: Findings
) -> Generator[Line, None, None]:
    """The usable lines, each after its findings."""
    lines = _ruled(path, where, line_rules, findings)
    if rules.pictures is None:
        yield from lines
        return
    for line, faults in check_pictures(lines, rules.pictures):
        for fault in faults if line.source else ():
            findings.add(finding(line, fault))
        yield line


def _ruled(path: Path, where: str, line_rules: LineRules, findings: Findings) -> Iterator[Line]:
    for line in read_lines(path, findings, where):
        if line.number == 1 and _has_mark(path):
            findings.add(finding(line, ("byte_order_mark", "begins with a byte order mark", "save it without")))
        for fault in line_rules.faults(line):
            findings.add(finding(line, fault))
        yield line


def _of_the_whole(items: int, line_rules: LineRules) -> Iterator[Fault]:
    if not items:
        yield "empty", "has no line that can be labelled", "build it anew"
    if items > MAX_ITEMS:
        what = f"has {items:,} items; a job takes {MAX_ITEMS:,}"
        yield "too_many_items", what, "make shards of it: edge-cloud manifest build"
    if line_rules.local:
        what = f"{line_rules.local:,} of its pictures are files of this machine, which Ground Truth cannot read"
        yield "local_pictures", what, "manifest build --rebase s3://BUCKET, or label them with Label Studio or CVAT"


def _region(pictures: Pictures | None) -> Region | None:
    return (lambda bucket: region_of(pictures, bucket)) if pictures else None


def _has_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xef\xbb\xbf"
