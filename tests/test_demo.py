"""The whole of it on real data: the demo, and its metrics against scikit-learn on the same joined records."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from sklearn import metrics as sk

from fourfold.examples import flights
from fourfold.model import Status
from fourfold.state import incidents
from fourfold.store import Store

pytestmark = pytest.mark.services
KEPT = os.environ.get("FOURFOLD_FLIGHTS")  # where the demo's store is to stay, for the tests of the pages


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    store = Path(KEPT or folder / "store")

    def fourfold(*command: str) -> str:
        program = str(Path(sys.executable).parent / "fourfold")
        done = subprocess.run(
            [program, *command, "--store", str(store)], capture_output=True, text=True, check=True, cwd=folder
        )
        assert done.stderr == ""
        return done.stdout

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = fourfold("demo")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert "Try next:" in said
    (view,) = json.loads(fourfold("status", "--json"))["rows"]
    return {"store": store, "view": view, "cpu": cpu, "memory": after.ru_maxrss * 1024}


def logged(demo: dict[str, Any], stream: str) -> pd.DataFrame:
    frame: pd.DataFrame = DeltaTable(demo["store"] / "log" / "flights" / stream).to_pyarrow_table().to_pandas()
    return frame


@pytest.fixture(scope="module")
def joined(demo: dict[str, Any]) -> pd.DataFrame:
    """The records as logged, joined by pandas."""
    labels = logged(demo, "arrivals")[["_ff_key", "late", "_ff_time"]]
    return logged(demo, "predict").merge(labels, on="_ff_key", suffixes=("", "_label"))


def test_the_demo_stays_within_its_time_and_memory(demo: dict[str, Any]) -> None:
    assert demo["cpu"] < 240
    assert demo["memory"] < 2e9


def test_the_pipeline_is_connected_by_what_it_passes_on(demo: dict[str, Any]) -> None:
    feeds = {c["name"]: c["feeds"] for c in demo["view"]["components"]}
    assert feeds == {
        "ingest": ["join_weather"], "join_weather": ["featurize"], "featurize": ["train"], "train": ["predict"],
        "predict": [], "arrivals": [],
    }  # fmt: skip
    assert {c["name"]: c["runs"] for c in demo["view"]["components"]}["predict"] > 270
    late, failed = demo["view"]["problems"]
    assert (late["kind"], failed["kind"], failed["subject"]) == ("late_labels", "failed_run", "arrivals")
    assert all(carrier in late["message"] for carrier in flights.REPORT_DAYS), (
        "those that report days later, and no other"
    )
    assert late["message"].count(" h") == len(flights.REPORT_DAYS) + 1


def test_both_faults_are_found_by_themselves_with_the_day_and_the_place(demo: dict[str, Any]) -> None:
    began = {incident["kind"]: (incident["began"][:10], incident["where"]) for incident in demo["view"]["incidents"]}
    when, where = began.pop("failed_run")
    assert (when, where["component"]) == (flights.RENAMED, "arrivals")
    ((when, where),) = began.values()
    assert (when, where["stream"], where["column"]) == (flights.TWELVE_HOURS, "ingest.flights", "hour")
    (hours,) = (i for i in demo["view"]["incidents"] if i["kind"] != "failed_run")
    assert hours["objectives"] == ["late-recall"]


def test_the_incidents_before_the_faults_are_few_and_over(demo: dict[str, Any]) -> None:
    with Store(demo["store"], "flights").reader.database.read() as connection:
        known = incidents.load(connection, "flights")
    past = [incident for incident in known if not incident.state.is_active]
    assert len(past) <= 16, "of a year of weather, holidays and storms; most are days without weather for some hours"


def test_a_check_in_the_demo_says_by_its_exit_code_that_an_incident_is_open(demo: dict[str, Any]) -> None:
    command = [str(Path(sys.executable).parent / "fourfold"), "check", "--json", "--store", str(demo["store"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=demo["store"].parent)
    assert (done.returncode, done.stderr) == (1, "")
    assert len(json.loads(done.stdout)["rows"]) == len(demo["view"]["incidents"])


def test_the_known_null_keys_are_found(demo: dict[str, Any]) -> None:
    (join,) = demo["view"]["joins"]
    nulls = {name: value["value"] * value["n"] for name, value in join["keys"]}
    assert nulls["tailnum"] == pytest.approx(2_500)


def test_metrics_of_the_flights_equal_scikit_learns(demo: dict[str, Any], joined: pd.DataFrame) -> None:
    store = Store(demo["store"], "flights")
    y, score = joined.late.astype(bool).to_numpy(), joined.score.to_numpy()
    decided = score >= 0.3
    exact = {
        "accuracy": sk.accuracy_score(y, decided), "precision": sk.precision_score(y, decided),
        "recall": sk.recall_score(y, decided), "f1": sk.f1_score(y, decided),
        "matthews_corrcoef": sk.matthews_corrcoef(y, decided), "log_loss": sk.log_loss(y, score),
        "brier_score_loss": sk.brier_score_loss(y, score),
    }  # fmt: skip
    assert {name: store.metric("late", name).value.value for name in exact} == pytest.approx(exact, abs=1e-9)
    near = {"roc_auc": sk.roc_auc_score(y, score), "average_precision": sk.average_precision_score(y, score)}
    assert {name: store.metric("late", name).value.value for name in near} == pytest.approx(near, abs=0.002)
    score = logged(demo, "predict").score.to_numpy()
    binning = store.reader.plan("predict").binnings["score"][0][1]
    for q in (0.01, 0.5, 0.99):
        exact_q = np.quantile(score, q, method="inverted_cdf")
        found = store.metric("predict.score", f"quantile({q})").value.value
        assert found == pytest.approx(exact_q, abs=0.008 * (abs(exact_q - binning.centre) + binning.scale))


def test_metrics_by_carrier_and_day_equal_those_of_each_group(demo: dict[str, Any], joined: pd.DataFrame) -> None:
    store = Store(demo["store"], "flights")
    by_carrier = store.metric("late", "recall", by="carrier")
    for row in by_carrier:
        part = joined[(joined.carrier == row.slice["carrier"]) & joined.late]
        if row.value.value is not None:
            assert row.value.value == pytest.approx((part.score >= 0.3).mean())
            assert row.value.n == len(part)
    assert len(by_carrier) == 16
    day = joined._ff_time.dt.floor("D")
    for row in list(store.metric("late", "accuracy", every="1d"))[10:20]:
        part = joined[day == row.window.start_time]
        assert row.value.value == pytest.approx(((part.score >= 0.3) == part.late).mean())


def test_labels_come_with_their_delay_and_cancelled_flights_never_get_one(
    demo: dict[str, Any], joined: pd.DataFrame
) -> None:
    store = Store(demo["store"], "flights")
    coverage = store.metric("late", "coverage").value
    assert coverage.value is not None
    assert 0.95 < coverage.value < 0.99
    delay = (joined._ff_time_label - joined._ff_time).dt.total_seconds()
    median = store.metric("late", "label_delay(0.5)").value.value
    assert median == pytest.approx(delay.median(), rel=0.01)
    slow = {row.slice["carrier"]: row.value.value for row in store.metric("late", "label_delay(0.5)", by="carrier")}
    assert (slow["MQ"] or 0) > 4 * 86_400 > 86_400 > (slow["UA"] or 0)
    statuses = [row.value.status for row in store.metric("late", "recall", every="4w")]
    assert (statuses[0], statuses[-1]) == (Status.SETTLED, Status.PROVISIONAL)


def test_a_year_by_day_and_carrier_is_answered_and_does_not_depend_on_the_number_of_records(
    demo: dict[str, Any],
) -> None:
    store = Store(demo["store"], "flights")
    started = time.perf_counter()
    found = store.metric("late", "recall", by="carrier", every="1d")
    assert time.perf_counter() - started < 10, "its speed is measured in bench/"
    assert len(found) == 16 * 274
