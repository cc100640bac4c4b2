"""The pages' JSON: what each page needs, from a store with something wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import fourfold as ff
from fourfold.config import Settings
from fourfold.serve.app import application
from fourfold.serve.service import Service

HOME = "http://127.0.0.1:4404"
DAYS, EACH = 40, 30  # a day has so many records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store: a task with slices, whose model gets worse for one slice; runs; objectives; an incident."""
    folder = tmp_path_factory.mktemp("api") / "store"
    session = ff.init(str(folder), "shop")
    with ff.run("train", params={"depth": 6}) as run:
        run.metric("auc", 0.8)
    with ff.run("train", params={"depth": 9}) as run:
        run.metric("auc", 0.7)
    with pytest.raises(ZeroDivisionError), ff.run("publish"):
        1 / 0  # noqa: B018
    ff.task("buys", prediction="predict.score", label="orders.bought", slices=["country"], horizon="5d")
    ff.objective("buys-accuracy", "accuracy(buys) >= 0.9", window="14d", owner="shop team", runbook="http://x/y")
    keys, times, scores, countries, bought, ages = [], [], [], [], [], []
    for day in range(DAYS):
        for i in range(EACH):
            broken = day >= 30 and i % 3 == 0
            keys.append(f"k{day}-{i}")
            times.append(1_700_000_000 + 86_400 * day + 600 * i)
            scores.append(0.9 if i % 2 else 0.1)
            countries.append(["DE", "FR", "<b>IT</b>"][i % 3])
            bought.append((i % 2 == 1) != broken)
            ages.append(None if broken else 20 + (i * 7 + day) % 40)
    records = {"id": keys, "at": times, "score": scores, "country": countries, "age": ages}
    ff.log("predict", records, key="id", time="at")
    ff.log("orders", {"id": keys, "at": times, "bought": bought}, key="id", time="at")
    ff.flush()
    ff.check()
    session.close()
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    service = Service(Settings(str(folder), "shop"))
    with TestClient(application(service), base_url=HOME) as client:
        yield client


def get(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"data", "charts"}
    for chart in found["charts"].values():
        assert set(chart) == {"kind", "title", "unit", "summary", "option"}
    return found


def test_home_says_what_is_wrong_first(client: TestClient) -> None:
    page = get(client, "home")
    data = page["data"]
    [objective] = data["objectives"]
    assert objective["status"] == "missed" and objective["value"]["value"] < 0.9
    assert objective["budget"]["remaining"] < 0 and objective["owner"] == "shop team"
    assert objective["chart"] in page["charts"] and objective["href"].startswith("/tasks/buys?metric=accuracy")
    assert data["state"] == "broken" and data["incidents_total"] == len(data["incidents"]) > 0
    assert "objective missed" in data["headline"]
    assert [g["group"] for g in data["groups"]] == [
        "stateless, single-component", "stateless, cross-component",
        "stateful, single-component", "stateful, cross-component",
    ]  # fmt: skip
    assert data["groups"][0]["worst"][0]["kind"] == "failed_run" and data["groups"][0]["health"] != "ok"
    assert {c["name"] for c in data["components"]} == {"train", "publish"}


def test_an_empty_store_is_no_error(tmp_path: Path) -> None:
    with TestClient(application(Service(Settings(str(tmp_path / "new"), "shop"))), base_url=HOME) as client:
        data = get(client, "home")["data"]
    assert data["state"] == "empty" and data["objectives"] == [] and len(data["groups"]) == 4


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/api/home")
    again = client.get("/api/home", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_an_unknown_parameter_and_project_are_named(client: TestClient) -> None:
    wrong = client.get("/api/home", params={"metrik": "recall"})
    assert wrong.status_code == 404 and "metrik" in wrong.json()["error"]["message"]
    assert client.get("/api/home", params={"project": "nothing"}).status_code == 404
