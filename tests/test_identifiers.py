"""Columns of which nearly all values are distinct are known by their number of values, not by each of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from alembic import command

import fourfold as ff
from fourfold import config, counts
from fourfold.counts import KINDS
from fourfold.fold import NEVER, Plan, fold, plan_columns
from fourfold.log import messages
from fourfold.metrics.quality import distinct
from fourfold.model import DAY, Owner, Run, RunStatus
from fourfold.reports.streams import columns
from fourfold.reports.trace import trace
from fourfold.state import catalogue
from fourfold.state.database import alembic_config
from fourfold.store import Store
from tests.support import START, Sender, comparable, stored

N = 600


def test_a_column_of_distinct_values_is_an_identifier_from_the_first_batch_on() -> None:
    table = pa.table({
        "id": [None, *(f"id-{i}" for i in range(N - 1))],
        "city": [f"c{i % 300}" for i in range(N)],  # many values, each twice
        "flag": [i % 2 == 0 for i in range(N)],
        "few": [f"few-{i}" if i < 400 else None for i in range(N)],  # too few values to tell
    })  # fmt: skip
    plan = plan_columns(table, Plan())
    assert {name for name in table.column_names if plan.identifier(name)} == {"id"}
    assert plan.identifiers["city"] == plan.identifiers["few"] == NEVER
    found = {c.column: c for c in counts.rows(fold(table), plan.by_version()) if c.kind == "category"}
    assert dict(zip(KINDS["category"].tallies, found["id"].tallies, strict=True)) == {
        "rows": N, "null": 1, "other": N - 1,
    }  # fmt: skip
    assert found["id"].labels == [] and len(found["city"].labels) == 256
    value = distinct(found["id"])
    assert value.low is not None and value.high is not None and value.low <= N - 1 <= value.high


def test_an_identifier_adds_up_like_any_column() -> None:
    table = pa.table({"id": [f"id-{i}" if i % 7 else None for i in range(2 * N)]})
    plan = plan_columns(table, Plan())
    whole = comparable(counts.add(fold(table, plan=plan)))
    parts = [fold(table.slice(i * 100, 100), plan=plan) for i in range(2 * N // 100)]
    assert comparable(counts.add(*parts)) == whole
    assert counts.drop_zero(counts.add(*parts, counts.negate(fold(table, plan=plan)))).num_rows == 0


def test_a_stream_in_small_batches_is_recognised_and_corrected_as_it_was_counted(store: Store) -> None:
    sender = Sender(store)
    for day in range(3):
        for part in range(6):
            sender.records("s", [record(day, part * 100 + i) for i in range(100)])
            store.writer.catch_up()
    with store.reader.database.read() as connection:
        assert catalogue.identifiers(connection, "test", Owner.of_stream("s")) == {"id": START + DAY, "side": NEVER}
    by_day = {row["bucket"]: row for row in stored(store, Owner.of_stream("s")).to_pylist() if row["column"] == "id"}
    assert [len(by_day[START + day * DAY]["labels"]) for day in range(3)] == [256, 0, 0]
    assert [by_day[START + day * DAY]["tallies"] for day in range(3)] == [[600, 0, 344], [600, 0, 600], [600, 0, 600]]
    store.writer.delete("s", [f"{day}-{i}" for day in range(3) for i in range(N) if i % 2])
    left = {row["bucket"]: row for row in stored(store, Owner.of_stream("s")).to_pylist() if row["column"] == "id"}
    assert [row["tallies"][0] for row in left.values()] == [300, 300, 300]
    assert [sum(row["counts"]) + row["tallies"][2] for row in left.values()] == [300, 300, 300]
    assert all(min(row["counts"], default=1) > 0 for row in left.values())


def test_metrics_that_need_the_values_say_that_there_are_none(store: Store) -> None:
    sender = Sender(store)
    sender.records("s", [record(day, i) for day in range(2) for i in range(N)])
    found = store.metric("s.id", "population_stability_index", every="1d")
    assert [row.value.reason for row in found][-1].startswith("an identifier: nearly all values are distinct")
    assert store.metric("s.id", "null_rate").value.value == 0.0
    assert store.metric("s.side", "population_stability_index", every="1d")[-1].value.value is not None
    kinds = {view.name: view.kind for view in columns(store.caught_up(), "s")}
    assert kinds == {"id": "identifier", "side": "category"}
    values = {v.column: v for v in trace(store.caught_up(), "0-5").steps[0].values}
    assert values["id"].position is None and values["side"].position == 0.5


def test_slices_by_an_identifier_are_those_of_its_first_values(store: Store) -> None:
    sender = Sender(store)
    sender.task(config.make_task("t", prediction="s.score", label="l.y", slices=["id"]))
    sender.records("s", [{**record(0, i), "score": 0.5} for i in range(N)])
    found = store.metric("t", "predictions", by="id")
    assert len(found) == 201
    assert next(row.value.value for row in found if row.slice["id"] == "(other)") == N - 200


def test_a_component_that_passes_on_identifiers_tells_the_store(tmp_path: Path) -> None:
    import pandas as pd

    ff.init(tmp_path / "store", "p")
    for day in range(2):
        with ff.run("make", at=f"2024-01-0{1 + day}") as run:
            run.output("frame", pd.DataFrame({"id": [f"{day}-{i}" for i in range(N)]}))
    ff.flush()
    opened = Store(tmp_path / "store", "p")
    opened.writer.catch_up()
    (view,) = columns(opened.caught_up(), "make.frame")
    assert view.kind == "identifier" and view.values["distinct"].value is not None
    assert stored(opened, Owner.of_stream("make.frame"))["labels"].to_pylist()[0] == []


def test_a_header_without_identifiers_is_understood() -> None:
    run = Run("r", "c", RunStatus.RUNNING, 0.0)
    header = messages.counted("p", "c.out", run, Plan(identifiers={"id": -5}))
    assert messages.decode(header).identifiers == {"id": -5}  # type: ignore[union-attr]
    del header["identifiers"]  # as older versions sent it
    assert messages.decode(header).identifiers == {}  # type: ignore[union-attr]


def test_what_was_counted_before_identifiers_were_known_stays_by_value(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", "test")
    Sender(store).records("s", [record(0, i) for i in range(10)])
    store.writer.catch_up()
    store.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'store' / 'state.db'}")
    with engine.begin() as connection:  # as the state was before
        command.downgrade(alembic_config(connection), "0003")
    engine.dispose()
    store = Store(tmp_path / "store", "test")
    Sender(store).records("s", [record(0, 10 + i) for i in range(N)])
    store.writer.catch_up()
    with store.reader.database.read() as connection:
        assert catalogue.identifiers(connection, "test", Owner.of_stream("s")) == {"id": START + DAY, "side": NEVER}


def record(day: int, i: int) -> dict[str, object]:
    place = {"key": f"{day}-{i}", "time": START + day * DAY + i, "log_time": START}
    return {**place, "id": f"v-{day}-{i}", "side": "ab"[i % 2]}
