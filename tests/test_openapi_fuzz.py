"""Requests that the API's description allows, and others: no answer is other than the description says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fourfold.config import Settings
from fourfold.serve.app import application
from fourfold.serve.service import LOOPBACK, Reach, Service

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Settings(str(Path(folder) / "store"), "flights", named_by="a test"), Reach(LOOPBACK))
        yield schemathesis.openapi.from_asgi("/openapi.json", application(service))
        service.close()


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_server(case: Any) -> None:
    case.call_and_validate(checks=CHECKS, headers={"Host": "127.0.0.1"})
