"""Requests that the API's description allows, and others: no answer is other than the description says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fourfold.config import Settings
from fourfold.serve.app import DESCRIBED, application
from fourfold.serve.openapi import description
from fourfold.serve.routes import Endpoint
from fourfold.serve.service import LOOPBACK, Reach, Service

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Settings(str(Path(folder) / "store"), "flights", named_by="a test"), Reach(LOOPBACK))
        yield schemathesis.openapi.from_asgi("/openapi.json", application(service), headers={"Host": "127.0.0.1"})
        service.close()


@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.arrow.file")
def as_it_is(context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "backslashreplace")


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [(500, b"{}", "Server error"), (418, b"{}", "Undocumented status code"), (200, b"[]", "violates schema")],
)
def test_an_answer_that_is_not_as_described_is_found(status: int, body: bytes, found: str) -> None:
    """The checks can fail: the assertions of the next test are theirs."""

    def wrong(_: Request) -> Response:
        return Response(body, status, media_type="application/json")

    schema = schemathesis.openapi.from_dict(description(DESCRIBED))
    schema.app = Starlette(routes=[Route("/v1/runs", wrong, methods=["POST"])])
    with pytest.raises(FailureGroup, match=found):
        schema["/v1/runs"]["POST"].Case(body=[], media_type="application/json").call_and_validate(checks=CHECKS)


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_no_request_breaks_the_server(api: Any, endpoint: Endpoint) -> None:
    cases = api[re.sub(r"\{(\w+):\w+\}", r"{\1}", endpoint.path)][endpoint.method].as_strategy()

    @given(case=cases)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, headers={"Host": "127.0.0.1"}, timeout=300)

    holds()
