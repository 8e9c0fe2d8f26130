"""``python -m tests.support.again``: runs anew, one at a time, the tests that just failed beside others.

Tests of real processes share a machine of two cores, which other machines share; once in some thousand a machine that
stands still for seconds makes one fail. Such a test gets a second run with the machine to itself, as CPython's own
suite does (``regrtest --rerun``), and is named whatever comes of it. What tells of nothing but the code gets none:
unit and contract tests, fault storms, files that cannot be imported, more failures than a weak moment explains.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
REAL_TIME = ("tests/integration/", "tests/e2e/")
AT_MOST = 3


def excused(failed: Sequence[str]) -> bool:
    """Whether *failed*, the tests that failed by their ids, may all be run again."""
    return 0 < len(failed) <= AT_MOST and all(test.startswith(REAL_TIME) and "::" in test for test in failed)


def main() -> int:
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if not excused(failed):
        return 1
    print("\nfailed beside others, now run alone:", *failed, sep="\n  ", flush=True)
    status = subprocess.run([sys.executable, "-m", "pytest", "-n", "0", *failed], check=False).returncode
    if not status:
        print("\npassed alone, failed beside others (find out why):", *failed, sep="\n  ", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
