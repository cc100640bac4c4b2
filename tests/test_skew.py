"""Two places that should be alike: train/serve skew in words, and online/offline values key by key."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fourfold as ff
from fourfold.sdk import Session
from tests.support import SLOW

RANDOM = np.random.default_rng(5)
N = 3_000


def features(n: int = N) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(n)],
            "distance": RANDOM.gamma(3.0, 300.0, n),
            "temperature": RANDOM.normal(12.0, 6.0, n),
            "carrier": RANDOM.choice(["AA", "UA", "DL"], n, p=[0.5, 0.3, 0.2]),
            "seats": RANDOM.integers(50, 300, n).astype(float),
            "age": RANDOM.normal(10.0, 3.0, n),
            "code": [str(v) for v in RANDOM.integers(100, 999, n)],
            "steady": RANDOM.normal(0.0, 1.0, n),
            "gate": RANDOM.choice(["A1", "B2"], n),
        }
    )


def test_what_differs_is_told_apart_in_words(session: Session) -> None:
    ff.log("train.features", features().assign(old=1.0), key="id")
    served = features()
    served["distance"] *= 1.609344
    served["temperature"] = served["temperature"] * 1.8 + 32
    served["carrier"] = served["carrier"].str.lower()
    served.loc[served.index[::5], "seats"] = np.nan
    served["age"] += 6.0
    served["code"] = served["code"].astype(float)
    served["gate"] = RANDOM.choice(["A1", "B2", "C3"], N)
    ff.log("predict", served.assign(new="x"), key="id")
    found = {entry.column: entry for entry in ff.skew("train.features", "predict")}

    def said(column: str) -> dict[str, str]:
        return {finding.kind: finding.message for finding in found[column].findings}

    assert "only in the reference" in said("old")["schema"] and "only in this stream" in said("new")["schema"]
    assert said("code") == {"type": "numbers here, text in the reference"}
    assert "miles to kilometres" in said("distance")["unit"]
    assert "Celsius to Fahrenheit" in said("temperature")["unit"]
    assert "another spelling" in said("carrier")["categories"]
    assert "'C3'" in said("gate")["categories"]
    assert said("seats") == {"nulls": "20.0% missing here, 0.0% in the reference"}
    assert said("age").keys() == {"distribution"}
    assert not found["steady"].findings
    assert found["steady"].distances["kolmogorov_smirnov"].value == pytest.approx(0.0, abs=0.06)
    assert next(iter(found)) in {"old", "new", "code"}, "the worst come first"
    assert list(found)[-1] == "steady"
    shown = [repr(found[column]) for column in ("steady", "code")]
    assert shown == ["<'steady' alike>", "<'code' type: numbers here, text in the reference>"]


def test_a_drift_that_looks_like_another_unit_is_not_called_one(session: Session) -> None:
    ff.log("winter", pd.DataFrame({"id": range(N), "temp": RANDOM.normal(38.0, 12.0, N)}), key="id")
    ff.log("summer", pd.DataFrame({"id": range(N), "temp": RANDOM.normal(66.0, 15.0, N)}), key="id")
    (found,) = ff.skew("winter", "summer")
    assert [finding.kind for finding in found.findings] == ["distribution"]


def test_unknown_streams_and_empty_windows_say_what_there_is(session: Session) -> None:
    ff.log("predict", features(20), key="id")
    with pytest.raises(ff.UnknownNameError, match="predict"):
        ff.skew("train.features", "predict")
    with pytest.raises(ff.InputError, match="whole day"):
        ff.skew("predict", "predict", start="2024-01-01T05:00")
    with pytest.raises(ff.InputError, match="not before"):
        ff.skew("predict", "predict", start="2024-01-02", end="2024-01-01")


@SLOW
@given(
    here=st.dictionaries(st.sampled_from("abcdef"), st.one_of(st.none(), st.sampled_from([0.0, 1.0, 1.05, 2.0]))),
    there=st.dictionaries(st.sampled_from("abcdef"), st.one_of(st.none(), st.sampled_from([0.0, 1.0, 1.05, 2.0]))),
    relative=st.sampled_from([0.0, 0.1]),
    absolute=st.sampled_from([0.0, 0.06]),
)
def test_values_are_compared_key_by_key_as_plain_python_does(
    tmp_path_factory: pytest.TempPathFactory,
    here: dict[str, float | None],
    there: dict[str, float | None],
    relative: float,
    absolute: float,
) -> None:
    session = ff.init(tmp_path_factory.mktemp("store"), "test")
    for stream, values in (("online", here), ("offline", there)):
        ff.log(stream, pd.DataFrame({"id": ["z"], "x": [3.0], "name": ["ö'"]}), key="id")
        if values:
            ff.log(
                stream, pd.DataFrame({"id": list(values), "x": pd.array(list(values.values()), "Float64")}), key="id"
            )
    keys, x, name = sorted(
        ff.discrepancies("offline", "online", relative=relative, absolute=absolute),
        key=lambda d: ["", "x", "name"].index(d.column),
    )
    session.close()
    shared = here.keys() & there.keys()
    assert (keys.matched, keys.only_current, keys.only_reference) == (
        len(shared) + 1, len(here.keys() - shared), len(there.keys() - shared),
    )  # fmt: skip
    wrong, only_current, only_reference = [], [], []
    for key in here.keys() | there.keys():
        a, b = here.get(key), there.get(key)
        if a is not None and b is not None:
            wrong += [key] if abs(a - b) > absolute + relative * abs(b) else []
        only_current += [key] if a is not None and b is None else []
        only_reference += [key] if b is not None and a is None else []
    assert (x.mismatched, x.only_current, x.only_reference) == (len(wrong), len(only_current), len(only_reference))
    assert x.examples.get("mismatched", ()) == tuple(sorted(wrong)[:5])
    assert name.wrong == 0


def test_the_newest_record_of_a_key_is_compared(session: Session) -> None:
    ff.log("online", pd.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]}), key="id")
    ff.log("offline", pd.DataFrame({"id": ["a", "b"], "x": [9.0, 2.0]}), key="id")
    ff.log("offline", pd.DataFrame({"id": ["a"], "x": [1.0]}), key="id")
    assert [entry.wrong for entry in ff.discrepancies("offline", "online")] == [0, 0]
    with pytest.raises(ff.UnknownNameError, match="x"):
        ff.discrepancies("online", "offline", columns=["y"])
    with pytest.raises(ff.InputError, match="below zero"):
        ff.discrepancies("online", "offline", relative=-1)
