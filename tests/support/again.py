"""``python -m tests.support.again``: runs anew, one at a time, the tests that just failed beside others.

Tests of real processes share a machine of two cores, which other machines share; once in some thousand a machine that
stands still for seconds makes one fail. Such a test gets the machine to itself, as in CPython's own suite (``regrtest
--rerun``), has to pass there several times in a row, and is named whatever comes of it. What tells of nothing but the
code gets no second run: unit and contract tests, seeds and models, files that cannot be imported, more failures than a
weak moment explains.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
REAL_TIME = ("tests/integration/", "tests/e2e/", "tests/faults/")
THE_SAME_EACH_TIME = (
    "tests/faults/test_bad_timestamps.py",
    "tests/faults/test_exactly_once.py",
    "tests/faults/test_power_cut.py",
    "tests/e2e/test_power_lost_anywhere.py",
)
AT_MOST = 3  # tests
RUNS = 3  # of each, in a row: a race that shows in half of them is found


def excused(failed: Sequence[str]) -> bool:
    """Whether *failed*, the tests that failed by their ids, may all be run again."""
    real = all(test.startswith(REAL_TIME) and not test.startswith(THE_SAME_EACH_TIME) for test in failed)
    return 0 < len(failed) <= AT_MOST and real and all("::" in test for test in failed)


def main() -> int:
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if not excused(failed):
        return 1
    print(f"\nfailed beside others, now run alone {RUNS} times:", *failed, sep="\n  ", flush=True)
    for _ in range(RUNS):
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *failed]
        if status := subprocess.run(command, check=False).returncode:
            return status
    print("\npassed alone, failed beside others (find out why):", *failed, sep="\n  ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
