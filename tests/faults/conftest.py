"""The fault tests' common ground: how long a storm lasts, and the table of what was tried and what was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support import faults


@pytest.fixture
def storm(request: pytest.FixtureRequest) -> bool:
    """Whether to run the long form (``make faults``) or the short one (the default suite)."""
    return bool(request.config.getoption("--storm"))


@dataclass(frozen=True, slots=True)
class Account:
    """Puts one row into the table that ends the run."""

    name: str

    def __call__(self, tried: str, lost: str, note: str = "") -> None:
        faults.ROWS.append((self.name, tried, lost, note))


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``account(tried, lost, note)``: what the test tried, what was lost (``nothing``), and what was seen."""
    return Account(request.node.name.removeprefix("test_"))
