"""Answers in Python: frames, notebooks, several metrics at once, what was deleted."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fourfold as ff
from fourfold.sdk import Session

api: Any = ff  # for wrong arguments, which the types forbid
HOSTILE = '<script>alert("x")</script>\n\x00'


@pytest.fixture
def hostile(session: Session) -> Session:
    """A task, a component and a stream under names and values that mean harm to a page."""
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"])
    for i in range(40):
        ff.log("predict", key=f"{HOSTILE}{i}", score=i / 40, carrier=HOSTILE if i % 2 else "AA")
        ff.log("arrivals", key=f"{HOSTILE}{i}", late=i % 3 == 0)
    with ff.run(HOSTILE, params={HOSTILE: HOSTILE}) as run:
        run.output(HOSTILE, [{HOSTILE: HOSTILE}])
    return session


@pytest.mark.usefixtures("hostile")
def test_every_answer_is_a_frame_and_a_page_that_runs_no_script() -> None:
    answers: dict[str, Any] = {
        "metric": ff.metric("late", "recall", by="carrier"),
        "problems": ff.problems(),
        "streams": ff.streams(),
        "runs": ff.runs(),
        "trace": ff.trace(f"{HOSTILE}3"),
        "compare": ff.compare({"carrier": HOSTILE}, {"carrier": "AA"}),
        "skew": ff.skew("predict", "arrivals"),
        "discrepancies": ff.discrepancies("predict", "predict"),
        "tasks": ff.status().tasks,
        "components": ff.status().components,
    }
    for name, answer in answers.items():
        page = answer._repr_html_()
        assert "<script" not in page and page.startswith("<table>"), name
        assert len(answer.to_pandas()) == answer.to_arrow().num_rows == len(answer.to_polars()), name
        assert answer.to_dicts() or name == "problems", name
    assert "<script" not in ff.status()._repr_html_()
    assert "1 tasks" in repr(ff.status())


@pytest.mark.usefixtures("hostile")
def test_several_metrics_are_asked_in_one_call() -> None:
    both = ff.metric("late", ["recall", "precision"], by="carrier")
    single = [ff.metric("late", name, by="carrier") for name in ("recall", "precision")]
    assert list(both) == [row for result in single for row in result]
    assert both.to_pandas()["metric"].tolist() == ["recall", "recall", "precision", "precision"]
    mixed = ff.metric("late", ["recall", "calibration_curve(4)"])
    assert [row.metric for row in mixed] == ["recall", *["calibration_curve(4)"] * (len(mixed) - 1)]
    assert len(mixed) > 2 and mixed.by
    with pytest.raises(ff.InputError, match="name one metric, or several"):
        ff.metric("late", [])
    with pytest.raises(ff.InputError, match="metric=5"):
        api.metric("late", 5)


@pytest.mark.usefixtures("hostile")
def test_records_are_deleted_by_the_keys_they_were_logged_with() -> None:
    before = ff.metric("late", "predictions").value.value
    assert ff.delete("predict", [f"{HOSTILE}3", "unknown"]) == 1
    assert before is not None and ff.metric("late", "predictions").value.value == before - 1
    with pytest.raises(ff.UnknownNameError, match="prdict"):
        ff.delete("prdict", ["x"])


@pytest.mark.usefixtures("hostile")
def test_a_value_is_a_number_where_there_is_one() -> None:
    value = ff.metric("late", "recall").value
    assert math.isclose(float(value), value.value or 0.0)
    with pytest.raises(ValueError, match="no data"):
        float(ff.Value.no_data("no data at all"))


@pytest.mark.usefixtures("hostile")
def test_runs_and_streams_are_listed_with_their_names() -> None:
    (run,) = ff.runs(HOSTILE)
    assert run.component == HOSTILE
    with pytest.raises(ff.UnknownNameError, match="other"):
        ff.runs("other")
    rows = {view.name: view.rows for view in ff.streams()}
    assert rows["predict"] == rows["arrivals"] == 40


@pytest.mark.usefixtures("hostile")
def test_a_text_that_no_record_can_hold_is_told_to_be_none() -> None:
    surrogate = "\ud800"
    for ask in (
        lambda: ff.trace(surrogate),
        lambda: ff.delete(surrogate, ["k"]),
        lambda: ff.compare({"carrier": surrogate}, {"carrier": "AA"}),
        lambda: ff.runs(surrogate),
        lambda: api.metric("late", [1]),
        lambda: api.metric("late", None),
    ):
        with pytest.raises((ff.InputError, ff.UnknownNameError)):
            ask()


@pytest.mark.usefixtures("session")
def test_slices_that_are_called_as_a_column_of_the_answer_keep_their_values() -> None:
    names = ["value", "metric", "start", "status"]
    ff.task("t", prediction="p.score", label="l.y", slices=names)
    for i in range(4):
        ff.log("p", key=i, score=0.5, **{name: f"{name}{i % 2}" for name in names})
        ff.log("l", key=i, y=i % 2)
    for name in names:
        frame = ff.metric("t", "accuracy", by=name).to_pandas()
        assert frame[f"slice_{name}"].tolist() == [f"{name}0", f"{name}1"]
        assert frame["value"].tolist() == [0.0, 1.0] and frame["metric"].unique().tolist() == ["accuracy"]


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "name", ["roc_auc", "average_precision", "expected_calibration_error", "calibration_curve", "recall"]
)
@pytest.mark.parametrize("more", [{}, {"by": "carrier"}, {"every": "1d"}])
def test_a_time_without_records_has_no_data(name: str, more: dict[str, Any]) -> None:
    for start, end in (("2001-01-01", "2001-01-03"), ("2100-01-01", "2100-01-02")):
        for row in ff.metric("late", name, start=start, end=end, **more):
            assert row.value.value is None and row.value.reason


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "ask",
    [
        lambda: api.metric(None, "rows"),
        lambda: api.metric("late", "recall", by=3),
        lambda: api.metric("late", "recall", every=3),
        lambda: api.delete("predict", "AA1"),
        lambda: api.delete("predict", ("a", "b")),
        lambda: api.delete("predict", 3),
        lambda: api.compare(1, 2),
        lambda: api.compare({"carrier": "AA"}, {"carrier": "UA"}, 3),
        lambda: api.skew(1, 2),
        lambda: api.discrepancies(1, 2),
        lambda: api.runs(limit="x"),
        lambda: api.runs(limit=0),
        lambda: api.history(HOSTILE).last("x"),
    ],
)
def test_a_wrong_argument_is_named_and_deletes_nothing(ask: Any) -> None:
    before = ff.metric("predict", "rows").value.value
    with pytest.raises(ff.InputError):
        ask()
    assert ff.metric("predict", "rows").value.value == before
