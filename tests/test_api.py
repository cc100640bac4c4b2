"""The pages' JSON: what each page needs, from a store with something wrong."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

import fourfold as ff
from fourfold.config import Settings
from fourfold.serve.app import application
from fourfold.serve.service import Service
from fourfold.views.pipeline import _shown
from fourfold.watch.lineage import Lineage

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
            times.append(1_700_006_400 + 86_400 * day + 600 * i)
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
    answer = client.get(f"/api/{path}", params=query or None)  # without any, those of the path stay
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
    assert objective["chart"] in page["charts"] and objective["href"] == "/tasks/buys?metric=accuracy&start=-14d"
    task = get(client, objective["href"].removeprefix("/"))["data"]  # of the same time
    assert {**task["value"], "status": ""} == {**objective["value"], "status": ""}
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


def test_what_nothing_has_judged_is_not_called_healthy(tmp_path: Path) -> None:
    ff.init(str(tmp_path / "store"), "shop")
    for fails in (False, True):
        with contextlib.suppress(ValueError), ff.run("train"):
            if fails:
                raise ValueError("no data")
    ff.flush()
    ff.runs()

    def shown() -> dict[str, Any]:
        with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
            data: dict[str, Any] = get(client, "home")["data"]
            return data

    data = shown()
    assert data["state"] == "unchecked"
    assert "the newest run of 1 component failed" in data["headline"] and "fourfold check" in data["headline"]
    ff.check()
    assert (shown()["state"], shown()["headline"]) == ("degraded", "1 incident open")
    [found] = ff.incidents()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        answer = client.post(f"/api/incidents/{found.id}/resolve", json={"reason": "mended"})
        assert answer.json()["data"]["incident"]["state"] == "resolved"
    assert (shown()["state"], shown()["headline"]) == ("healthy", "nothing is wrong")
    ff.check()  # its newest run is a failed one still
    assert [(again.id, again.state.value, again.reopened) for again in ff.incidents()] == [(found.id, "open", 1)]


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/api/home")
    again = client.get("/api/home", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_an_unknown_parameter_and_project_are_named(client: TestClient) -> None:
    wrong = client.get("/api/home", params={"metrik": "recall"})
    assert wrong.status_code == 404 and "metrik" in wrong.json()["error"]["message"]
    assert client.get("/api/home", params={"project": "nothing"}).status_code == 404


def test_a_task_shows_its_metric_volume_and_for_whom_it_is_bad(client: TestClient) -> None:
    page = get(client, "tasks/buys", metric="accuracy")
    data = page["data"]
    assert data["value"]["value"] == pytest.approx(1 - (DAYS - 30) / DAYS / 3, abs=1e-9)
    assert [len(data["history"]), len(data["volume"])] == [DAYS, DAYS]
    assert all(day["predicted"] == EACH for day in data["volume"])
    first, *others = data["slices"]["rows"]
    assert first["slice"] == {"country": "DE"} and first["loss_share"] == 1.0 and first["share"] == pytest.approx(1 / 3)
    assert first["without"]["value"] == 1.0 and all(row["loss_share"] == 0 for row in others)
    drawn = {"metric", "volume", "coverage", "delay", "slices", "reliability", "confusion", "scores"}
    assert drawn <= set(page["charts"])
    assert any(limit["yAxis"] == 0.9 for series in page["charts"]["metric"]["option"]["series"]
               for limit in series.get("markLine", {}).get("data", []))  # fmt: skip


def test_the_bounds_of_a_chart_are_those_of_objectives_of_the_same_records(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    ff.task("buys", prediction="predict.score", label="orders.bought", slices=["country"])
    ff.objective("all", "accuracy(buys) >= 0.8", window="14d")
    ff.objective("each", "accuracy(buys) >= 0.7", window="14d", by="country")
    for i in range(40):
        ff.log("predict", key=i, score=0.9, country=["DE", "FR"][i % 2])
        ff.log("orders", key=i, bought=i % 3 == 0)
    ff.metric("buys", "accuracy")  # counts
    session.close()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        for where, bounds in (
            ({}, [0.8]), ({"only": "country=DE"}, [0.7]), ({"without": "country=DE"}, []),
            ({"only": ["country=DE", "country=FR"]}, []),
        ):  # fmt: skip
            series = get(client, "tasks/buys", metric="accuracy", **where)["charts"]["metric"]["option"]["series"]
            limits = [limit["yAxis"] for one in series for limit in one.get("markLine", {}).get("data", [])]
            assert limits == bounds, where


def test_only_and_without_a_slice_are_the_metric_of_these_records(client: TestClient) -> None:
    only = get(client, "tasks/buys", metric="accuracy", only="country=DE", start="-5d")["data"]
    without = get(client, "tasks/buys", metric="accuracy", without="country=DE", start="-5d")["data"]
    assert only["value"]["value"] == 0.0 and without["value"]["value"] == 1.0
    assert only["only"] == {"country": ["DE"]} and without["without"] == {"country": ["DE"]}
    several = get(client, "tasks/buys", metric="accuracy", only=["country=DE", "country=FR"], start="-5d")["data"]
    assert several["value"]["value"] == 0.5 and several["value"]["n"] == 5 * EACH * 2 / 3


def test_what_was_expected_is_shown_beside_what_was_seen(client: TestClient) -> None:
    page = get(client, "tasks/buys", metric="accuracy")
    known = [day["expected"] for day in page["data"]["history"] if day["expected"]]
    assert known and all(k["low"] <= k["value"] <= k["high"] for k in known)
    assert {"expected:low", "expected:width"} <= {s["id"] for s in page["charts"]["metric"]["option"]["series"]}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"metric": "recal"}, 404), ({"start": "yesterday"}, 422), ({"every": "1y"}, 422), ({"only": "color=red"}, 422),
        ({"start": "2024-01-02", "end": "2024-01-01"}, 422), ({"limit": "many"}, 422), ({"only": "=x"}, 422),
        ({"metric": "calibration_curve"}, 422), ({"start": "99999-01-01"}, 422), ({"start": "-99999999d"}, 422),
    ],
)  # fmt: skip
def test_a_question_that_means_nothing_is_told_so(client: TestClient, query: dict[str, str], status: int) -> None:
    answer = client.get("/api/tasks/buys", params=query)
    assert answer.status_code == status and answer.json()["error"]["message"]


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_what_is_shown_can_be_taken_away(client: TestClient, format_: str) -> None:
    answer = client.get("/api/tasks/buys", params={"format": format_, "by": "country", "metric": "accuracy"})
    assert answer.status_code == 200 and f'fourfold-tasks.{format_}"' in answer.headers["content-disposition"]
    if format_ == "csv":
        table = pacsv.read_csv(io.BytesIO(answer.content))
    elif format_ == "parquet":
        table = pq.read_table(io.BytesIO(answer.content))
    else:
        assert len(answer.json()["rows"]) == 3
        return
    assert table.num_rows == 3 and {"slice.country", "value.value", "value.low", "n"} <= set(table.column_names)
    assert "<b>IT</b>" in table["slice.country"].to_pylist()


def test_a_file_has_more_rows_than_a_page(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    for _ in range(120):
        with ff.run("train"):
            pass
    assert len(ff.runs("train", limit=1_000)) == 120
    session.close()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        for query, rows in (("", 120), ("&limit=7", 7)):
            answer = client.get(f"/api/runs?format=csv{query}")
            assert pacsv.read_csv(io.BytesIO(answer.content)).num_rows == rows


def test_a_stream_lists_its_columns_in_the_order_asked_for(client: TestClient) -> None:
    data = get(client, "streams/predict", order="-missing", limit=2)["data"]
    assert data["columns_total"] == 3 and next(c["name"] for c in data["columns"]) == "age"
    assert data["columns"][0]["missing"] == pytest.approx(100 / 1200) and data["stream"]["rows"] == DAYS * EACH
    frequent = {c["name"]: c["frequent"] for c in get(client, "streams/predict")["data"]["columns"]}
    assert dict(frequent["country"]) == pytest.approx({"DE": 1 / 3, "FR": 1 / 3, "<b>IT</b>": 1 / 3})


def test_a_column_shows_now_and_then_and_when_it_broke(client: TestClient) -> None:
    page = get(client, "columns/predict/age")
    data = page["data"]
    missing = next(v for v in data["values"] if v["metric"] == "missing_rate")
    assert missing["now"]["value"] == pytest.approx(1 / 3)
    assert missing["then"]["value"] == pytest.approx(30 / 33 / 33 * 1, abs=0.05)
    assert data["effect"]["low"] > 0.2 and data["always"]["broken_since"].startswith("2023-12-15")
    assert len(data["history"]) == DAYS and data["history"][0]["quantiles"]["0.5"] == pytest.approx(40, abs=5)
    assert {"distribution", "quantiles", "missing"} <= set(page["charts"])


def test_a_column_tells_new_and_gone_categories(client: TestClient) -> None:
    data = get(client, "columns/predict/country", start="2023-12-01", end="2023-12-05")["data"]
    assert data["new_categories"] == [] and {f["value"] for f in data["frequent"]} == {"DE", "FR", "<b>IT</b>"}
    only = get(client, "columns/predict/age", only="country=DE", start="-5d")["data"]
    assert next(v for v in only["values"] if v["metric"] == "missing_rate")["now"]["value"] == 1.0


def test_incidents_are_listed_and_one_shows_its_findings_in_order_with_the_range_expected(client: TestClient) -> None:
    rows = get(client, "incidents", state="all")["data"]["rows"]
    assert rows and {row["state"] for row in get(client, "incidents")["data"]["rows"]} <= {"open", "pending"}
    worst = max(rows, key=lambda row: row["findings"])
    page = get(client, worst["href"].removeprefix("/"))
    findings = page["data"]["findings"]
    assert len(findings) == worst["findings"] > 1
    assert [f["began"][:10] for f in findings] == sorted(f["began"][:10] for f in findings)
    for same_day in {f["began"][:10] for f in findings}:
        depths = [f["depth"] for f in findings if f["began"][:10] == same_day]
        assert depths == sorted(depths)
    drawn = [page["charts"][f["chart"]] for f in findings if f["chart"]]
    assert any(s["id"] == "expected:width" for chart in drawn for s in chart["option"]["series"])
    kinds = [entry["kind"] for entry in page["data"]["time_line"]]
    assert "onset" in kinds and "opened" in kinds
    example = page["data"]["example"]
    traced = get(client, "trace", key=example["key"])["data"]
    assert {step["stream"] for step in traced["steps"]} == {"predict", "orders"}


def test_what_a_user_decides_is_taken_down(client: TestClient) -> None:
    [row] = [r for r in get(client, "incidents")["data"]["rows"] if r["kind"] == "failed_run"]
    done = client.post(f"/api/incidents/{row['id']}/snooze", json={"reason": "later", "until": "4h"})
    assert done.status_code == 200 and done.json()["data"]["incident"]["state"] == "snoozed"
    assert "acknowledge" in done.json()["data"]["actions"]
    again = get(client, f"incidents/{row['id']}")["data"]["incident"]
    assert again["state"] == "snoozed" and again["until"] is not None
    assert client.post(f"/api/incidents/{row['id']}/confirm", json={"reason": "a bug"}).status_code == 200
    for path, body, status in (
        (f"/api/incidents/{row['id']}/explode", "{}", 422), ("/api/incidents/999/confirm", "{}", 404),
        (f"/api/incidents/{row['id']}/snooze", '{"until": "yesterday"}', 422),
        (f"/api/incidents/{row['id']}/snooze", '{"until": "-4h"}', 422),
        (f"/api/incidents/{row['id']}/snooze", '{"until": "99999999d"}', 422),
        (f"/api/incidents/{row['id']}/snooze", '{"reason": "' + "x" * 70_000 + '"}', 413),
        (f"/api/incidents/{row['id']}/confirm", "[]", 422), (f"/api/incidents/{row['id']}/confirm", "{", 422),
        (f"/api/incidents/{row['id']}/confirm", "[" * 30_000, 422),
        (f"/api/incidents/{row['id']}/confirm", b"\xff", 422),
        (f"/api/incidents/{row['id']}/confirm", '{"reason": "\\ud800\\u0000"}', 200),
    ):  # fmt: skip
        assert client.post(path, content=body).status_code == status, path


@pytest.mark.parametrize(
    "path",
    [
        "tasks/x/buys",
        "tasks/buys/",
        "streams/x/predict",
        "columns/predict",
        "columns/predict/",
        "columns/x/predict/age",
    ],
)
def test_an_address_with_a_name_too_many_or_too_few_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/{path}", follow_redirects=False)
    assert answer.status_code == 404 and answer.json()["error"]["message"]


@pytest.mark.parametrize("start", ["-999999d", "-999999w"])
def test_a_start_that_no_calendar_has_is_refused(client: TestClient, start: str) -> None:
    answer = client.get("/api/tasks/buys", params={"start": start})
    assert answer.status_code == 422 and start in answer.json()["error"]["message"]


def test_a_window_as_wide_as_the_calendar_is_told_in_its_terms(client: TestClient) -> None:
    window = get(client, "streams/predict", start="0001-01-01", end="9999-12-31")["data"]["window"]
    assert (window["start"], window["end"]) == ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z")


def test_the_pipeline_never_mixes_its_three_marks(client: TestClient) -> None:
    page = get(client, "pipeline")
    nodes = {node["id"]: node for node in page["data"]["nodes"]}
    assert nodes["component:publish"]["state"] == "failed"
    assert any("failed" in told["what"] for told in nodes["component:publish"]["marks"]["changed"])
    assert any(told["what"] == "params: depth changed" for told in nodes["component:train"]["marks"]["changed"])
    worse = {id_: node for id_, node in nodes.items() if node["marks"]["worse"]}
    assert set(worse) == {"task:buys"} and not worse["task:buys"]["marks"]["changed"]
    assert {(e["from"], e["to"]) for e in page["data"]["edges"]} >= {("stream:predict", "task:buys")}


def test_runs_tell_what_changed(client: TestClient) -> None:
    data = get(client, "runs", component="train")["data"]
    assert data["total"] == 2 and data["rows"][0]["params"] == {"depth": 9}
    assert data["rows"][0]["changed"] == ["params: depth"] and data["rows"][1]["changed"] == []
    failed = get(client, "runs", status="failed")["data"]["rows"]
    assert [run["component"] for run in failed] == ["publish"] and "ZeroDivisionError" in failed[0]["error"]
    one = get(client, "runs", run=failed[0]["id"])["data"]["rows"]
    assert [run["id"] for run in one] == [failed[0]["id"]]


def test_the_box_ranks_what_is_different_inside_first(client: TestClient) -> None:
    page = get(client, "box", target="buys", start="2023-12-15", end="2023-12-20")
    first = page["data"]["rows"][0]
    assert (first["kind"], first["stream"], first["column"]) == ("column", "predict", "age")
    assert first["low"] > 0.2 and "missing" in first["inside"]["words"] and first["chart"] in page["charts"]
    country = next(row for row in page["data"]["rows"] if row["name"] == "country" and row["kind"] == "slice")
    assert country["low"] == 0.0 and country["size"] == "none"
    only = get(client, "box", target="buys", start="2023-12-15", end="2023-12-20", only="country=FR")["data"]
    age = next(row for row in only["rows"] if row["column"] == "age")
    assert "missing" not in age["inside"]["words"] and age["low"] < first["low"]


@pytest.mark.parametrize(
    ("query", "n", "reason"),
    [
        ({"start": "2023-12-15", "end": "2023-12-20"}, (5 * EACH, 28 * EACH), ""),
        ({"start": "2030-01-01", "end": "2030-01-08"}, (0, 0), "the newest are of before 2023-12-24T"),
        ({"start": "2023-11-15", "end": "2023-11-16", "against": "2023-01-01/2023-02-01"}, (EACH, 0),
         "no such records from 2023-01-01T00:00:00Z to 2023-02-01T00:00:00Z"),
        ({"start": "2023-12-15", "end": "2023-12-20", "only": "country=XX"}, (0, 0), "no such records inside"),
        ({"start": "2023-12-15", "end": "2023-12-20", "only": "age=3"}, (0, 0), "not counted by age"),
    ],
)  # fmt: skip
def test_where_there_is_nothing_to_compare_the_reason_is_told(
    client: TestClient, query: dict[str, str], n: tuple[int, int], reason: str
) -> None:
    data = get(client, "box", target="buys", **query)["data"]
    assert (data["n"]["inside"], data["n"]["baseline"]) == n
    assert reason in data["reason"]
    assert bool(data["reason"]) == (0 in n)


def test_two_slices_windows_and_streams_can_be_compared(client: TestClient) -> None:
    page = get(client, "compare", a="country=DE", b="country=FR", start="2023-12-15")["data"]
    accuracy = next(m for m in page["metrics"] if m["metric"] == "recall")
    assert accuracy["difference"]["high"] < 0 and page["a"]["n"] == page["b"]["n"] == 100
    assert page["rows"][0]["name"] in ("age", "country")
    windows = get(client, "compare", a="2023-12-01/2023-12-10", b="2023-12-15/2023-12-24")["data"]
    assert windows["rows"][0]["name"] == "age" and windows["a"]["n"] == 9 * EACH
    streams = get(client, "compare", a="stream:predict", b="stream:predict")["data"]
    assert all(row["effect"] == 0.0 for row in streams["rows"])
    choices = get(client, "compare")["data"]
    assert "country=DE" in choices["slices"] and "predict" in choices["streams"]
    titles = [one["title"] for one in choices["suggested"]]
    assert titles[0] == "the last 7 days and the 28 before them" and len(titles) == 2
    for one in choices["suggested"]:
        found = get(client, "compare", a=one["a"], b=one["b"])["data"]
        assert found["a"]["n"] > 0 and found["b"]["n"] > 0


def test_days_without_any_label_are_estimated_where_that_is_asked_for(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    ff.task("buys", prediction="predict.score", label="orders.bought", horizon="15d")
    rows = [
        {"id": f"{day}-{i}", "at": 1_700_006_400 + 86_400 * day + i, "score": i % 10 / 10, "bought": i % 7 < i % 10}
        for day in range(30)
        for i in range(100)
    ]
    ff.log("predict", [{k: row[k] for k in ("id", "at", "score")} for row in rows], key="id", time="at")
    ff.log("orders", [{k: row[k] for k in ("id", "at", "bought")} for row in rows[:2_000]], key="id", time="at")
    wanted = ff.metric("buys", "recall", start="2023-12-05", every="1d", estimate=True)
    session.close()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        plain, page = (get(client, "tasks/buys", metric="recall", estimate=told) for told in ("0", "1"))
    assert plain["data"]["unsettled"] and not any(day["estimate"] for day in plain["data"]["history"])
    estimates = {day["start"][:10]: day["estimate"]["value"] for day in page["data"]["history"] if day["estimate"]}
    assert list(estimates) == [f"2023-12-{day:02}" for day in range(5, 15)]
    assert list(estimates.values()) == [row.value.value for row in wanted] and None not in estimates.values()
    assert "estimated" in str(page["charts"]["metric"]["option"])


def test_versions_are_proposed_as_they_can_be_compared(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    ff.task("buys", prediction="predict.score", label="orders.bought", version="model", slices=["model"])
    for i in range(40):
        ff.log("predict", key=i, score=0.5, model=f"v{i % 2}=x")
        ff.log("orders", key=i, bought=i % 3 == 0)
    ff.metric("buys", "accuracy")  # counts
    session.close()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        choices = get(client, "compare")["data"]
        assert choices["versions"] == ["v0=x", "v1=x"]
        one = next(each for each in choices["suggested"] if each["a"].startswith("version:"))
        found = get(client, "compare", a=one["a"], b=one["b"])["data"]
        assert [found[side]["n"] for side in ("a", "b")] == [20, 20]


def test_search_finds_whatever_has_a_name(client: TestClient) -> None:
    for text, kind, href in (
        ("buys", "task", "/tasks/buys"), ("train", "component", "/runs?component=train"),
        ("predict.age", "column", "/columns/predict/age"), ("country=DE", "slice", "/tasks/buys?only=country%3DDE"),
        ("k3-7", "key", "/trace?key=k3-7"),
    ):  # fmt: skip
        first = get(client, "search", q=text)["data"]["rows"][0]
        assert (first["type"], first["href"]) == (kind, href)
    assert get(client, "search", q="")["data"]["rows"] == []
    assert get(client, "search", q="no such thing at all")["data"]["total"] == 0


def test_settings_tell_no_secret(client: TestClient) -> None:
    data = get(client, "settings")["data"]
    assert data["tokens"] == [] and data["project"] == "shop" and data["objectives"][0]["name"] == "buys-accuracy"


def test_the_streams_are_listed_with_whose_they_are(client: TestClient) -> None:
    data = get(client, "streams")["data"]
    assert [row["name"] for row in data["streams"]] == ["orders", "predict"] and data["total"] == 2
    predict = data["streams"][1]
    assert predict["columns"] == 3 and predict["key"] == "id" and predict["href"] == "/streams/predict"
    assert predict["first"] == "2023-11-15T00:00:00Z" and predict["last"].startswith("2023-12-24")
    assert predict["findings"] > 0
    assert [row["name"] for row in get(client, "streams", order="-columns", limit=1)["data"]["streams"]] == ["predict"]


def test_of_many_tasks_a_part_is_shown(tmp_path: Path) -> None:
    session = ff.init(str(tmp_path / "store"), "shop")
    for i in range(30):
        ff.task(f"task{i:02d}", prediction=f"p{i}.score", label=f"l{i}.y")
    for i in range(101):
        ff.objective(f"objective{i}", f"accuracy(task{i % 30:02d}) >= 0.9", window="14d")
    ff.log("p7", {"id": ["a"], "score": [0.9], "at": [1_700_006_400]}, key="id", time="at")
    ff.flush()
    session.store.caught_up()
    session.close()
    with TestClient(application(Service(Settings(str(tmp_path / "store"), "shop"))), base_url=HOME) as client:
        home = get(client, "home")["data"]
        assert len(home["tasks"]) < home["tasks_total"] == 30
        assert len(home["objectives"]) < home["objectives_total"] == 101
        last = get(client, "tasks", limit=8, offset=25)
        assert [row["name"] for row in last["data"]["tasks"]] == [f"task{i}" for i in range(25, 30)]
        assert last["data"]["total"] == 30 and not last["charts"]
        turned = get(client, "tasks", limit=2, order="-name")["data"]["tasks"]
        assert [row["name"] for row in turned] == ["task29", "task28"]
        assert "task:task07" in get(client, "tasks")["charts"]


def test_of_a_large_pipeline_what_is_wrong_is_shown_with_what_it_touches(client: TestClient) -> None:
    places = [("component", f"c{i}") for i in range(9)]
    lineage = Lineage.of([("c7", "c3", "x"), ("c3", "c5", "y")], [], {}, [])
    assert _shown(places, {("component", "c3")}, lineage, 3) == {("component", name) for name in ("c3", "c5", "c7")}
    assert _shown(places, set(), lineage, 9) == set(places)
    data = get(client, "pipeline", limit=1)["data"]
    assert len(data["nodes"]) == 1 and data["total"] > 1 and not data["edges"]
