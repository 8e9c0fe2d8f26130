"""Which failures get a second run alone."""

from __future__ import annotations

import pytest

from tests.support.again import AT_MOST, excused

REAL = "tests/integration/test_page_agent.py::test_a_page[x y]"


@pytest.mark.parametrize(
    "failed",
    [[REAL], ["tests/faults/test_disk_full.py::test_full"], ["tests/e2e/test_whole_loop.py::test_loop"] * AT_MOST],
)
def test_a_few_tests_of_real_processes_are_run_again(failed: list[str]) -> None:
    """They are what a moment without a processor can make fail."""
    assert excused(failed)


@pytest.mark.parametrize(
    "failed",
    [
        [],
        ["tests/unit/test_names.py::test_name"],
        [REAL, "tests/faults/test_exactly_once.py::test_bytes"],
        ["tests/contracts/test_store.py::test_put"],
        ["tests/integration/test_page_agent.py"],
        [REAL] * (AT_MOST + 1),
    ],
)
def test_what_tells_of_the_code_is_not(failed: list[str]) -> None:
    """Unit tests, contracts, seeds, files that cannot be imported, and many at once fail the suite at once."""
    assert not excused(failed)
