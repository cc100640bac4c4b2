"""Objectives as users see them: the command, the best constant predictor, the calendar window before."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

import fourfold as ff
from fourfold.cli import main
from fourfold.model import DAY, HOUR, ObjectiveStatus, Severity
from fourfold.sdk import Session
from fourfold.watch.objectives import findings, report
from tests.support import START

HOSTILE = "\x1b[31m[red]a, (b) 'c'\u202e"


def run(capsys: pytest.CaptureFixture[str], session: Session, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``fourfold objectives``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr(sys, "argv", ["fourfold", "objectives", *arguments, "--store", session.settings.store])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def log_flights(positives: float = 0.4, days: int = 10, n: int = 20, *, right: float = 0.8, start: int = START) -> None:
    """Predictions and labels of some days, n a day; ``right`` of the scores are on the right side."""
    rng = np.random.default_rng(7)
    late = rng.random(days * n) < positives
    good = rng.random(days * n) < right
    frame = pd.DataFrame({
        "id": [f"{start}-{i}" for i in range(days * n)],
        "at": pd.to_datetime([start + i * DAY // n for i in range(days * n)], unit="s", utc=True),
        "score": np.where(late == good, 0.8, 0.2), "carrier": np.where(np.arange(days * n) % 2, "AA", HOSTILE),
    })  # fmt: skip
    ff.log("predict", frame, key="id", time="at")
    ff.log("arrivals", pd.DataFrame({"id": frame.id, "at": frame["at"], "late": late}), key="id", time="at")


@pytest.fixture
def flights(session: Session) -> Session:
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"], horizon="7d")
    log_flights()
    return session


def test_without_objectives_the_command_says_how_to_declare_one(
    flights: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, flights)
    assert (code, "ff.objective(" in out) == (0, True)


def test_the_screen_fits_80_columns_whatever_the_names_are(
    flights: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    ff.objective(HOSTILE, "recall(late) >= 0.79", by=["carrier"], owner="ops", window="month")
    ff.objective("b", "roc_auc(late) >= 0.7", goal=0.99)
    ff.objective("c", "recall(never) >= 0.7")
    code, out, _ = run(capsys, flights)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b[31m" not in out
    assert "\u202e" not in out
    assert out.index("No task, stream or column") > 0
    assert "%" in out


def test_the_json_has_a_row_for_each_objective_and_slice(flights: Session, capsys: pytest.CaptureFixture[str]) -> None:
    ff.objective("a", "recall(late) >= 0.5", by=["carrier"])
    ff.objective("zero", "null_rate(predict.score) <= 0")
    code, out, _ = run(capsys, flights, "--json")
    assert code == 0
    rows = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["rows"]
    assert [(row["name"], row["slice"]) for row in rows] == [
        ("a", {"carrier": "AA"}), ("a", {"carrier": HOSTILE}), ("zero", {}),
    ]  # fmt: skip
    assert rows[0]["value"]["n"] + rows[1]["value"]["n"] == rows[0]["total"] + rows[1]["total"]
    assert rows[2]["status"] == "met"
    code, out, _ = run(capsys, flights, "a", "--json")
    assert {row["name"] for row in json.loads(out)["rows"]} == {"a"}


def test_an_objective_that_allows_nothing_burns_without_bounds_and_its_json_is_json(
    flights: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    ff.objective("zero", "negative_rate(predict.score) <= 0")
    ff.log("predict", key="odd", time=START + 10 * DAY - 1, score=-1.0)
    ff.flush()
    code, out, _ = run(capsys, flights, "--json")
    assert code == 0
    (row,) = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["rows"]
    assert (row["status"], row["budget"]["total"], row["budget"]["consumed"]) == ("missed", 0.0, 1.0)
    assert run(capsys, flights)[0] == 0
    (found,) = findings(flights.store.reader, START + 400 * DAY)
    assert found.severity is Severity.PAGE
    assert math.isfinite(found.weight)


def test_an_unknown_objective_is_refused_with_those_that_exist(
    flights: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    ff.objective("late-recall", "recall(late) >= 0.5")
    ff.flush()
    for arguments in (["late-recal"], ["--remove", "late-recal"]):
        code, _, err = run(capsys, flights, *arguments)
        assert (code, "'late-recall'" in err) == (2, True)
    with pytest.raises(ff.UnknownNameError, match="late-recall"):
        ff.objectives("x")


def test_objectives_go_out_as_openslo_and_come_in_again(
    flights: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ff.objective(HOSTILE, "recall(late) >= 0.5", by=["carrier"], window="month")
    ff.objective("b", "roc_auc(late) >= 0.7", owner="ops")
    before = [view.objective for view in ff.objectives()]
    file = tmp_path / "slos.yaml"
    assert run(capsys, flights, "--export", str(file))[0] == 0
    assert run(capsys, flights, "--remove", "b")[0] == 0
    assert {view.name for view in ff.objectives()} == {HOSTILE}
    assert run(capsys, flights, "--import", str(file))[0] == 0
    assert [view.objective for view in ff.objectives()] == before


@pytest.mark.sqlite  # another folder has another state there
def test_objectives_can_be_read_before_there_is_a_store(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, session: Session
) -> None:
    ff.objective("b", "roc_auc(late) >= 0.7", owner="ops")
    ff.objectives()
    file = tmp_path / "slos.yaml"
    assert run(capsys, session, "--export", str(file))[0] == 0
    session.settings = type(session.settings)(str(tmp_path / "new"), "test")
    assert run(capsys, session, "--import", str(file))[0] == 0
    ff.init(tmp_path / "new")
    assert [view.name for view in ff.objectives()] == ["b"]


def test_a_file_that_is_not_there_is_an_error_with_its_name(
    flights: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, flights, "--import", "nowhere.yaml")
    assert (code, "nowhere.yaml" in err) == (2, True)
    code, _, err = run(capsys, flights, "--import", "a", "--export", "b")
    assert (code, "one of them" in err) == (2, True)


# the best constant predictor --------------------------------------------------------------------------------------


def constant(expression: str) -> float | None:
    ff.objective("o", expression, window="60d")
    (view,) = ff.objectives("o")
    assert view.baseline.words
    return view.baseline.value


def test_the_best_constant_of_a_binary_task_is_that_of_the_metric_itself(session: Session) -> None:
    ff.task("late", prediction="predict.score", label="arrivals.late")
    log_flights(0.3, days=20)
    positive = ff.metric("late", "base_rate").value
    p = float(positive)
    late = np.arange(positive.n) < round(p * positive.n)
    share = np.full(positive.n, p)
    expected: dict[str, Any] = {
        "accuracy": sklearn.metrics.accuracy_score(late, late & False),
        "precision": sklearn.metrics.precision_score(late, late | True),
        "f1": sklearn.metrics.f1_score(late, late | True),
        "roc_auc": sklearn.metrics.roc_auc_score(late, share),
        "average_precision": sklearn.metrics.average_precision_score(late, share),
        "brier_score_loss": sklearn.metrics.brier_score_loss(late, share),
        "log_loss": sklearn.metrics.log_loss(late, share),
    }  # fmt: skip
    for name, value in expected.items():
        found = constant(f"{name}(late) >= 0.5")
        assert found is not None
        assert math.isclose(found, value, rel_tol=1e-9), name
    assert constant("recall(late) >= 0.5") is None
    assert constant("label_delay(late, 0.5) >= 0.5") is None


def test_the_best_constant_of_a_regression_is_the_mean_or_the_median(session: Session) -> None:
    ff.task("delay", prediction="predict.minutes", label="arrivals.minutes", kind="regression")
    rng = np.random.default_rng(3)
    actual = rng.gamma(2.0, 10.0, 500)
    frame = pd.DataFrame({"id": range(500), "at": pd.to_datetime([START + i * HOUR for i in range(500)], unit="s")})
    ff.log("predict", frame.assign(minutes=actual + rng.normal(0, 3, 500)), key="id", time="at")
    ff.log("arrivals", frame.assign(minutes=actual), key="id", time="at")
    squared = constant("mean_squared_error(delay) <= 100")
    assert squared is not None
    assert math.isclose(squared, float(np.var(actual)), rel_tol=1e-6)
    absolute = constant("mean_absolute_error(delay) <= 10")
    assert absolute is not None
    assert math.isclose(absolute, float(np.mean(np.abs(actual - np.median(actual)))), rel_tol=0.01)
    assert constant("r2(delay) >= 0.1") == 0.0


def test_the_best_constant_of_classes_is_the_most_frequent_one(session: Session) -> None:
    ff.task("kind", prediction="predict.kind", label="truth.kind", kind="multiclass")
    for i in range(20):
        ff.log("predict", key=i, time=START + i * HOUR, kind="a" if i % 2 else "b")
        ff.log("truth", key=i, time=START + i * HOUR, kind="a" if i < 14 else "c")
    assert constant("accuracy(kind) >= 0.5") == 0.7
    assert constant("balanced_accuracy(kind) >= 0.5") == 0.5
    assert constant("matthews_corrcoef(kind) >= 0.5") is None


def test_an_objective_comes_before_the_model_with_a_constant_that_is_logged_like_one(session: Session) -> None:
    ff.objective("first", "accuracy(late) >= 0.5", window="60d")
    ff.task("late", prediction="rule.score", label="arrivals.late")
    for i in range(50):
        ff.log("rule", key=i, time=START + i * HOUR, score=0.0)
        ff.log("arrivals", key=i, time=START + i * HOUR, late=i % 5 == 0)
    (view,) = ff.objectives()
    assert view.value.value == view.baseline.value == 0.8


# the calendar -----------------------------------------------------------------------------------------------------


def test_a_month_that_was_missed_is_told_of_until_the_next_one_is_decided(session: Session) -> None:
    first = int(dt.datetime(2024, 2, 1, tzinfo=dt.UTC).timestamp())
    ff.objective("o", "accuracy(late) >= 0.9", window="month")
    ff.task("late", prediction="predict.score", label="arrivals.late", horizon="2d")
    log_flights(days=29, right=0.7, start=first)
    log_flights(days=1, n=4, right=1.0, start=first + 29 * DAY)
    ff.flush()
    reader = session.store.caught_up()
    now = first + 30 * DAY
    (view,) = report(reader, now)
    assert view.start == first + 29 * DAY
    assert view.status is ObjectiveStatus.TOO_EARLY
    assert view.previous is not None
    assert (view.previous.status, view.previous.start, view.previous.end) == (
        ObjectiveStatus.MISSED, first, first + 29 * DAY,
    )  # fmt: skip
    (found,) = findings(reader, now)
    assert found.severity is Severity.TICKET
    assert first + 28 * DAY < found.seen <= first + 29 * DAY
    log_flights(days=20, right=1.0, n=40, start=first + 30 * DAY)
    ff.flush()
    later = first + 50 * DAY
    assert [view.status for view in report(session.store.caught_up(), later)] == [ObjectiveStatus.MET]
    assert findings(session.store.reader, later) == []
