"""Two sides compared, against pandas: windows of hours, filters beside what is compared, and of which task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

import fourfold as ff
from fourfold.config import Settings
from fourfold.query.filtered import ALL_RECORDS, Filter
from fourfold.serve.app import application
from fourfold.serve.service import Service

HOME = "http://127.0.0.1:4404"
BEGIN = pd.Timestamp("2023-03-01", tz="UTC")
DAYS, EACH = 90, 48  # so many records a day: the hours of the first 30 days are no longer kept


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    """Predictions with their labels: a task has two names of slices, also crossed, and versions."""
    rng = np.random.default_rng(7)
    n = DAYS * EACH
    label = rng.random(n) < 0.4
    return pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(n)],
            "at": BEGIN + pd.to_timedelta(np.arange(n) * 86_400 // EACH, unit="s"),
            "score": np.where(rng.random(n) < 0.7, label, ~label) * 0.6 + 0.2,
            "minutes": rng.normal(30, 5, n),
            "country": rng.choice(["DE", "FR", "IT"], n),
            "device": rng.choice(["ios", "web"], n),
            "colour": rng.choice(["red", "blue"], n),
            "model": np.where(np.arange(n) % 3 == 0, "v2", "v1"),
            "bought": label,
            "took": rng.normal(31, 6, n),
        }
    )


@pytest.fixture(scope="module")
def client(records: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("comparing") / "store"
    session = ff.init(str(folder), "shop")
    ff.task("arrival", prediction="predict.minutes", label="orders.took", kind="regression", slices=["country"])
    ff.task(
        "buys", prediction="predict.score", label="orders.bought", threshold=0.5, version="model",
        slices=["country", "device", "colour", ["country", "device"], ["country", "model"]],
    )  # fmt: skip
    ff.log("predict", records.drop(columns=["bought", "took"]), key="id", time="at")
    ff.log("orders", records[["id", "at", "bought", "took"]], key="id", time="at")
    ff.flush()
    session.store.caught_up()
    session.close()
    with TestClient(application(Service(Settings(str(folder), "shop"))), base_url=HOME) as client:
        yield client


def compared(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/api/compare", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def refused(client: TestClient, **query: Any) -> str:
    answer = client.get("/api/compare", params=query)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["error"]["message"])


def recall_of(rows: pd.DataFrame) -> float:
    positive = rows[rows.bought]
    return float((positive.score >= 0.5).mean())


def check(found: dict[str, Any], a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Both sides have these records, their recall, and of a column their mean."""
    recall = next(row for row in found["metrics"] if row["metric"] == "recall")
    for side, rows in (("a", a), ("b", b)):
        assert found[side]["n"] == len(rows) > 0
        assert recall[side]["value"] == pytest.approx(recall_of(rows))
    assert recall["difference"]["value"] == pytest.approx(recall_of(a) - recall_of(b))
    score = next(row for row in found["rows"] if row["column"] == "score")
    assert (score["inside"]["n"], score["baseline"]["n"]) == (len(a), len(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("2023-05-14T05:00:00Z", "2023-05-14T11:00:00Z"), ("2023-05-14T11:00:00Z", "2023-05-14T17:00:00Z")),
        (("2023-05-14T00:00:00-05:00", "2023-05-15T00:00:00-05:00"),
         ("2023-05-15T00:00:00-05:00", "2023-05-16T00:00:00-05:00")),
        (("2023-05-20", "2023-05-27"), ("2023-05-14T07:00:00Z", "2023-05-20")),
        (("2023-03-05", "2023-03-09"), ("2023-05-14T07:00:00Z", "2023-05-20T05:00:00Z")),
    ],
)  # fmt: skip
def test_windows_are_as_long_as_they_say(
    client: TestClient, records: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]
) -> None:
    def within(ends: tuple[str, str]) -> pd.DataFrame:
        start, end = (pd.Timestamp(end) if "T" in end else pd.Timestamp(end, tz="UTC") for end in ends)
        return records[(records["at"] >= start) & (records["at"] < end)]

    found = compared(client, target="buys", a="/".join(a), b="/".join(b))
    check(found, within(a), within(b))
    for side, (start, _) in (("a", a), ("b", b)):
        told = pd.Timestamp(found[side]["window"]["start"])
        assert told == (pd.Timestamp(start) if "T" in start else pd.Timestamp(start, tz="UTC"))


def test_a_window_that_counts_cannot_answer_is_refused(client: TestClient) -> None:
    recent = "2023-05-20/2023-05-21"
    told = refused(client, target="buys", a="2023-05-14T05:30:00Z/2023-05-14T07:00:00Z", b=recent)
    assert told.startswith("a=") and "whole hours" in told
    told = refused(client, target="buys", a=recent, b="2023-03-05T05:00:00Z/2023-03-09")
    assert told.startswith("b=") and "hours are kept for 60 days" in told
    told = refused(
        client,
        target="buys",
        a="country=DE",
        b="country=FR",
        every="1h",
        start="2023-03-05",
        end="2023-03-05T07:00:00Z",
    )
    assert "hours are kept for 60 days" in told
    assert "empty" in refused(client, target="buys", a=recent, b="2023-05-14/2023-05-14")


