"""OpenLineage events become runs with their failures, lineage and column metrics, in whatever order they come."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    JobEvent,
    OutputDataset,
    RunEvent,
    RunState,
)
from openlineage.client.event_v2 import (
    Run as LineageRun,
)
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    error_message_run,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
    sql_job,
)
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpCompression, HttpConfig, HttpTransport

from fourfold.errors import InputError
from fourfold.integrations.openlineage import run_of
from fourfold.model import Run, RunStatus
from fourfold.model.access import Role
from fourfold.serve.service import Reach
from fourfold.state import open_state, runs, tokens
from fourfold.store import Store
from tests.collectors import collector
from tests.test_serve import Served, serving

LINEAGE = "/api/v1/lineage"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path / "store", Reach())


def known(folder: Path) -> tuple[dict[str, Run], list[tuple[str, str, str]]]:
    """The runs by their component, and what feeds what."""
    with contextlib.closing(Store(str(folder), "flights")) as store:
        store.writer.catch_up()
        assert not store.writer.quarantined()
        with store.writer.database.read() as connection:
            found = {run.component: run for run in runs.recent(connection, "flights", limit=100)}
            return found, runs.edges(connection, "flights")


def event(kind: str | None, minute: int, job: str = "load", run: str = "r1", **more: Any) -> dict[str, Any]:
    """An event as JSON."""
    return {
        "eventTime": f"2024-05-01T12:{minute:02d}:00.123456789Z", "producer": "https://example.org",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run}, "job": {"namespace": "etl", "name": job},
        **({"eventType": kind} if kind else {}), **more,
    }  # fmt: skip


def dataset(name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": "postgres://db", "name": name, **facets}


QUALITY = {
    "rowCount": 200, "bytes": 4096,
    "columnMetrics": {"delay": {"nullCount": 50, "min": -3, "max": 90.5, "quantiles": {"0.5": 7}, "sum": None}},
}  # fmt: skip
STORY = [
    event("START", 0, inputs=[dataset("flights")]),
    event("RUNNING", 1, inputs=[dataset("flights", inputFacets={"dataQualityMetrics": QUALITY})]),
    event("COMPLETE", 5, outputs=[dataset("delays", outputFacets={"outputStatistics": {"rowCount": 150}})]),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_events_add_up_in_whatever_order_they_come_and_however_often(served: Served, order: tuple[int, ...]) -> None:
    for place in (*order, *order[::-1]):
        assert served.client.post(LINEAGE, json=STORY[place]).status_code == 200
        if random.Random(place).random() < 0.5:
            known(served.folder)
    found, _ = known(served.folder)
    run = found["etl/load"]
    assert run.status is RunStatus.SUCCEEDED and run.duration == 300.0
    assert {(a.direction, a.name, a.rows) for a in run.artifacts} == {
        ("input", "postgres://db/flights", 200), ("output", "postgres://db/delays", 150),
    }  # fmt: skip
    column = "postgres://db/flights.delay"
    assert run.metrics == {
        "postgres://db/flights.rows": 200, "postgres://db/flights.bytes": 4096, f"{column}.null_count": 50,
        f"{column}.null_rate": 0.25, f"{column}.min": -3, f"{column}.max": 90.5, f"{column}.quantile(0.5)": 7,
        "postgres://db/delays.rows": 150,
    }  # fmt: skip


def test_jobs_are_linked_by_the_datasets_that_they_share(served: Served) -> None:
    batch = [
        event("COMPLETE", 1, "extract", "a", outputs=[dataset("flights")]),
        event("COMPLETE", 2, "train", "b", inputs=[dataset("flights")], outputs=[dataset("model")]),
        event("COMPLETE", 3, "predict", "c", inputs=[dataset("model"), dataset("flights")]),
        {"job": {"namespace": "etl", "name": "x"}, "eventTime": "2024-05-01T12:00:00Z"},
        {"dataset": dataset("y"), "eventTime": "2024-05-01T12:00:00Z"},
    ]
    assert served.client.post(f"{LINEAGE}/batch", json=batch).json() == {"taken": 3, "ignored": 2}
    _, edges = known(served.folder)
    assert {(up, down) for up, down, _ in edges} == {
        ("etl/extract", "etl/train"), ("etl/extract", "etl/predict"), ("etl/train", "etl/predict"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["FAIL", "ABORT"])
def test_a_run_that_failed_says_why_and_stays_failed(served: Served, kind: str) -> None:
    facet = {"errorMessage": {"message": "no such table", "stackTrace": "at line 7"}}
    ended = event(kind, 3, run="x")
    ended["run"] = {"runId": "x", "facets": facet if kind == "FAIL" else {}}
    for sent in (ended, event("START", 0, run="x"), event("RUNNING", 9, run="x"), event(None, 9, run="x")):
        assert served.client.post(LINEAGE, json=sent).status_code == 200
    run = known(served.folder)[0]["etl/load"]
    assert run.status is RunStatus.FAILED and run.duration == 180.0
    assert run.error == ("no such table\nat line 7" if kind == "FAIL" else "it was aborted")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FACETS = st.dictionaries(
    st.sampled_from(
        ["parent", "nominalTime", "errorMessage", "processing_engine", "dataQualityMetrics", "outputStatistics",
         "schema", "columnLineage", "dataQualityAssertions", "version", "sql", "jobType"]
    ), JSON | st.dictionaries(st.sampled_from(["rowCount", "columnMetrics", "fields", "run", "assertions"]), JSON),
)  # fmt: skip


@given(FACETS, FACETS, FACETS)
def test_facets_of_any_form_cost_no_event(of_run: Any, of_job: Any, of_dataset: Any) -> None:
    of_run.pop("nominalTime", None)
    sent = event("COMPLETE", 0, inputs=[dataset("x", facets=of_dataset, inputFacets=of_dataset)])
    sent["run"]["facets"], sent["job"]["facets"] = of_run, of_job
    run = run_of(sent)
    assert run is not None and json.dumps(run.metrics, allow_nan=False) and json.dumps(run.artifacts[0].details)


@pytest.mark.parametrize(
    "wrong",
    [
        7, {}, {"run": {}}, event("BEGUN", 0), {**event("START", 0), "eventTime": "soon"},
        {**event("START", 0), "eventTime": 1e300}, {**event("START", 0), "run": {"runId": ""}},
        {**event("START", 0), "job": {"name": "x"}}, event("START", 0, inputs={}), event("START", 0, outputs=[7]),
        event("START", 0, outputs=[{"name": "x"}]),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        run_of(wrong)


@pytest.mark.services
def test_the_client_of_openlineage_names_the_project_by_the_variable_of_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    with contextlib.closing(open_state("", folder)) as database, database.write() as connection:
        _, secret = tokens.create(connection, "dagster", Role.INGEST, [], 0.0)
    with collector(folder) as (_, address):
        named = {"URL": address, "API_KEY": secret, "ENDPOINT": "api/v1/lineage?project=flights"}
        given = {name: value for name, value in os.environ.items() if not name.startswith("OPENLINEAGE")}
        given |= {f"OPENLINEAGE_{name}": value for name, value in named.items()}
        monkeypatch.setattr(os, "environ", given)  # the client adds to it
        client = OpenLineageClient()
        client.emit(
            RunEvent(
                eventType=RunState.FAIL, eventTime="2024-05-01T12:00:00Z", run=LineageRun(str(uuid.uuid4())),
                job=Job("dagster", "load"), producer="https://example.org",
            )
        )  # fmt: skip
        client.close()
    (run,) = known(folder)[0].values()
    assert (run.component, run.outcome) == ("dagster/load", "failed: no error message was reported")


@pytest.mark.services
@pytest.mark.parametrize("compression", [None, HttpCompression.GZIP])
def test_the_client_of_openlineage_is_understood(tmp_path: Path, compression: HttpCompression | None) -> None:
    folder = tmp_path / "store"
    with contextlib.closing(open_state("", folder)) as database, database.write() as connection:
        _, secret = tokens.create(connection, "airflow", Role.INGEST, ["flights"], 0.0)
    with collector(folder) as (_, address):
        config = HttpConfig(
            url=address, auth=ApiKeyTokenProvider({"apiKey": secret}), compression=compression, retry={"total": 0}
        )
        client = OpenLineageClient(transport=HttpTransport(config))
        ids = {name: str(uuid.uuid4()) for name in ("dag", "load", "train")}
        producer, table = "https://example.org", "public.flights"

        def emit(kind: RunState, name: str, at: str, run: Any = None, job: Any = None, **sets: Any) -> None:
            client.emit(
                RunEvent(
                    eventType=kind, eventTime=f"2024-05-01T12:{at}:00Z", run=LineageRun(ids[name], run or {}),
                    job=Job("airflow", name, job or {}), producer=producer, **sets,
                )
            )  # fmt: skip

        parent = {"parent": parent_run.ParentRunFacet(parent_run.Run(ids["dag"]), parent_run.Job("airflow", "dag"))}
        times = {"nominalTime": nominal_time_run.NominalTimeRunFacet("2024-05-01T00:00:00Z")}
        emit(RunState.START, "dag", "00", times)
        emit(RunState.START, "load", "01", parent, {"sql": sql_job.SQLJobFacet("select 1")})
        fields = [schema_dataset.SchemaDatasetFacetFields("delay", "int")]
        written_to = OutputDataset(
            "postgres://db", table,
            facets={"schema": schema_dataset.SchemaDatasetFacet(fields)},
            outputFacets={
                "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=99)
            },
        )  # fmt: skip
        emit(RunState.COMPLETE, "load", "02", outputs=[written_to])
        quality = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
            rowCount=99,
            columnMetrics={"delay": data_quality_metrics_input_dataset.ColumnMetrics(nullCount=33, distinctCount=4)},
        )
        passed = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            [data_quality_assertions_dataset.Assertion("not_null", False, "delay")]
        )
        read = InputDataset(
            "postgres://db", table, inputFacets={"dataQualityMetrics": quality, "dataQualityAssertions": passed}
        )
        emit(RunState.START, "train", "03", parent, inputs=[read])
        failed = {"errorMessage": error_message_run.ErrorMessageRunFacet("out of memory", "python", "Traceback …")}
        emit(RunState.FAIL, "train", "04", failed)
        emit(RunState.COMPLETE, "dag", "05")
        client.emit(JobEvent(eventTime="2024-05-01T12:00:00Z", producer=producer, job=Job("airflow", "unused")))
    found, edges = known(folder)
    assert {name: run.status for name, run in found.items()} == {
        "airflow/dag": RunStatus.SUCCEEDED, "airflow/load": RunStatus.SUCCEEDED, "airflow/train": RunStatus.FAILED,
    }  # fmt: skip
    assert found["airflow/train"].parent == found["airflow/load"].parent == ids["dag"]
    assert (found["airflow/train"].error or "").startswith("out of memory")
    assert found["airflow/dag"].at == 1_714_521_600.0
    column = f"postgres://db/{table}.delay"
    assert found["airflow/train"].metrics[f"{column}.null_rate"] == pytest.approx(1 / 3)
    assert found["airflow/train"].metrics[f"{column}.not_null"] == 0.0
    [output] = found["airflow/load"].artifacts
    assert output.rows == 99 and output.details["fields"] == {"delay": "int"}
    assert [(up, down) for up, down, _ in edges] == [("airflow/load", "airflow/train")]
