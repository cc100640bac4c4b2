"""What is read from the log is what was counted: as of now, and by a function that is a metric of ours."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.metrics import headlines
from fourfold.metrics.custom import REGISTERED
from fourfold.model import Value
from fourfold.sdk import Session

START = pd.Timestamp("2024-03-01", tz="UTC")
N, CLASSES = 900, ["cat", "dog", "eel"]
MORE: dict[str, dict[str, Any]] = {
    "binary": {"version": "model"}, "multiclass": {"version": "model"}, "regression": {"version": "model"},
    "multilabel": {}, "ranking": {"query": "query", "cutoffs": [3]}, "decision": {},
}  # fmt: skip


def drawn(kind: str, random: np.random.Generator) -> tuple[Any, Any]:
    """Predictions and labels."""
    score = random.random(N)
    said = random.choice(CLASSES, N)
    match kind:
        case "binary":
            return score, random.random(N) < score
        case "regression":
            return 10 * score, 10 * score + random.normal(0, 1, N)
        case "ranking":
            return score, random.integers(0, 3, N)
        case "multilabel":
            sets = [sorted(random.choice(CLASSES, random.integers(0, 3), replace=False)) for _ in range(N)]
            return sets, [found[:1] for found in sets]
    return said, np.where(random.random(N) < 0.7, said, random.choice(CLASSES, N))


def log_all(kind: str) -> None:
    random = np.random.default_rng(8)
    said, label = drawn(kind, random)
    at = START + pd.to_timedelta(random.integers(0, 40 * 24, N), unit="h")
    frame = pd.DataFrame(
        {"id": range(N), "at": at, "score": list(said), "side": random.choice(np.array(["a", "b", None], object), N)}
    )
    frame = frame.assign(model=random.choice(["m1", "m2"], N), query=[f"q{i // 6}" for i in range(N)])
    ff.task("t", prediction="p.score", label="l.truth", kind=kind, slices=["side"], **MORE[kind])
    ff.log("p", frame, key="id", time="at")
    ff.log("p", frame[:100].assign(model="m3"), key="id", time="at")
    late = pd.DataFrame({"id": range(N), "at": at + pd.to_timedelta(random.exponential(5, N), unit="D")})
    ff.log("l", late.assign(truth=list(label))[random.random(N) < 0.8], key="id", time="at")


def flat(found: ff.Result) -> list[Any]:
    """Each row's place and value, its numbers rounded."""

    def rounded(value: Value) -> list[Any]:
        return [float(f"{v:.9g}") if isinstance(v, float) else v for v in dataclasses.astuple(value)]

    return [[row.window, dict(row.slice), *rounded(row.value)] for row in found]


@pytest.mark.parametrize("kind", list(MORE))
def test_what_is_known_now_is_what_was_counted(session: Session, kind: str) -> None:
    log_all(kind)
    now = (pd.Timestamp.now("UTC") + pd.Timedelta(hours=1)).to_pydatetime()
    asked: list[tuple[str, dict[str, Any]]] = [(name, {"by": "side", "every": "1w"}) for name in headlines(kind, 3)]
    asked += [("label_delay(0.5)", {"every": "6h", "start": "2024-03-02"})]
    if "version" in MORE[kind]:
        name = "mean_absolute_error" if kind == "regression" else "accuracy"
        asked += [(name, {"versions": ("m1", "m3")}), (name, {"estimate": True}), (name, {"estimate_error": True})]
    for name, options in asked:
        counted = flat(ff.metric("t", name, **options))
        assert counted == flat(ff.metric("t", name, as_of=now, **options)), (name, options)
    assert any(row.value.value is not None for row in ff.metric("t", asked[0][0]))


FUNCTIONS: dict[str, tuple[str, Any]] = {
    "binary": ("accuracy", lambda actual, said: np.mean((said >= 0.5) == actual)),
    "multiclass": ("accuracy", lambda actual, said: np.mean(said == actual)),
    "regression": ("mean_absolute_error", lambda actual, said: np.mean(np.abs(said - actual))),
}


@pytest.mark.parametrize("kind", list(FUNCTIONS))
def test_a_function_of_the_log_is_the_metric_that_is_counted(session: Session, kind: str) -> None:
    log_all(kind)
    name, function = FUNCTIONS[kind]
    ff.metrics.register("mine", function=function, sample=None)
    ways: list[dict[str, Any]] = [
        {}, {"by": "side", "every": "1w"}, {"by": "model"}, {"every": "6h", "start": "2024-03-05", "end": "2024-03-08"},
    ]  # fmt: skip
    try:
        for options in ways:
            counted, read = (ff.metric("t", metric, **options) for metric in (name, "mine"))
            places = [[(row.window, dict(row.slice), row.value.n) for row in found] for found in (counted, read)]
            assert places[0] == places[1], options
            assert [row.value.value for row in read] == pytest.approx([row.value.value for row in counted])
    finally:
        REGISTERED.pop("mine")
