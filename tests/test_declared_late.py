"""What is declared late is counted from the start: in pieces, resumable, while questions are answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.ingest import counting, writer
from fourfold.metrics.custom import REGISTERED
from fourfold.model import Owner
from fourfold.reports.problems import problems
from fourfold.sdk import Session
from fourfold.state import catalogue
from fourfold.store import Store
from tests.services import place
from tests.support import Sender, close, comparable, in_pieces_of, stored

N = 1_200
RANDOM = np.random.default_rng(12)
START = pd.Timestamp("2024-03-01", tz="UTC")


def log_all() -> pd.DataFrame:
    random = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(N)],
            "at": START + pd.to_timedelta(np.arange(N) % 20, unit="D"),
            "score": random.random(N),
            "amount": random.gamma(2.0, 50.0, N),
            "city": random.choice(["Oslo", "Rome", "Ürümqi'"], N),
            "model": random.choice(["a", "b"], N),
            "truth": random.random(N) < 0.5,
        }
    )
    for part in np.array_split(np.arange(N), 6):
        ff.log("predict", frame.iloc[part].drop(columns="truth"), key="id", time="at")
        ff.log("labels", frame.iloc[part][["id", "at", "truth"]], key="id", time="at")
    return frame


def declare(**more: object) -> None:
    ff.task("t", prediction="predict.score", label="labels.truth", version="model", **more)  # type: ignore[arg-type]


def test_slices_of_every_form_are_counted_from_the_start_in_pieces(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = log_all()
    declare()
    assert ff.metric("t", "predictions").value.value == N
    in_pieces_of(300, monkeypatch)
    monkeypatch.setattr(writer, "_AT_A_TIME", 0.0)
    slices = ["city", {"column": "amount", "buckets": 4}, {"name": "dear", "sql": "amount > 100"},
              ["city", {"name": "dear", "sql": "amount > 100"}]]  # fmt: skip
    declare(slices=slices)
    session.flush()
    session.store.writer.collect()
    shares: list[float] = []
    session.store.writer.fold(shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 3
    right = (frame.score >= 0.5) == frame.truth
    for by, of in (("city", frame.city), ("dear", (frame.amount > 100).astype(str).str.lower())):
        found = {row.slice[by]: row.value.value for row in ff.metric("t", "accuracy", by=by)}
        assert found == pytest.approx(right.groupby(of).mean().to_dict())
    quartiles = ff.metric("t", "predictions", by="amount")
    assert [row.value.value for row in quartiles] == [N / 4] * 4
    crossed = ff.metric("t", "predictions", by=["dear", "city"])
    assert len(crossed) == 6 and sum(row.value.value or 0 for row in crossed) == N


def test_an_interrupted_first_count_goes_on_where_it_was(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_all()
    declare()
    session.flush()
    session.store.writer.catch_up()
    in_pieces_of(300, monkeypatch)
    declare(slices=["city"])
    session.flush()
    session.store.writer.collect()
    assert not session.store.writer._fold(0.0), "one piece only"
    first = session.store.reader.progress(Owner.of_task("t"))
    assert first and all(0 < share < 1 for share in first.values())
    session.store.close()

    again = Store(place(tmp_path / "store"), "test")  # as after a crash
    again.writer.fold()
    monkeypatch.undo()  # all at once
    whole = Store(place(tmp_path / "whole"), "test")
    session.close()
    fresh = ff.init(tmp_path / "whole", "test", state=whole.place.state or None)
    declare(slices=["city"])
    log_all()
    fresh.flush()
    whole.writer.fold()
    assert close(comparable(stored(again, Owner.of_task("t"))), comparable(stored(whole, Owner.of_task("t")))), "law 2"
    again.close()
    whole.close()


def test_while_it_is_counted_an_answer_says_how_far(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    log_all()
    declare()
    ff.metric("t", "accuracy")
    in_pieces_of(300, monkeypatch)
    declare(slices=["city"])
    monkeypatch.setattr(session.store.writer, "_fold_in_background", lambda: None)
    rows = ff.metric("t", "predictions", by="city", patience=0)
    assert "being counted from the start" in rows[0].value.reason
    assert rows[0].value.status == ff.Status.PROVISIONAL
    assert sum(row.value.value or 0 for row in rows) < N
    assert ff.metric("t", "predictions").value.value == N, "what was counted before is whole"


def test_who_has_no_patience_is_told_that_others_still_count(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.ingest.writer.Writer._fold_in_background", lambda self: None)
    ff.log("predict", key="a", score=0.5)
    assert ff.metric("predict", "rows").value.value == 1.0
    ff.log("predict", key="b", score=0.5)
    ff.flush()
    with session.store.reader.database.lock("fold"):  # another process is at it
        value = ff.metric("predict", "rows", patience=0).value
    assert (value.value, value.status) == (1.0, ff.Status.PROVISIONAL)
    assert value.reason == "sent records are not counted yet"
    value = ff.metric("predict", "rows").value
    assert (value.value, value.status, value.reason) == (2.0, ff.Status.SETTLED, "")


def test_the_share_that_is_counted_is_that_of_the_records(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in [1] * 20 + [50] * 20:
        ff.log("p", pd.DataFrame({"id": range(size), "x": 1.0}), key="id")
        session.store.writer.collect()
    in_pieces_of(300, monkeypatch)
    assert not session.store.writer._fold(0.0)
    (share,) = session.store.reader.progress(Owner.of_stream("p")).values()
    (rows,) = [
        row["tallies"][0] for row in stored(session.store, Owner.of_stream("p")).to_pylist() if row["kind"] == "stream"
    ]
    assert share == 0.25
    assert abs(rows / 1_020 - share) <= 50 / 1_020


@pytest.mark.parametrize("patience", [-1, float("nan"), True, "5"])
def test_a_patience_that_is_no_number_of_seconds_is_refused(session: Session, patience: Any) -> None:
    ff.log("p", key="a", v=1)
    with pytest.raises(ff.InputError, match="patience="):
        ff.metric("p", "rows", patience=patience)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("amount +", "syntax"),
        ("sum(amount)", "is an aggregate"),
        ("random()", "not deterministic"),
        ("(SELECT 1)", "subquery"),
        ("1; DROP TABLE log", "syntax"),
        ("no_such_function(amount)", "no scalar function no_such_function"),
    ],
)
def test_sql_that_cannot_be_is_refused_when_it_is_declared(session: Session, sql: str, words: str) -> None:
    with pytest.raises(ff.ConfigError, match=f"task 't': slices: .*{words}"):
        declare(slices=[{"name": "x", "sql": sql}])


def test_sql_that_fails_on_the_records_keeps_nothing_else_from_being_counted(session: Session) -> None:
    log_all()
    declare(slices=["model", {"name": "x", "sql": "city::INTEGER"}])
    assert ff.metric("t", "predictions").value.value == N
    assert sum(row.value.value or 0 for row in ff.metric("t", "predictions", by="model")) == N
    assert ff.metric("predict", "rows").value.value == N
    with pytest.raises(ff.ConfigError, match="convert"):
        ff.metric("t", "accuracy", by="x")
    assert {problem.subject for problem in problems(session.store.caught_up()) if problem.kind == "not_counted"} == {
        "predict",
        "t",
    }
    declare(slices=["model", {"name": "x", "sql": "TRY_CAST(city AS INTEGER)"}])
    assert [row.slice for row in ff.metric("t", "accuracy", by="x")] == [{"x": None}]
    assert not problems(session.store.caught_up())


def test_what_was_known_at_a_moment_is_still_answered(session: Session) -> None:
    frame = log_all()
    declare()
    first = ff.metric("t", "accuracy").value
    now = pd.Timestamp.now("UTC").ceil("s") + pd.Timedelta(seconds=1)
    while pd.Timestamp.now("UTC") < now:
        pass
    wrong = frame[["id", "at"]].assign(truth=~frame.truth)
    ff.log("labels", wrong, key="id", time="at")
    assert ff.metric("t", "accuracy").value.value == pytest.approx(1 - (first.value or 0))
    then = ff.metric("t", "accuracy", as_of=now.to_pydatetime()).value
    assert (then.value, then.n) == (first.value, first.n)
    assert ff.metric("t", "accuracy", as_of=START.to_pydatetime()).value.value is None


def test_custom_metrics_are_additive_and_counted_late(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fourfold.ingest.failures.REST", 1e9
    )  # times what a failure took: on a busy machine the next may come late
    frame = log_all()
    declare(slices=["city"])
    ff.metric("t", "accuracy")
    try:
        ff.metrics.register(
            "share", sums={"a": "prediction.amount * (score >= 0.5)::INT", "b": "prediction.amount"},
            value=lambda sums: sums["a"] / sums["b"],
        )  # fmt: skip
        ff.metrics.register("gap", function=lambda actual, said: float(np.mean(said) - np.mean(actual)))
        ff.metrics.register("wrong_column", sums={"a": "prediction.nothing"}, value=lambda sums: sums["a"])
        expected = frame[frame.score >= 0.5].amount.sum() / frame.amount.sum()
        assert ff.metric("t", "share").value.value == pytest.approx(expected)
        cities = {row.slice["city"]: row.value.value for row in ff.metric("t", "share", by="city")}
        for city, part in frame.groupby(frame.city.astype(str)):
            assert cities[str(city)] == pytest.approx(part[part.score >= 0.5].amount.sum() / part.amount.sum())
        extra = {"score": 0.9, "amount": 10_000.0, "city": "Rome", "model": "a", "time": START}
        ff.log("predict", key="more", **extra)
        ff.log("labels", key="more", truth=True, time=START)
        more = (frame[frame.score >= 0.5].amount.sum() + 10_000) / (frame.amount.sum() + 10_000)
        assert ff.metric("t", "share").value.value == pytest.approx(more), "and from then on with what is new"
        gap = ff.metric("t", "gap").value
        both = frame.score.sum() + 0.9, frame.truth.sum() + 1
        assert gap.value == pytest.approx((both[0] - both[1]) / (N + 1)) and "not additive" in gap.reason
        with pytest.raises(ff.ConfigError, match="nothing"):
            ff.metric("t", "wrong_column")
        assert not session.store.writer.pending(), "what cannot be counted is not tried again with each question"
        ff.log("predict", key="other", **extra)
        with pytest.raises(ff.ConfigError, match="nothing"):
            ff.metric("t", "wrong_column")
        assert ff.metric("t", "predictions").value.value == N + 2
        ff.metrics.register("wrong_column", sums={"a": "score +"}, value=lambda sums: sums["a"])
        with pytest.raises(ff.ConfigError, match="metric 'wrong_column', sum 'a': SQL expression 'score \\+'"):
            ff.metric("t", "wrong_column")
    finally:
        for name in ("share", "gap", "wrong_column"):
            REGISTERED.pop(name, None)


def test_two_versions_are_compared_on_the_keys_that_both_predicted(session: Session) -> None:
    truth = RANDOM.random(N) < 0.5
    ids = [f"k{i}" for i in range(N)]
    sides = {
        "old": np.where(RANDOM.random(N) < 0.7, truth, ~truth),
        "new": np.where(RANDOM.random(N) < 0.8, truth, ~truth),
    }
    for model, said in sides.items():
        part = slice(0, N) if model == "old" else slice(200, N)
        ff.log("predict", pd.DataFrame({"id": ids, "at": START, "score": said.astype(float), "model": model})[part],
               key="id", time="at")  # fmt: skip
    ff.log("labels", pd.DataFrame({"id": ids, "at": START, "truth": truth}), key="id", time="at")
    declare()
    found = ff.metric("t", "accuracy", versions=("new", "old")).value
    right = {model: (said == truth)[200:] for model, said in sides.items()}
    assert found.value == pytest.approx(right["new"].mean() - right["old"].mean()) and found.n == N - 200
    assert found.low is not None and found.low > 0
    mirrored = ff.metric("t", "accuracy", versions=("old", "new")).value
    assert (mirrored.value, mirrored.low) == (-(found.value or 0), -(found.high or 0))
    by = {row.slice["model"]: row.value.value for row in ff.metric("t", "predictions", by="model")}
    assert by == {"old": N, "new": N - 200}
    with pytest.raises(ff.InputError, match="both 'new' and 'shadow'"):
        ff.metric("t", "accuracy", versions=("new", "shadow"))


def test_estimates_are_near_what_comes_true_and_say_what_they_assume(session: Session) -> None:
    n, days = 12_000, 60
    score = RANDOM.beta(2, 3, n)
    truth = RANDOM.random(n) < score
    day = np.arange(n) % days
    at = START + pd.to_timedelta(day, unit="D")
    frame = pd.DataFrame(
        {"id": np.arange(n), "at": at, "score": score, "model": "a", "side": np.where(score > 0.4, "r", "l")}
    )
    ff.log("predict", frame, key="id", time="at")
    known = day < 40
    ff.log("labels", pd.DataFrame({"id": np.arange(n), "at": at, "truth": truth})[known], key="id", time="at")
    ff.log("labels", [{"id": "clock", "at": START + pd.Timedelta(days=59), "truth": True}], key="id", time="at")
    declare(horizon="10d", slices=["side"])
    window = {
        "start": (START + pd.Timedelta(days=50)).to_pydatetime(),
        "end": (START + pd.Timedelta(days=60)).to_pydatetime(),
    }
    late = day >= 50
    said, positive = score[late] >= 0.5, truth[late]
    for name, expected in (("recall", said[positive].mean()), ("accuracy", (said == positive).mean())):
        bare = ff.metric("t", name, **window).value  # type: ignore[arg-type]
        assert bare.value is None
        found = ff.metric("t", name, estimate=True, **window).value  # type: ignore[arg-type]
        assert found.status == ff.Status.ESTIMATED and "no concept drift" in found.reason
        assert found.low is not None and found.high is not None
        assert found.low < expected < found.high
    errors = ff.metric("t", "accuracy", estimate_error=True, every="1w")
    assert any(row.value.value is not None and abs(row.value.value) < 0.1 for row in errors)
    assert "cannot be checked yet" in errors[len(errors) - 1].value.reason
    partial = (day >= 50) & (score <= 0.4)
    ff.log("labels", pd.DataFrame({"id": np.arange(n), "at": at, "truth": truth})[partial], key="id", time="at")
    refused = ff.metric("t", "accuracy", estimate=True, **window).value  # type: ignore[arg-type]
    assert refused.value is None and "no label" in refused.reason


def test_the_fold_command_counts_and_reports(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fourfold.cli import fold, trace

    log_all()
    declare(slices=["city"])
    session.flush()
    fold.command(str(tmp_path / "store"), "test", True)
    assert json.loads(capsys.readouterr().out) == {"rows": [{"done": True, "failed": []}]}
    trace.command(["k1"], str(tmp_path / "store"), "test", True)
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["key"] == "k1" and [step["stream"] for step in row["steps"]] == ["predict", "labels"]
    trace.command(["k1"], str(tmp_path / "store"), "test", False)
    assert "prediction of t" in capsys.readouterr().out


def test_very_many_new_streams_keep_other_projects_waiting_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place(tmp_path / "store"), "test")
    sender = Sender(store)
    for number in range(20):
        sender.records(f"order.{number}", [{"key": "a", "time": START.timestamp(), "log_time": 0, "v": 1.0}])
    monkeypatch.setattr(store.writer, "_fold_in_background", lambda: None)
    monkeypatch.setattr(counting, "OVERTIME", 0.0)
    for most in (1, 2, 3):
        store.writer.catch_up(0.0)
        assert len(store.reader.database.recall(catalogue.cursors, "test")) == most
    monkeypatch.undo()
    store.writer.catch_up()
    assert all(store.metric(f"order.{n}", "rows")[0].value.value == 1 for n in range(20))
    store.close()
