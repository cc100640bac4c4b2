"""One owner that cannot be counted keeps no other from it."""

from __future__ import annotations

import functools
import time
from typing import Any

import pytest

import fourfold as ff
from fourfold.engine import TooSlowError
from fourfold.errors import ConfigError
from fourfold.model import Owner
from fourfold.reports.problems import problems
from fourfold.sdk import Session
from fourfold.state import adding, catalogue
from fourfold.store import Store


@pytest.mark.parametrize(
    "sql", ["clicks // views", "CAST(9e18 AS BIGINT) * clicks", "regexp_matches(name, '(')", "name::INTEGER"]
)
def test_an_expression_that_fails_on_a_record_is_the_failure_of_its_slices_only(session: Session, sql: str) -> None:
    ff.task("t", prediction="p.score", label="l.y", slices=[{"name": "s", "sql": sql}])
    ff.log("p", key="a", score=0.5, clicks=1, views=2, name="1")
    ff.log("other", key="a", v=1)
    assert ff.metric("other", "rows").value.value == 1.0
    ff.log("p", key="b", score=0.5, clicks=7, views=0, name="x")
    ff.log("l", key="a", y=1)
    ff.log("other", key="b", v=1)
    for _ in range(2):
        assert ff.metric("other", "rows").value.value == 2.0
        assert ff.metric("t", "predictions").value.value == 2.0
    with pytest.raises(ConfigError):
        ff.metric("t", "predictions", by="s")
    assert session.store.reader.failures()


