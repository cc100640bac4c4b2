"""The path of one record, and of two groups, through the components."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.reports.problems import label_lag, problems
from fourfold.sdk import Session

RANDOM = np.random.default_rng(8)
N = 2_000
DAYS = pd.Timestamp("2024-03-01", tz="UTC") + pd.to_timedelta(np.arange(N) % 20, unit="D")


@pytest.fixture
def pipeline(session: Session) -> Session:
    """Features, predictions and labels; in the group "b" the feature is broken, and the labels come late."""
    group = np.where(np.arange(N) % 3 == 0, "b", "a")
    load = RANDOM.normal(10.0, 2.0, N)
    truth = RANDOM.random(N) < 0.4
    score = np.clip(np.where(group == "a", np.where(truth, 0.7, 0.3), 0.5) + RANDOM.normal(0, 0.15, N), 0, 1)
    keys = [f"k{i}" for i in range(N)]
    ff.log(
        "features",
        pd.DataFrame({"id": keys, "at": DAYS, "load": np.where(group == "b", load * 5, load)}),
        key="id",
        time="at",
    )
    with ff.run("serve"):
        ff.log("predict", pd.DataFrame({"id": keys, "at": DAYS, "score": score, "group": group,
                                        "model": np.where(group == "b", "v2", "v1")}), key="id", time="at")  # fmt: skip
    later = pd.to_timedelta(np.where(group == "b", 96, 2), unit="h")
    known = np.arange(N) % 7 != 0
    ff.log("labels", pd.DataFrame({"id": keys, "at": DAYS + later, "truth": truth})[known], key="id", time="at")
    ff.task("t", prediction="predict.score", label="labels.truth", slices=["group"], version="model", horizon="30d")
    return session


def test_a_trace_shows_each_step_with_run_version_delay_and_place(pipeline: Session) -> None:
    ff.log("labels", key="k3", truth=None, time=dt.datetime(2024, 3, 12, tzinfo=dt.UTC))
    features, predict, label, withdrawn = ff.trace("k3").steps
    assert [features.stream, predict.stream, label.stream] == ["features", "predict", "labels"]
    assert features.values[0].kind == "numeric" and features.values[0].position is not None
    assert features.values[0].position > 0.6, "five times the load is more than nearly all others have"
    assert predict.roles == (("t", "prediction"),) and predict.version == "v2"
    assert predict.run is not None and predict.run.component == "serve"
    group = {value.column: value for value in predict.values}["group"]
    assert group.position == pytest.approx(1 / 3, abs=0.01)
    assert label.delay == 96 * 3600 and label.notes == ("t: replaced by a later label",)
    assert withdrawn.notes == ("t: withdrawn",)


def test_repeated_predictions_and_orphans_are_told(pipeline: Session) -> None:
    ff.log("predict", key="k1", score=0.9, group="a", model="v1")
    ff.log("labels", key="nobody", truth=True)
    assert [note for step in ff.trace("k1").steps for note in step.notes] == [
        "t: repeated; the first prediction counts"
    ]
    told = repr(ff.trace("k1")).splitlines()
    assert told[0] == "Trace of k1" and "    ! t: repeated; the first prediction counts" in told
    assert any(line.startswith("    group = 'a' (") and line.endswith("of the records)") for line in told)
    (orphan,) = ff.trace("nobody").steps
    assert orphan.notes == ("t: an orphan, this key was never predicted",)
    with pytest.raises(ff.InputError, match="none of the logged streams: features, labels, predict"):
        ff.trace("no such key")


def test_groups_are_compared_at_every_component_the_most_different_first(pipeline: Session) -> None:
    found = ff.compare({"group": "a"}, {"group": "b"})
    assert found.n == (1_333, 667)
    assert [d.size for d in found.differences] == sorted((d.size for d in found.differences), reverse=True)
    by = {(d.where, d.name): d for d in found.differences}
    assert by["predict", "model"].size > 0.9 and by["predict", "model"].a == "v1 100%"
    assert by["features", "load"].size > 0.8
    assert by["predict", "score"].size > 0.2
    assert by["t", "roc_auc"].what == "metric" and by["t", "roc_auc"].size > 0.2
    assert by["labels", "truth"].size < 0.05
    assert by["predict", "run"].size == 0
    told = repr(found).splitlines()
    assert told[0] == "Comparison of {'group': 'a'} (1,333 keys) with {'group': 'b'} (667 keys)"
    assert told[1].endswith(f"{found.differences[0].a}  |  {found.differences[0].b}") and "more" in told[-1]
    whole = ff.metric("t", "recall", by="group")
    assert by["t", "recall"].a.startswith(f"{whole[0].value.value:.4g} (")


def test_a_window_and_an_undeclared_column_can_be_compared(pipeline: Session) -> None:
    found = ff.compare({"model": "v1"}, {"model": "v2"}, ("2024-03-01", "2024-03-06"))
    assert sum(found.n) == N // 20 * 5
    for a, b, words in (
        ({"group": "a"}, {"group": "a"}, "two different"),
        ({"group": "a"}, {"model": "a"}, "same columns"),
        ({"group": "a"}, {"group": "z"}, "no record"),
        ({"nothing": "a"}, {"nothing": "b"}, "nothing"),
    ):
        with pytest.raises(ff.FourfoldError, match=words):
            ff.compare(a, b)
    with pytest.raises(ff.InputError, match="not before"):
        ff.compare({"group": "a"}, {"group": "b"}, ("2024-03-06", "2024-03-01"))


def test_doctor_names_groups_whose_labels_are_late_or_missing_and_orphans(pipeline: Session) -> None:
    predictions = [{"id": f"m{i}", "at": DAYS[0], "score": 0.5, "group": "c", "model": "v1"} for i in range(60)]
    ff.log("predict", predictions, key="id", time="at")
    ff.log("labels", [{"id": "stray", "at": DAYS[19] + pd.Timedelta("40D"), "truth": True}], key="id", time="at")
    pipeline.flush()
    found = {problem.kind: problem for problem in problems(pipeline.store.caught_up())}
    assert "'stray'" in found["orphan_labels"].message
    assert "b 96 h" in found["late_labels"].message and "c" not in found["late_labels"].message.split(":")[1]
    assert "c 0%" in found["missing_labels"].message
    from fourfold.model import Dimension, Part
    from fourfold.query.target import resolve

    task = resolve(pipeline.store.caught_up(), "t").task
    assert task is not None
    lags = {lag.slice: lag for lag in label_lag(pipeline.store.caught_up(), task, Dimension((Part("group"),)))}
    assert lags["b"].delay.value == pytest.approx(96 * 3600, rel=0.01)
    assert lags["a"].coverage.value == pytest.approx(6 / 7, abs=0.01)


def test_keys_of_several_parts_join_and_rank(session: Session) -> None:
    lists = pd.DataFrame({"q": ["q1", "q1", "q2", "q2"], "item": [1, 2, 1, 2], "score": [0.9, 0.1, 0.2, 0.8]})
    ff.log("rank", lists, key=["q", "item"])
    ff.log("clicks", key=("q1", 1), relevance=1)
    ff.log("clicks", {"q": "q2", "item": 1, "relevance": 1}, key=("q", "item"))
    ff.log("clicks", pd.DataFrame({"q": ["q2", None], "item": [2, 3], "relevance": [0, 1]}), key=["q", "item"])
    ff.task("search", prediction="rank.score", label="clicks.relevance", kind="ranking", query="q")
    assert ff.metric("search", "mean_reciprocal_rank").value.value == pytest.approx((1 + 0.5) / 2, rel=0.01)
    assert ff.metric("clicks", "null_keys").value.value == 1.0
    assert len(ff.trace(("q2", 1)).steps) == 2
    ff.log("rank", lists, key=["q", "nothing"])
    session.flush()
    assert "nothing" in problems(session.store.caught_up())[0].message


def test_a_decision_is_told_from_its_outcome(session: Session) -> None:
    ff.log("recommend", key="a", action="approve")
    ff.log("decide", key="a", done="approve")
    ff.log("repaid", key="a", good=1)
    ff.task("loan", prediction="recommend.action", label="decide.done", kind="decision", outcome="repaid.good")
    steps = {step.stream: step for step in ff.trace("a").steps}
    assert [steps[s].roles[0][1] for s in ("recommend", "decide", "repaid")] == ["prediction", "decision", "outcome"]
    assert not any(step.notes for step in steps.values())


def test_many_slices_are_said_to_be_cut(session: Session, tmp_path: Path) -> None:
    n = 1_000
    city = [f"c{i % 251 if i % 2 else i % 10}" for i in range(n)]
    ff.log("predict", pd.DataFrame({"id": range(n), "score": RANDOM.random(n), "city": city}), key="id")
    ff.task("t", prediction="predict.score", label="labels.truth", slices=["city"])
    session.flush()
    rows = ff.metric("t", "predictions", by="city")
    assert len(rows) == 201
    assert sum(row.value.value or 0 for row in rows) == n
    assert {row.slice["city"] for row in rows} >= {"(other)", "c0", "c8"}
    found = [problem for problem in problems(session.store.caught_up()) if problem.kind == "many_slices"]
    assert "more than 200 values" in found[0].message


def test_a_label_after_a_horizon_of_hours_is_told_to_be_expired_by_hours(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y", horizon="12h")
    ff.log("p", key="k", score=0.9, time="2024-03-01")
    ff.log("l", key="k", y=1, time="2024-03-02")
    assert notes_of("k") == ["t: expired; it came after the horizon of 12 hours"]
    assert ff.metric("t", "expired_labels").value.value == 1.0


def test_a_label_that_is_nan_is_told_to_be_withdrawn_as_it_is_counted(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y")
    ff.log("p", key="k", score=0.9, time="2024-03-01")
    ff.log("l", key="k", y=1.0, time="2024-03-01")
    ff.log("l", pd.DataFrame({"key": ["k"], "y": [float("nan")], "at": ["2024-03-02"]}), key="key", time="at")
    assert notes_of("k") == ["t: replaced by a later label", "t: withdrawn"]
    assert ff.metric("t", "withdrawn_labels").value.value == 1.0


def test_the_first_prediction_of_a_shadow_version_is_not_told_to_be_repeated(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y", version="model")
    for score, model in ((0.9, "v1"), (0.8, "v2"), (0.7, "v2"), (0.6, "v1")):
        ff.log("p", key="k", score=score, model=model, time="2024-03-01")
    ff.log("l", key="k", y=1, time="2024-03-02")
    shadow = "t: another version predicted this key first; it counts only in slices by version"
    repeated = "t: repeated; the first prediction counts"
    steps = {step.values[0].value: step.notes for step in ff.trace("k").steps if step.stream == "p"}
    assert steps == {0.9: (), 0.8: (shadow,), 0.7: (repeated,), 0.6: (repeated,)}
    assert [row.value.value for row in ff.metric("t", "predictions", by="model")] == [1.0, 1.0]
    assert ff.metric("t", "predictions").value.value == 1.0


@pytest.mark.parametrize("key", ["o'hara \\ %", "'; DROP TABLE run; --", "a\x00b", "é\n"])
def test_what_became_of_a_key_of_any_characters_is_told(session: Session, key: str) -> None:
    ff.task("t", prediction="p.score", label="l.y")
    ff.log("p", key=key, score=0.9)
    ff.log("p", key=key, score=0.8)
    assert notes_of(key) == ["t: repeated; the first prediction counts"]


def test_an_outcome_that_is_missing_or_late_is_told_as_it_is_counted(session: Session) -> None:
    ff.log("recommend", key="a", action="approve", time="2024-03-01")
    ff.log("decide", key="a", done="approve", time="2024-03-01")
    ff.log("repaid", key="a", good=1, time="2024-06-01")  # no horizon holds for outcomes
    ff.task(
        "loan", prediction="recommend.action", label="decide.done", kind="decision", outcome="repaid.good", horizon="3d"
    )
    assert notes_of("a") == []
    ff.log("repaid", key="a", good=None, time="2024-06-02")
    assert notes_of("a") == ["loan: replaced by a later outcome", "loan: withdrawn"]


def notes_of(key: str) -> list[str]:
    return [note for step in ff.trace(key).steps for note in step.notes]


def test_groups_are_compared_though_a_declared_version_was_never_logged(session: Session) -> None:
    ff.task("t", prediction="p.s", label="l.y", version="nope", slices=["c"])
    for i in range(10):
        ff.log("p", key=i, s=0.5, c="ab"[i % 2])
        ff.log("l", key=i, y=i % 2)
    found = ff.compare({"c": "a"}, {"c": "b"})
    assert found.n == (5, 5) and "nope" not in {difference.name for difference in found.differences}


THE_END = dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))  # of time in New York: the year 10000


def test_moments_that_python_has_none_for_are_told_as_texts(session: Session) -> None:
    ff.task("t", prediction="p.score", label="l.y", version="valid_to", slices=["c"])
    for i in range(4):
        far = {"valid_to": THE_END, "within": {"a": [THE_END, None]}, "sun": np.datetime64("20000-01-01")}
        ff.log("p", key=i, score=0.9, c="ab"[i % 2], **far)
        ff.log("l", key=i, y=i % 2)
    values = {value.column: value.value for step in ff.trace("1").steps for value in step.values}
    text = "10000-01-01T04:59:59.999999Z"
    assert (values["valid_to"], values["within"]) == (text, {"a": [text, None]})
    assert values["sun"] == "20000-01-01T00:00:00Z"
    assert text in ff.trace("1").to_arrow()["value"].to_pylist()
    assert ff.compare({"c": "a"}, {"c": "b"}).n == (2, 2)


def test_labels_and_queries_of_such_moments_are_counted(session: Session) -> None:
    ff.task("tags", prediction="p.said", label="l.true", kind="multilabel")
    ff.task("rank", prediction="s.score", label="r.hit", kind="ranking", query="until")
    for i in range(3):
        ff.log("p", key=i, said=[THE_END])
        ff.log("l", key=i, true=[THE_END])
        ff.log("s", key=i, score=i / 3, until=THE_END)
        ff.log("r", key=i, hit=i % 2)
    assert ff.metric("tags", "accuracy").value.value == 1.0
    assert ff.metric("rank", "ndcg(1)").value.n == 1
    assert len(ff.trace("1").steps) == 4
