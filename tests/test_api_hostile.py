"""Every page on an empty store, and on one whose names and values are hostile: an answer, never a mistake of ours."""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

import fourfold as ff
from fourfold.config import Settings
from fourfold.model.access import Role
from fourfold.serve.api import ENDPOINTS
from fourfold.serve.app import application
from fourfold.serve.service import Service
from fourfold.views.asking import path

pytestmark = pytest.mark.services  # hundreds of requests
HOME = "http://127.0.0.1:4404"
NAMES = [
    "<script>alert(1)</script>",
    "a/b%2Fc",
    "x=y&z",
    "\u202ertl",
    "q\"'`",
    "{a}{b|c}",
    "n" * 10_000,
    "new\nline",
    "é😀",
]
PAGES = [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("hostile") / "store"
    session = ff.init(str(folder), "shop")
    n = 400
    at = [1_700_006_400 + 3_600 * i for i in range(n)]
    odd = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 2.0**70, None]
    columns: dict[str, Any] = {
        "id": [f"{NAMES[i % len(NAMES)][:50]}{i}" for i in range(n)],
        "at": pa.array([t * 10**6 for t in at], pa.timestamp("us", "UTC")),
        "score": [i % 100 / 100 for i in range(n)],
    }  # fmt: skip
    for j, name in enumerate(NAMES):
        columns[name] = [odd[i % len(odd)] for i in range(n)] if j % 2 else [NAMES[i % len(NAMES)] for i in range(n)]
    ff.task("t/" + NAMES[0], prediction=f"{NAMES[0]}.score", label="l.y", slices=[NAMES[2]], horizon="1d")
    ff.objective(NAMES[5], f'accuracy("t/{NAMES[0]}") >= 0.9', window="7d", owner=NAMES[0], runbook=NAMES[0])
    ff.log(NAMES[0], pa.table(columns), key="id", time="at")
    ff.log("l", {"id": columns["id"], "at": at, "y": [i % 2 for i in range(n)]}, key="id", time="at")
    for name in NAMES[:6]:
        with pytest.raises(ValueError, match="wrong"), ff.run(name, params={name: name, "n": 2**70, "f": math.nan}):
            raise ValueError(f"wrong {name}")
    ff.flush()
    ff.check()
    session.close()
    with TestClient(application(Service(Settings(str(folder), "shop"))), base_url=HOME) as client:
        yield client


def addresses(client: TestClient) -> Iterator[str]:
    """Each page once, and whatever these link to."""
    seen: set[str] = set()
    todo = ["/api/home", "/api/pipeline", "/api/incidents?state=all", "/api/runs", "/api/search?q=a",
            "/api/search?q=%3C", "/api/trace", "/api/compare", "/api/settings", "/api/box"]  # fmt: skip
    todo += ["/api" + path("streams", NAMES[0]), *("/api" + path("columns", NAMES[0], name) for name in NAMES)]
    while todo and len(seen) < 90:
        address = todo.pop(0)
        if address in seen:
            continue
        seen.add(address)
        yield address
        answer = client.get(address)
        if answer.status_code == 200:
            todo += ["/api" + found for found in hrefs(answer.json()) if found != "/"]


def hrefs(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in found.items():
            if name.startswith("href") and isinstance(value, str):
                yield value
            else:
                yield from hrefs(value)
    elif isinstance(found, list):
        for value in found:
            yield from hrefs(value)


def test_every_link_of_every_page_leads_to_an_answer_however_hostile_the_names(hostile: TestClient) -> None:
    kinds, columns = set(), set()
    for address in addresses(hostile):
        answer = hostile.get(address)
        assert answer.status_code == 200, (address[:300], answer.text[:500])
        json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        kind = address.split("?")[0].split("/")[2]
        kinds.add(kind)
        if kind == "columns":
            columns.add(answer.json()["data"]["column"])
    assert kinds >= {"home", "tasks", "streams", "columns", "incidents", "runs", "search", "trace", "box"}
    assert columns >= set(NAMES)


@pytest.mark.parametrize("endpoint", PAGES, ids=lambda e: str(e.path))
def test_no_page_fails_on_an_empty_store_or_whatever_is_asked(
    endpoint: Any, tmp_path: Path, hostile: TestClient
) -> None:
    where = endpoint.path
    for name in ("task", "stream", "column", "id"):
        where = where.replace(f"{{{name}:name}}", "nothing").replace(f"{{{name}}}", "nothing")
    with TestClient(application(Service(Settings(str(tmp_path / "new"), "shop"))), base_url=HOME) as empty:
        assert empty.get(where).status_code in (200, 404, 422)
        for format_ in ("csv", "parquet", "json") if any(p.name == "format" for p in endpoint.parameters) else ():
            assert empty.get(where, params={"format": format_}).status_code in (200, 404, 422)
    declared = [p.name for p in endpoint.parameters if p.place == "query" and p.name not in ("project", "format")]
    for value in (
        "",
        "\x00",
        "-1",
        "1e999",
        "../..",
        NAMES[0],
        "NaN/inf",
        "9" * 400,
        "=",
        "%",
        "a=b",
        "-0d",
        "{}",
        "٣",
    ):
        for name in declared:
            answer = hostile.get(where, params={name: value})
            assert answer.status_code in (200, 404, 409, 422), (name, value, answer.text[:300])


def test_each_page_describes_its_parameters_for_programs() -> None:
    for endpoint in ENDPOINTS:
        assert endpoint.summary and endpoint.role is (Role.ADMIN if endpoint.method == "POST" else Role.VIEWER)
        for parameter in endpoint.parameters:
            assert parameter.description and parameter.schema["type"] in ("string", "integer")
            assert (f"{{{parameter.name}" in endpoint.path) == (parameter.place == "path")


def test_links_read_back_as_the_names_they_were_made_of() -> None:
    for name in NAMES:
        _, page, stream, column = path("columns", name, name).split("/")
        assert (page, urllib.parse.unquote(stream), urllib.parse.unquote(column)) == ("columns", name, name)
