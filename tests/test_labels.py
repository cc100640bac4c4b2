"""Labels as users write them: which are positive, which are unusable, and where that is said."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.metrics.custom import REGISTERED, register
from fourfold.model import Owner, Status, Task
from fourfold.reports.problems import problems
from fourfold.sdk import Session
from fourfold.state.jobs import Job
from tests.test_cli import rows


def declare(labels: list[Any], *, kind: str = "binary", scores: list[Any] | None = None, **more: Any) -> None:
    """A task of as many predictions as labels; the first half of them scores high."""
    n = len(labels)
    scores = [0.9 if i < n / 2 else 0.1 for i in range(n)] if scores is None else scores
    keys = [f"k{i}" for i in range(n)]
    ff.log("p", pd.DataFrame({"id": keys, "score": scores, "side": ["a", "b"] * (n // 2) + ["a"] * (n % 2)}), key="id")
    for key, label in zip(keys, labels, strict=True):
        ff.log("l", key=key, y=label)
    ff.task("t", prediction="p.score", label="l.y", kind=kind, slices=["side"], horizon="1d", **more)


def test_a_label_that_is_sent_again_as_text_stays(session: Session) -> None:
    declare([1, 1, 0, 0])
    for key, label in (("k0", "1"), ("k2", "0")):
        ff.log("l", key=key, y=label)
    value = ff.metric("t", "accuracy").value
    assert (value.value, value.n, value.coverage) == (1.0, 4, 1.0)
    assert session.store.reader.quarantine.entries() == []


def test_labels_of_no_use_are_in_the_reason_however_few(session: Session) -> None:
    declare([2, 1, 1, 0, 2, 7])
    value = ff.metric("t", "accuracy").value
    assert (value.value, value.n) == (1.0, 3)
    assert value.reason.startswith("3 labels are unusable: a label must be 0 or 1, true or false; for other labels")
    by = {row.slice["side"]: row.value for row in ff.metric("t", "recall", by="side")}
    assert by["a"].reason.startswith("2 labels are unusable") and by["b"].reason.startswith("1 label is unusable")
    assert all(row.value.reason.startswith("3 labels") for row in ff.metric("t", "calibration_curve"))
    assert ff.metric("t", "label_delay(0.5)").value.reason.startswith("3 labels are unusable")
    known = ff.metric("t", "recall", as_of="2100-01-01").value
    assert known.reason.startswith("3 labels")
    assert ff.metric("t", "accuracy").to_dicts()[0]["reason"] == value.reason


def test_without_a_label_of_use_the_reason_says_both(session: Session) -> None:
    declare(["maybe", "perhaps"])
    value = ff.metric("t", "accuracy").value
    assert value.status is Status.NO_DATA
    assert value.reason.startswith("no labels yet for 2 predictions; 2 labels are unusable: a label must be 0 or 1")


def test_predictions_of_no_use_are_in_the_reason_too(session: Session) -> None:
    declare([1, 1, 0, 0], scores=[0.9, None, float("nan"), 0.1])
    value = ff.metric("t", "accuracy").value
    assert (value.value, value.reason) == (1.0, "2 predictions are null or not finite")


@pytest.mark.parametrize(
    ("kind", "labels", "scores", "name"),
    [
        ("regression", ["1.5", "many", "2.5", "inf"], [1.5, 2.0, 2.5, 3.0], "mean_absolute_error"),
        ("ranking", ["1", "many", "0", "many"], [1.5, 2.0, 2.5, 3.0], "ndcg(1)"),
    ],
)
def test_labels_that_are_no_numbers_are_said_of_other_kinds(
    session: Session, kind: str, labels: list[Any], scores: list[Any], name: str
) -> None:
    more: dict[str, Any] = {"query": "side", "cutoffs": [1]} if kind == "ranking" else {}
    declare(labels, kind=kind, scores=scores, **more)
    value = ff.metric("t", name).value
    assert value.value is not None
    assert value.reason.startswith("2 labels are unusable: a label must be a finite number")
    (problem,) = [p for p in problems(session.store.caught_up()) if p.kind == "unusable_labels"]
    assert "'many'" in problem.message and "2 labels are unusable" in problem.message


def test_the_reason_stands_beside_those_of_an_estimate_of_versions_and_of_a_function(session: Session) -> None:
    n = 80
    labels = [2, *[i % 2 for i in range(1, n)]]
    frame: dict[str, Any] = {"id": [f"k{i}" for i in range(n)], "score": [0.2 + 0.6 * (i % 2) for i in range(n)]}
    for model in ("v1", "v2"):
        ff.log("p", pd.DataFrame({**frame, "model": model}), key="id")
    ff.log("l", pd.DataFrame({"id": frame["id"][: n // 2], "y": labels[: n // 2]}), key="id")
    ff.task("t", prediction="p.score", label="l.y", version="model")
    try:
        register("share", function=lambda actual, said: float(np.mean(actual)))
        said: list[float] = []

        def seen(actual: Any, _: Any) -> float:
            said.extend(actual)
            return 0.0

        register("seen", function=seen)
        for found in (
            ff.metric("t", "accuracy", estimate=True), ff.metric("t", "accuracy", versions=("v1", "v2")),
            ff.metric("t", "share"),
        ):  # fmt: skip
            assert found.value.value is not None
            assert "; 1 label is unusable" in found.value.reason, found
        ff.metric("t", "seen")
        assert set(said) == {0.0, 1.0}, "a function is given labels of use only"
    finally:
        REGISTERED.pop("share", None)
        REGISTERED.pop("seen", None)


def test_doctor_and_status_name_the_labels_of_no_use(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    declare(["yes"] * 4 + ["no"] * 3 + ["1", "maybe'; --", "a", "b", "c", "d", "true", "0"])
    ff.flush()
    (problem,) = [p for p in problems(session.store.caught_up()) if p.kind == "unusable_labels"]
    assert problem.subject == "t"
    assert problem.message.startswith("12 labels are unusable; l.y holds 'yes' (4), 'no' (3), 'a' (1), 'b' (1), 'c'")
    assert problem.message.endswith(", …")
    assert "positive=" in problem.advice
    for command in ("doctor", "status"):
        assert "unusable_labels" in json.dumps(rows(capsys, session, command))
    (row,) = rows(capsys, session, "metrics", "t", "recall")
    assert "12 labels are unusable" in json.dumps(row)


@pytest.mark.parametrize(
    "labels",
    [
        ["true", "False", "TRUE", "false"], ["1", "0", "1.0", "0.0"], [True, False, True, False], [1.0, 0.0, 1.0, 0.0],
        ["True", 0, "1", " false "],
    ],
)  # fmt: skip
def test_what_means_yes_or_no_needs_no_telling(session: Session, labels: list[Any]) -> None:
    declare([str(x) for x in labels] if len({type(x) for x in labels}) > 1 else labels)
    value = ff.metric("t", "accuracy").value
    assert (value.value, value.n, value.reason) == (0.5, 4, "")


@pytest.mark.parametrize(
    ("positive", "labels"),
    [
        ("yes", ["yes", "no", "yes", "no"]), ("o'k", ["o'k", "--", "o'k", ""]), (2, [2, 1, 2, 0]),
        (2, ["2", "1", "2.0", "x"]),
        (2.0, [2.0, 1.0, 2.0, 7.5]), (-1, [-1, 1, -1, 1]), (np.int64(2), [2, 1, 2, 1]),
        (True, [True, False, True, False]),
        (False, [False, True, False, True]), (True, ["True", "no", "true", "no"]), ("1", [True, False, True, False]),
        ("", ["", "a", "", "b"]),
    ],
)  # fmt: skip
def test_the_label_that_is_positive_can_be_told(session: Session, positive: Any, labels: list[Any]) -> None:
    declare(labels, positive=positive)
    found = {name: ff.metric("t", name).value.value for name in ("true_positives", "false_positives", "recall")}
    assert found == {"true_positives": 1.0, "false_positives": 1.0, "recall": 0.5}
    assert ff.metric("t", "accuracy").value.reason == ""


def test_a_missing_label_is_missing_whatever_is_positive(session: Session) -> None:
    declare(["yes", None, "yes", "no"], positive="yes")
    assert ff.metric("t", "coverage").value.value == 0.75
    assert ff.metric("t", "withdrawn_labels").value.value == 1.0


def test_all_ways_to_read_labels_know_which_is_positive(session: Session) -> None:
    declare(["yes", "no", "yes", "no"], positive="yes")
    try:
        register("rate", function=lambda actual, said: float(np.mean(actual)))
        register("hits", sums={"n": "actual"}, value=lambda sums: sums["n"])
        assert ff.metric("t", "rate").value.value == 0.5
        assert ff.metric("t", "hits").value.value == 2.0
        assert ff.metric("t", "recall", as_of="2100-01-01").value.value == 0.5
        assert ff.trace("k0").steps[-1].notes == ()
    finally:
        REGISTERED.pop("rate", None)
        REGISTERED.pop("hits", None)


def test_another_positive_label_counts_the_task_anew(session: Session) -> None:
    declare(["yes", "no", "yes", "yes"])
    assert ff.metric("t", "recall").value.reason.startswith("no labels yet for 4 predictions; 4 labels are unusable")
    for positive, recall in (("yes", 1 / 3), ("no", 1.0)):
        ff.task("t", prediction="p.score", label="l.y", slices=["side"], horizon="1d", positive=positive)
        assert ff.metric("t", "recall").value.value == pytest.approx(recall)
    ff.flush()
    assert not [p for p in problems(session.store.caught_up()) if p.kind == "unusable_labels"]


def test_a_trace_says_that_a_label_is_of_no_use(session: Session) -> None:
    declare([2, 1, 0, 0])
    assert "t: unusable" in ff.trace("k0").steps[-1].notes[0]
    assert ff.trace("k1").steps[-1].notes == ()


def test_what_was_done_is_told_by_yes_or_no_where_a_decision_has_a_threshold(session: Session) -> None:
    declare([1, 0, 1, 2], kind="decision", threshold=0.5)
    value = ff.metric("t", "override_rate").value
    assert [value.value, value.n] == [pytest.approx(2 / 3), 3]
    assert value.reason.startswith("1 label is unusable: a label must be the action taken")


def test_tasks_that_were_declared_without_it_still_load() -> None:
    from fourfold import config

    task = config.make_task("t", prediction="p.s", label="l.y", positive="yes")
    assert Task.from_json(task.to_json()) == task
    old = json.loads(task.to_json())
    del old["positive"]
    assert Task.from_json(json.dumps(old)) == dataclasses.replace(task, positive=None)
    key = json.loads(Job(Owner.of_task("t")).key)
    assert Job.from_key(json.dumps(key[:3])) == Job(Owner.of_task("t")), (
        "a position in the log as an earlier version wrote it"
    )
    assert json.dumps(key[:3]) != Job(Owner.of_task("t")).key, "what was counted by other rules is counted anew"