@pytest.mark.parametrize("b", ["2023-05-20/2023-05-27", "2023-05-26T23:00:00Z/2023-05-29", "2023-05-01/2023-05-29"])
def test_windows_that_overlap_are_refused(client: TestClient, b: str) -> None:
    assert "overlap" in refused(client, target="buys", a="2023-05-20/2023-05-27", b=b)
    compared(client, target="buys", a="2023-05-20/2023-05-27", b="2023-05-27/2023-05-29")


def test_a_filter_holds_for_slices_and_versions_too(client: TestClient, records: pd.DataFrame) -> None:
    window = {"target": "buys", "start": "2023-05-14", "end": "2023-05-29"}
    records = records[(records["at"] >= "2023-05-14") & (records["at"] < "2023-05-29")]
    of, kept = records.country.eq, records.device != "ios"
    found = compared(client, a="country=DE", b="country=FR", without="device=ios", **window)
    check(found, records[of("DE") & kept], records[of("FR") & kept])
    assert found["without"] == {"device": ["ios"]} and "without=device%3Dios" in found["a"]["href"]
    found = compared(client, a="country=DE", b="country=FR", only="device=ios", **window)
    check(found, records[of("DE") & ~kept], records[of("FR") & ~kept])
    found = compared(client, a="version:v1", b="version:v2", only="country=DE", **window)
    check(found, records[of("DE") & (records.model == "v1")], records[of("DE") & (records.model == "v2")])
    found = compared(client, a="2023-05-14/2023-05-20", b="country=FR", only="device=web", **window)
    check(found, records[kept & (records["at"] < "2023-05-20")], records[of("FR") & kept])


def test_a_filter_that_cannot_be_held_is_refused_with_the_reason(client: TestClient) -> None:
    told = refused(client, target="buys", a="country=DE", b="country=FR", only="colour=red")
    assert "colour × country" in told and "declare" in told
    assert "colour × country" in refused(client, a="country=DE", b="country=FR", without="colour=red")
    assert "colour × model" in refused(client, a="version:v1", b="version:v2", without="colour=red")
    assert "no record" in refused(client, target="buys", a="country=DE", b="country=FR", only="country=DE")
    told = refused(client, a="country=DE", b="country=ES", start="2023-05-14", end="2023-05-29")
    assert "'country=ES'" in told and "from 2023-05-14T00:00:00Z to 2023-05-29T00:00:00Z" in told
    assert "device" in refused(client, a="stream:orders", b="stream:orders", only="device=ios")


def test_streams_are_compared_by_the_records_that_a_filter_means(client: TestClient, records: pd.DataFrame) -> None:
    found = compared(client, a="stream:predict", b="stream:predict", only="device=ios")
    assert found["a"]["n"] == found["b"]["n"] == (records.device == "ios").sum()
    assert found["target"] == "" and found["a"]["window"] is None


def test_it_is_said_of_which_task_and_time_and_each_task_can_be_chosen(client: TestClient) -> None:
    choices = compared(client)
    assert choices["tasks"] == ["arrival", "buys"] and choices["versions"] == ["v1", "v2"]
    assert {"country=DE", "device=ios"} <= set(choices["slices"])
    assert {"arrival", "buys"} == {one["target"] for one in choices["suggested"]}
    for one in choices["suggested"]:
        found = compared(client, a=one["a"], b=one["b"], target=one["target"])
        assert found["target"] == one["target"] and found["metrics"][0]["a"]["value"] is not None
    assert [one["target"] for one in compared(client, target="buys")["suggested"]] == ["buys"] * 3
    assert "device=ios" not in compared(client, target="arrival")["slices"]
    found = compared(client, a="country=DE", b="country=FR")
    assert found["target"] == "arrival" and found["window"]["end"] == "2023-05-30T00:00:00Z"
    assert found["a"]["window"] == {"start": "2023-05-02T00:00:00Z", "end": "2023-05-30T00:00:00Z"}
    assert compared(client, a="country=DE", b="country=FR", target="buys")["target"] == "buys"


def test_without_a_task_it_is_of_one_that_declares_what_is_compared(client: TestClient, records: pd.DataFrame) -> None:
    last = records[records["at"] >= "2023-05-02"]
    found = compared(client, a="version:v1", b="version:v2")
    assert found["target"] == "buys"
    check(found, last[last.model == "v1"], last[last.model == "v2"])
    found = compared(client, a="device=ios", b="device=web")
    assert found["target"] == "buys"
    check(found, last[last.device == "ios"], last[last.device == "web"])
    told = refused(client, target="arrival", a="version:v1", b="version:v2")
    assert "'arrival' declares no version" in told
    assert "arrival" in refused(client, target="arrival", a="device=ios", b="device=web")


def test_what_two_filters_both_mean() -> None:
    one, other = Filter.of(["c=a", "c=b"], ["d=x"]), Filter.of(["c=b", "e=1"], ["d=y"])
    assert one & other == Filter.of(["c=b", "e=1"], ["d=x", "d=y"]) == other & one
    assert one & ALL_RECORDS == one == ALL_RECORDS & one
    assert not (Filter.of(["c=a"], []) & Filter.of(["c=b"], [])).fits({"c": "a"})
