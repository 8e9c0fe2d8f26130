"""The fault tests' common ground: how long a storm lasts, and the table of what was tried and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import faults
from tests.support.proxy import Proxy, proxy
from tests.support.upload import fresh_spool
from tests.support.uploading import Shelf


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


@pytest.fixture
def link(moto_endpoint: str) -> Iterator[Proxy]:
    """The way to the S3 server all tests share, through a proxy of the test's own."""
    with proxy(moto_endpoint) as made:
        yield made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A new spool, to put segments into."""
    return Shelf(fresh_spool(tmp_path / "spool"))
