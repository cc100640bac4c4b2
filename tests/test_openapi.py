"""The API's description names all that is served, and what it says is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fourfold.serve import pages
from fourfold.serve.app import ENDPOINTS
from fourfold.serve.service import Reach
from tests.test_serve import Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


API = [endpoint for endpoint in ENDPOINTS if endpoint not in pages.ENDPOINTS]  # what is for programs


def test_all_that_is_served_to_programs_is_described(served: Served) -> None:
    answer = served.client.get("/openapi.json")
    described = answer.json()
    OpenAPIV31SpecValidator(described).validate()
    operations = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert operations == {(e.method, re.sub(r"\{(\w+):\w+\}", r"{\1}", e.path)) for e in API}
    for endpoint in API:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", endpoint.path)
        operation = described["paths"][path][endpoint.method.lower()]
        assert operation["summary"] and operation["description"]
        assert operation.get("x-role") == (endpoint.role and endpoint.role.value)