def test_what_cannot_be_counted_is_remembered_and_tried_again_later_and_later(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.ingest.failures.REST", 1e9)
    tried = []
    engine = session.store.reader.engine
    kept_slices = engine.kept_slices

    def counted(log: Any, dimension: Any, known: Any) -> Any:
        tried.append(str(dimension))
        return kept_slices(log, dimension, known)

    monkeypatch.setattr(engine, "kept_slices", counted)
    ff.task("t", prediction="p.score", label="l.y", slices=[{"name": "s", "sql": "name::INTEGER"}])
    ff.log("p", key="a", score=0.5, name="x")
    assert ff.metric("t", "predictions").value.value == 1.0
    first = tried.count("s")
    for i in range(3):
        ff.log("p", key=i, score=0.5, name="x")
        assert ff.metric("t", "predictions").value.value == i + 2
    assert tried.count("s") == first
    other = Store(session.store.place, "test")
    assert {job.dimension.names for job in other.reader.failures()} == {("s",)}
    assert not other.writer.pending()
    later = time.time() + 3_601
    monkeypatch.setattr("fourfold.ingest.failures.time.time", lambda: later)
    assert other.writer.pending()
    other.close()
    ff.metric("p", "rows")
    assert tried.count("s") > first
    with session.store.reader.database.read() as connection:
        assert {failure.tries for failure in catalogue.failures(connection, "test").values()} == {2}


def test_an_expression_that_takes_too_long_is_stopped_and_costs_no_other(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.engine.duckdb.connection.LEAST_SECONDS", 0.2)
    stopped, engine = [], session.store.reader.engine

    def counted(ask: Any, *given: Any) -> Any:
        try:
            return ask(*given)
        except TooSlowError as error:
            stopped.append(error)
            raise

    for name in ("kept_slices", "fold_stream", "fold_task"):
        monkeypatch.setattr(engine, name, functools.partial(counted, getattr(engine, name)))
    sql = "levenshtein(repeat(name, 1000), repeat(name || 'y', 999))"
    ff.task("t", prediction="p.score", label="l.y", slices=[{"name": "s", "sql": sql}])
    ff.log("p", [{"id": i, "score": 0.5, "name": f"n{i}" * 3} for i in range(2_000)], key="id")
    assert ff.metric("t", "predictions").value.value == 2_000.0
    with pytest.raises(ConfigError, match="took too long"):
        ff.metric("t", "predictions", by="s")
    with session.store.reader.database.read() as connection:
        known = catalogue.failures(connection, "test").values()
    assert len(known) == 2, "the stream's slices and the task's"
    assert len(stopped) == 1, "and it was tried once"


@pytest.mark.parametrize(
    "sql",
    [
        "1) UNION SELECT (2", "1) WHERE (true", "1) ORDER BY (1", "1) LIMIT (1", "1); SELECT (2", "?", "$1",
        "(SELECT 1)",
        "sum(x) OVER ()", "sum(x)", "random()", "read_text('/etc/passwd')", "query('select 1')", "COLUMNS(*)", "\ud800",
        "repeat(name, 1000000000)", "repeat(name, n)", "repeat(repeat(name, 999), 999)", "repeat(name, '1e9')",
        "printf('%1000000000d', n)", "list_sum(range(n))", "nope(name)",
        "format('{:>{}}', n, 500000000)", "printf('%*d', 1900000000, n)", "bitstring('1', 2000000000)",
        "replace(replace(name, 'a', 'aaaa'), 'a', 'aaaa')", "list_reduce([name, name], lambda a, b: a || b || a)",
        "list_transform(range(999), lambda a: range(999))",
    ],
)  # fmt: skip
def test_what_is_no_bounded_expression_of_one_record_is_refused_where_it_is_declared(
    session: Session, sql: str
) -> None:
    with pytest.raises(ConfigError, match=r"task .t.: slices: "):
        ff.task("t", prediction="p.score", label="l.y", slices=[{"name": "s", "sql": sql}])


def test_the_parameters_of_a_lambda_are_no_columns_and_the_case_of_a_column_does_not_matter(session: Session) -> None:
    slices = [
        {"name": "sum", "sql": "list_sum(list_transform(l, lambda x: x + 1))"},
        {"name": "case", "sql": "upper(CARRIER)"},
    ]
    ff.task("t", prediction="p.score", label="l.y", slices=slices)
    ff.log("p", key="a", score=0.5, l=[1, 2], carrier="aa")
    assert [row.slice for row in ff.metric("t", "predictions", by="sum")] == [{"sum": "5"}]
    assert [row.slice for row in ff.metric("t", "predictions", by="case")] == [{"case": "AA"}]


def test_a_column_that_no_record_has_is_told_with_the_nearest_name(session: Session) -> None:
    slices: list[Any] = ["carier", {"name": "far", "sql": "Distance > 1000 AND orign = 'JFK'"}, ["carrier", "origin"]]
    ff.task("t", prediction="p.scor", label="l.y", slices=slices)
    ff.log("p", key="a", score=0.5, carrier="AA", origin="JFK", distance=5)
    ff.log("l", key="a", y=1)
    ff.metric("p", "rows")
    told = [problem.message for problem in problems(session.store.caught_up()) if problem.kind == "missing_column"]
    assert told == [
        "prediction: no record of 'p' has a column 'scor'; did you mean 'score'?",
        "slices by carier: no record of 'p' has a column 'carier'; did you mean 'carrier'?",
        "slices by far: no record of 'p' has a column 'orign'; did you mean 'origin'?",
    ]


def test_counts_that_cannot_be_written_cost_no_other_owner_and_are_counted_once_when_they_can(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        ff.log(name, key=1, v=1)
    assert ff.metric("a", "rows").value.value == 1.0
    add_levels = adding.add_levels
    with monkeypatch.context() as patch:

        def failing(connection: Any, project: str, hourly: Any) -> Any:
            added = add_levels(connection, project, hourly)
            if Owner.of_stream("b") in hourly:
                raise ValueError("these cannot be")
            return added

        patch.setattr("fourfold.ingest.failures.REST", 0.0)
        patch.setattr(adding, "add_levels", failing)
        for name in ("a", "b", "c"):
            ff.log(name, key=2, v=1)
        for _ in range(2):
            assert ff.metric("a", "rows").value.value == 2.0
            assert ff.metric("c", "rows").value.value == 2.0
        failed = session.store.reader.database.recall(catalogue.failures, "test").values()
        assert {failure.reason for failure in failed} == {"stream b: ValueError: these cannot be"}
    assert ff.metric("b", "rows").value.value == 2.0
    assert not session.store.reader.database.recall(catalogue.failures, "test")
