"""A run's id is its project's own; and of several runs in a message, one that cannot be taken costs no other."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import fourfold as ff
from fourfold.config import Settings
from fourfold.errors import StoreError
from fourfold.ingest import apart
from fourfold.ingest.retry import retry
from fourfold.log import Quarantine, messages
from fourfold.log.wire import parsed, written
from fourfold.model import Run, RunStatus
from fourfold.serve.app import application
from fourfold.serve.service import Reach, Service
from fourfold.state import runs
from fourfold.store import Store
from tests.services import Chosen, place
from tests.support import START, Sender
from tests.test_openlineage import dataset, event
from tests.test_serve import HOME, Served

PROJECTS = ("a", "b")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    where = place(tmp_path / "store")
    service = Service(Settings(where.store, "flights", state=where.state), Reach())
    with TestClient(application(service), base_url=HOME) as client:
        yield Served(service, client, tmp_path / "store")


def known(folder: Path, project: str) -> dict[str, Run]:
    """A project's runs by their id; nothing is in quarantine."""
    with contextlib.closing(Store(place(folder), project)) as store:
        store.writer.catch_up()
        assert not store.writer.quarantined()
        return {run.id: run for run in store.reader.recall(runs.recent, None, 100)}


def feeds(folder: Path, project: str) -> list[tuple[str, str, str]]:
    with contextlib.closing(Store(place(folder), project)) as store:
        found: list[tuple[str, str, str]] = store.reader.recall(runs.edges)
        return found


def made(project: str, direction: str = "output") -> list[dict[str, Any]]:
    return [{"name": f"model {project}", "direction": direction, "fingerprint": "the same", "rows": len(project)}]


# two projects, one id ------------------------------------------------------------------------------------------------


def test_runs_that_are_reported_under_the_same_id_are_each_projects_own(served: Served) -> None:
    def report(project: str, *several: dict[str, Any]) -> None:
        answer = served.client.post(f"/v1/runs?project={project}", json=several)
        assert answer.json() == {"taken": len(several)}

    report("a", {"id": "r1", "component": "train", "artifacts": made("a")})
    report("b", {"id": "good1", "component": "etl"}, {"id": "r1", "component": "fit", "status": "failed",
                 "artifacts": made("b")}, {"id": "good2", "component": "etl"})  # fmt: skip
    report("b", {"id": "use", "component": "predict", "artifacts": made("b", "input")})
    report("a", {"id": "r1", "component": "train", "status": "succeeded", "params": {"depth": 6}})
    of_a, of_b = (known(served.folder, project) for project in PROJECTS)
    assert set(of_a) == {"r1"} and set(of_b) == {"good1", "good2", "r1", "use"}
    assert (of_a["r1"].component, of_a["r1"].status, of_a["r1"].params) == (
        "train", RunStatus.SUCCEEDED, {"depth": 6}
    )  # fmt: skip
    assert (of_b["r1"].component, of_b["r1"].status, of_b["r1"].params) == ("fit", RunStatus.FAILED, {})
    assert [a.name for a in of_a["r1"].artifacts] == ["model a"]
    assert [a.name for a in of_b["r1"].artifacts] == ["model b"]
    assert feeds(served.folder, "a") == [] and feeds(served.folder, "b") == [("fit", "predict", "model b")]
    for project, component in (("a", "train"), ("b", "fit")):
        (row,) = served.client.get(f"/api/runs?project={project}&run=r1").json()["data"]["rows"]
        assert (row["id"], row["component"]) == ("r1", component)


def test_lineage_events_of_the_same_run_id_are_each_projects_own(served: Served) -> None:
    child = {"parent": {"run": {"runId": "r1"}, "job": {"namespace": "etl", "name": "dag"}}}
    for project, kind in (("a", "COMPLETE"), ("b", "FAIL")):
        batch = [
            event(kind, 1, f"extract {project}", "r1", outputs=[dataset("flights")]),
            event("COMPLETE", 2, "train", "r2", inputs=[dataset("flights")]),
            {**event("COMPLETE", 3, "step", "r3"), "run": {"runId": "r3", "facets": child}},
        ]
        answer = served.client.post(f"/api/v1/lineage/batch?project={project}", json=batch)
        assert answer.status_code == 200, answer.text
    for project, status in (("a", RunStatus.SUCCEEDED), ("b", RunStatus.FAILED)):
        found = known(served.folder, project)
        assert {id_: run.component for id_, run in found.items()} == {
            "r1": f"etl/extract {project}", "r2": "etl/train", "r3": "etl/step",
        }  # fmt: skip
        assert found["r1"].status is status and found["r3"].parent == "r1"
        assert feeds(served.folder, project) == [(f"etl/extract {project}", "etl/train", "postgres://db/flights")]


