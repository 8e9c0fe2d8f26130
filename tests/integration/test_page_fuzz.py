"""The JSON API, tried with whatever its own description allows, and does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edge_agent.control.web.openapi import description
from tests.support.page import RECORDING, Site, page

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/api/v1/events"


def tries() -> list[Any]:
    """Every operation with what it allows, and with what it does not where it takes anything at all."""
    schema = schemathesis.openapi.from_dict(description(("color", "object"), ("cam1", "cam2")))
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    return [
        pytest.param(operation, mode, id=f"{operation.label}-{mode.value}")
        for operation in found
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if operation.path != ENDLESS
        and (mode is GenerationMode.POSITIVE or operation.body or operation.path_parameters)
    ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A page over a box on which all is well."""
    with page(tmp_path) as found:
        found.agent.cameras["cam2"] = dict(RECORDING)
        yield found


@pytest.mark.parametrize(("operation", "mode"), tries())
def test_nothing_that_is_sent_breaks_it(site: Site, operation: Any, mode: GenerationMode) -> None:
    """No 5xx, and no answer but those that the description promises."""

    @given(st.data())
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def tried(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.call_and_validate(base_url=site.url, checks=CHECKS)

    tried()
