"""A real Airflow that emits OpenLineage is watched: FOURFOLD_AIRFLOW names the programs' folder of its environment.

python -m venv airflow; airflow/bin/pip install apache-airflow apache-airflow-providers-openlineage
FOURFOLD_AIRFLOW=airflow/bin pytest --services tests/test_airflow.py
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from fourfold.model import RunStatus
from fourfold.state import runs
from fourfold.store import Store
from tests.collectors import collector

PROGRAMS = os.environ.get("FOURFOLD_AIRFLOW", "")
pytestmark = [pytest.mark.services, pytest.mark.skipif(not PROGRAMS, reason="FOURFOLD_AIRFLOW names no Airflow")]
DAG = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(dag_id="etl", schedule=None, start_date=datetime(2024, 1, 1), catchup=False)
def etl():
    @task
    def load():
        return 3

    @task
    def train(n):
        raise ValueError("out of memory")

    train(load())

etl()
"""


def test_a_dag_that_fails_is_seen_with_its_tasks_and_the_error(tmp_path: Path) -> None:
    home, folder = tmp_path / "airflow", tmp_path / "store"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "etl.py").write_text(DAG)
    with collector(folder, "--project", "flights") as (_, address):
        transport = {"type": "http", "url": address, "endpoint": "api/v1/lineage"}
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__OPENLINEAGE__NAMESPACE": "airflow",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        }  # fmt: skip
        for command, succeeds in (("db migrate", True), ("dags test etl", False)):
            program = [str(Path(PROGRAMS, "airflow").absolute()), *command.split()]
            ended = subprocess.run(program, cwd=home, env=environment, capture_output=True, text=True)
            assert (ended.returncode == 0) == succeeds, ended.stderr[-2_000:]
    with contextlib.closing(Store(str(folder), "flights")) as store:
        store.writer.catch_up()
        with store.writer.database.read() as connection:
            found = {run.component: run for run in runs.recent(connection, "flights", limit=100)}
    assert {name: run.status for name, run in found.items()} == {
        "airflow/etl": RunStatus.FAILED, "airflow/etl.load": RunStatus.SUCCEEDED, "airflow/etl.train": RunStatus.FAILED,
    }  # fmt: skip
    assert found["airflow/etl.train"].parent == found["airflow/etl.load"].parent == found["airflow/etl"].id
    assert "ValueError: out of memory" in (found["airflow/etl.train"].error or "")
