"""Answers that were wrong in small ways, or refused where they need not be: one test each."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.model import DAY, HOUR, Status
from fourfold.sdk import Session
from fourfold.store import Store
from tests.support import START, Sender


def test_windows_by_the_hour_say_of_what_is_older_that_only_days_are_kept(store: Store) -> None:
    times = [START + i * DAY for i in range(100)]
    Sender(store).records("p", [{"key": str(t), "time": t, "log_time": t, "x": 1.0} for t in times])
    found = list(store.metric("p", "rows", every="6h"))
    assert found[0].window.start == START and found[0].value.status is Status.NO_DATA
    assert found[0].value.reason == "hours are kept for 60 days; use every='1d' for older records"
    older = store.metric("p", "rows", start=found[0].window.start, end=found[0].window.end)[0].value.n
    assert older + sum(row.value.n for row in found) == 100
    assert all(a.window.end == b.window.start for a, b in itertools.pairwise(found))
    (first, *_) = store.metric("p", "rows", every="6h", end=START + 10 * DAY)
    assert first.value.reason.startswith("hours are kept"), "all that is asked for is older"


def test_hours_before_the_first_record_are_no_missing_hours(store: Store) -> None:
    at = START + 3 * HOUR
    Sender(store).records("p", [{"key": "a", "time": at, "log_time": at, "x": 1.0}])
    assert store.metric("p", "rows", every="6h")[0].value.n == 1
    assert sum(row.value.n for row in store.metric("p", "rows", start=START, every="6h")) == 1


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_value_that_one_side_lacks_is_wrong_whether_null_or_nan(session: Session, missing: float | None) -> None:
    keys = [str(i) for i in range(10)]
    ff.log("online", pd.DataFrame({"id": keys, "age": pd.array([1.0] * 10, "Float64")}), key="id")
    served: Any = np.ones(10)
    served[:3] = math.nan
    if missing is None:
        served = pd.array([None, None, None, *[1.0] * 7], "Float64")
    ff.log("offline", pd.DataFrame({"id": keys, "age": served}), key="id")
    (_, age) = ff.discrepancies("offline", "online")
    assert (age.matched, age.mismatched, age.only_current, age.only_reference, age.wrong) == (7, 0, 3, 0, 3)
    (_, age) = ff.discrepancies("online", "offline")
    assert (age.only_current, age.only_reference, age.examples["only_reference"]) == (0, 3, ("0", "1", "2"))
    assert [entry.wrong for entry in ff.discrepancies("offline", "offline")] == [0, 0]


def test_an_infinite_value_matches_only_itself(session: Session) -> None:
    for stream, values in (("a", [math.inf, 2.0, math.inf, -math.inf]), ("b", [1.0, math.inf, math.inf, math.inf])):
        ff.log(stream, pd.DataFrame({"id": list("wxyz"), "x": values}), key="id")
    assert [(e.matched, e.mismatched) for e in ff.discrepancies("a", "b") if e.column] == [(1, 3)]


@pytest.mark.parametrize(
    "other",
    [[1, 0] * 50, [1.0, 0.0] * 50, ["true", "false"] * 50, ["True", "False"] * 50, ["1", "0"] * 50, ["true"] * 100],
)
def test_a_boolean_in_another_type_has_the_same_values(session: Session, other: list[Any]) -> None:
    keys = [str(i) for i in range(100)]
    ff.log(
        "train", pd.DataFrame({"id": keys, "late": [value in (True, "1", "true", "True") for value in other]}), key="id"
    )
    ff.log("serve", pd.DataFrame({"id": keys, "late": other}), key="id")
    for here, there in (("train", "serve"), ("serve", "train")):
        (found,) = ff.skew(here, there)
        assert all(finding.kind == "type" for finding in found.findings), found
        assert "new" not in found.words
        assert "same values in another type" in found.words, found


def test_a_key_is_never_rounded(session: Session) -> None:
    first = 2**53 + 1
    ff.log("s", pd.DataFrame({"id": pd.array([first, first + 1, None], "Int64"), "x": 1.0}), key="id")
    ff.log("s", pd.DataFrame({"id": np.array([first + 2], np.uint64), "x": 1.0}), key="id")
    ff.log("s", {"id": [first + 3, first + 4], "x": [1.0, 2.0]}, key="id")
    ff.log("s", [{"id": first + 5, "x": 1.0}, {"id": 1.5, "x": 2.0}], key="id")
    ff.log("s", key=first + 6, x=1.0)
    ff.log("s", pd.DataFrame({"id": pd.Series([first + 7, "a"], dtype=object), "x": 1.0}), key="id")
    for i in range(8):
        assert len(ff.trace(str(first + i)).steps) == 1, i
    assert ff.metric("s", "duplicate_keys").value.value == 0