def test_runs_of_the_sdk_with_the_same_id_are_each_projects_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    for project in PROJECTS:
        session = ff.init(tmp_path / "store", project)
        with ff.run(f"score {project}", params={"of": project}) as run:
            run.output("model", {"of": project})
            ff.log("predict", key="k", score=0.5)
        ff.flush()
        (step,) = ff.trace("k").steps
        assert step.run is not None and step.run.component == f"score {project}"
        session.close()
    for project in PROJECTS:
        (found,) = known(tmp_path / "store", project).values()
        assert (found.id, found.component, found.params) == (
            uuid.UUID(int=1).hex, f"score {project}", {"of": project}
        )  # fmt: skip


def test_a_run_that_is_lost_in_one_project_goes_on_in_the_other(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for project, process in (("a", child), ("b", os.getpid())):
        with contextlib.closing(Store(place(tmp_path / "store"), project)) as store:
            run = Run("r1", "serve", RunStatus.RUNNING, START, host=os.uname().nodename, process=process)
            with store.writer.database.write() as connection:
                runs.save(connection, project, run)
    assert known(tmp_path / "store", "a")["r1"].status is RunStatus.LOST
    assert known(tmp_path / "store", "b")["r1"].status is RunStatus.RUNNING


def test_what_one_project_forgets_the_other_keeps(tmp_path: Path) -> None:
    for project in PROJECTS:
        with contextlib.closing(Store(place(tmp_path / "store"), project)) as store:
            Sender(store).records("p", [{"key": "needle", "time": START, "log_time": START, "v": 1.0}])
            with store.writer.database.write() as connection:
                runs.save(connection, project, Run("r1", project, RunStatus.SUCCEEDED, 1.0, params={"of": "needle"}))
            assert store.metric("p", "rows").value.value == 1.0
    with contextlib.closing(Store(place(tmp_path / "store"), "a")) as store:
        done = store.writer.forget_keys(["needle"])
    assert dict(done.records) == {"p": 1}
    assert [left for left in done.left if left.startswith("run ")] == [
        "run r1 mentions a key: it is kept with its parameters and error"
    ]
    with contextlib.closing(Store(place(tmp_path / "store"), "b")) as store:
        assert store.metric("p", "rows").value.value == 1.0
        assert store.reader.recall(runs.recent)[0].component == "b"


# one run of several --------------------------------------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "started": "abc", "ended": float("nan"), "at": [], "seen": float("inf"), "id": "", "component": None,
    "status": "odd", "process": 2**40, "host": 5, "error": {}, "params": [1], "metrics": {"auc": "high"},
    "artifacts": [{"name": "x", "direction": "sideways", "kind": "frame", "fingerprint": "f"}], "colour": "red",
}  # fmt: skip


def text(id_: str, **more: Any) -> str:
    return json.dumps({**json.loads(messages.run_text(Run(id_, "train", RunStatus.SUCCEEDED, 1.0, 2.0))), **more})


def put(store: Store, header: messages.Header) -> str:
    return Sender(store).inbox.put("writer", 7, header)


def ids(store: Store) -> list[str]:
    store.writer.catch_up()
    return sorted(run.id for run in store.reader.recall(runs.recent))


@pytest.mark.parametrize("kind", [messages.runs, messages.reported])
@pytest.mark.parametrize("field", WRONG)
def test_a_run_that_is_wrong_costs_no_other_run_of_its_message(store: Store, field: str, kind: Any) -> None:
    header = kind("test", [text("r1"), text("r2", **{field: WRONG[field]}), text("r3")])
    Sender(store).records("p", [{"key": "k", "time": START, "log_time": START, "v": 1.0}])
    put(store, header)
    assert ids(store) == ["r1", "r3"]
    (entry,) = store.writer.quarantined()
    assert ("r2" in entry.reason or field == "id") and (field in entry.reason or field in ("status", "artifacts"))
    assert entry.project == "test"
    assert parsed(entry.batch, entry.message.read_bytes(), "it").header["runs"] == header["runs"][1:2]
    assert not store.reader.waiting() and store.metric("p", "rows").value.value == 1.0


def test_what_was_put_right_is_taken_and_what_is_sent_again_is_not_taken_twice(store: Store) -> None:
    header = messages.reported("test", [text("r1"), text("r2", started=None), text("r3"), "[", text("r4", rows=1)])
    put(store, header)
    assert ids(store) == ["r1", "r3"]
    (entry,) = store.writer.quarantined()
    put(store, header)
    assert ids(store) == ["r1", "r3"]
    assert [found.taken for found in retry(store.writer)] == [False]
    (entry,) = store.writer.quarantined()
    entry.message.write_bytes(written(messages.reported("test", [text("r2"), "[", text("r4")])))
    assert [found.taken for found in retry(store.writer)] == [True]
    assert ids(store) == ["r1", "r2", "r3", "r4"]
    (left,) = store.writer.quarantined()
    assert parsed(left.batch, left.message.read_bytes(), "it").header["runs"] == ["["]


def test_a_message_whose_runs_are_all_wrong_is_kept_whole(store: Store) -> None:
    name = put(store, messages.runs("test\ud800", [text(f"r{i}", started="abc") for i in range(20)]))
    assert ids(store) == []
    (entry,) = store.writer.quarantined()
    assert entry.batch == name and entry.reason.endswith("and 15 more")


def test_a_run_that_the_state_refuses_costs_no_other_run_of_its_message(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = runs.save

    def refuses(connection: Any, project: str, record: Run) -> None:
        wrong: dict[str, Any] = {"started": None} if record.id == "r2" else {}
        save(connection, project, dataclasses.replace(record, **wrong))

    with monkeypatch.context() as patched:
        patched.setattr(runs, "save", refuses)
        put(store, messages.runs("test", [text("r1"), text("r2"), text("r3")]))
        Sender(store).inbox.put("other", 1, messages.runs("test", [text("r4")]))
        assert ids(store) == ["r1", "r3", "r4"]
    (entry,) = store.writer.quarantined()
    assert "'r2'" in entry.reason and "started" in entry.reason
    assert [found.taken for found in retry(store.writer)] == [True]
    assert ids(store) == ["r1", "r2", "r3", "r4"]


def test_names_that_the_state_cannot_hold_stop_nothing(store: Store) -> None:
    long = secrets.token_hex(8_000)  # which an index of PostgreSQL does not take
    put(store, messages.reported("test", [text("r1"), text(long), text("r3")]))
    rows = [{"key": "k", "time": START, "log_time": START, "v": 1.0}]
    for stream in (long[:3_000], "p"):
        Sender(store).records(stream, rows)
    assert {"r1", "r3"} <= set(ids(store)) <= {"r1", "r3", long}
    assert store.metric("p", "rows").value.value == 1.0
    assert not store.reader.waiting()
    if Chosen.state == "postgresql":
        assert sorted(entry.stream for entry in store.writer.quarantined()) == [long[:3_000], "inbox"]


def test_a_message_waits_while_its_wrong_run_cannot_be_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    put(store, messages.runs("test", [text("r1"), text("r2", started="abc"), text("r3")]))
    with monkeypatch.context() as patched:
        patched.setattr(Quarantine, "keep_message", full)
        assert ids(store) == []
        assert len(store.reader.waiting()) == 1
    with contextlib.closing(Store(place(Path(store.folder)), "test")) as again:
        assert ids(again) == ["r1", "r3"]
        assert len(again.writer.quarantined()) == 1


def test_what_older_versions_sent_is_taken(store: Store) -> None:
    found: dict[str, Any] = {"direction": "output", "kind": "model", "fingerprint": "f", "rows": None, "details": {}}
    several = [text("r1", artifacts=[{**found, "name": 5}, {**found, "name": None}, {**found, "name": "m"}])]
    put(store, messages.runs("test", [*several, *(text(f"r{i}") for i in (2, 3))]))
    assert ids(store) == ["r1", "r2", "r3"]
    assert [a.name for a in store.reader.recall(runs.by_id, ("r1",))["r1"].artifacts] == ["5", "m", "null"]


def test_what_a_run_is_called_is_told_whatever_it_is() -> None:
    for run in (None, 5, "[" * 100_000, "[]", '{"id": []}', "\ud800"):
        parts = messages.apart({"kind": "runs", "project": "p", "runs": [run, text("r1")]})
        with pytest.raises(messages.UnreadableMessageError):
            messages.decode(parts[0])
        assert apart.told([apart.Refused(parts[0], "x")]) == "runs cannot be taken: x"
