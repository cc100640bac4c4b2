"""How mature windows are: what is settled, what is provisional, and the share of labels that is still expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fourfold as ff
from fourfold.metrics.maturity import kaplan_meier
from fourfold.model import Status
from fourfold.sdk import Session

START = pd.Timestamp("2024-03-01", tz="UTC")
DAYS, EACH, HORIZON = 40, 400, 10

ages = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=12)


@given(ages.filter(bool), ages)
def test_the_curve_of_labels_is_kaplan_and_meiers(came: list[tuple[int, int]], still: list[tuple[int, int]]) -> None:
    delays, labelled = np.array(came, np.float64).T
    waited, unlabelled = np.array(still or [(0, 0)], np.float64).T
    found = kaplan_meier(delays, labelled, waited, unlabelled)
    data = stats.CensoredData(
        np.repeat(delays, labelled.astype(int)), right=np.repeat(waited, unlabelled.astype(int))
    )  # fmt: skip
    at = np.arange(0.0, 31.0)
    np.testing.assert_allclose(found.at(at), stats.ecdf(data).cdf.evaluate(at), atol=1e-12)


def log_until_now() -> pd.DataFrame:
    """Forty days of predictions of a quick and a slow group, with what labels there are by the end of the last."""
    random = np.random.default_rng(3)
    n = DAYS * EACH
    frame = pd.DataFrame({"id": np.arange(n), "score": random.random(n), "group": random.choice(["quick", "slow"], n)})
    frame["at"] = START + pd.to_timedelta(np.arange(n) * DAYS / n, unit="D")
    mean = np.where(frame["group"] == "slow", 4.0, 0.5)
    frame["labelled_at"] = frame["at"] + pd.to_timedelta(random.exponential(mean), unit="D")
    frame["comes"] = (random.random(n) < 0.8) & (frame["labelled_at"] <= frame["at"] + pd.Timedelta(days=HORIZON))
    frame["late"] = random.integers(0, 2, n)
    ff.task("t", prediction="p.score", label="l.late", slices=["group"], horizon=f"{HORIZON}d")
    ff.log("p", frame[["id", "at", "score", "group"]], key="id", time="at")
    frame["there"] = frame["comes"] & (frame["labelled_at"] < START + pd.Timedelta(days=DAYS))
    ff.log("l", frame.loc[frame["there"], ["id", "labelled_at", "late"]], key="id", time="labelled_at")
    return frame


@pytest.mark.parametrize("hours", [6, 24, 120])
def test_windows_say_what_share_of_their_labels_will_still_come(session: Session, hours: int) -> None:
    frame = log_until_now()
    length = pd.Timedelta(hours=hours)
    frame["window"] = START + (frame["at"] - START) // length * length
    frame["awaited"] = frame["comes"] & ~frame["there"]
    found = ff.metric("t", "accuracy", start=START, end=START + pd.Timedelta(days=DAYS), every=f"{hours}h")
    share = frame.groupby("window")["awaited"].mean()
    assert len(found) == len(share)
    size = len(frame) / len(share)
    for row in found:
        true = share[row.window.start_time]
        if row.window.end <= (START + pd.Timedelta(days=DAYS - HORIZON - 1)).timestamp():
            assert (row.value.status, row.value.expected_labels) == (Status.SETTLED, None)
        elif row.value.status is Status.PROVISIONAL:
            assert row.value.expected_labels == pytest.approx(true, abs=4 * (0.25 / size) ** 0.5)
    assert sum(row.value.status is Status.PROVISIONAL for row in found) >= HORIZON * len(share) // DAYS


def test_a_slow_group_is_known_to_be_slow(session: Session) -> None:
    frame = log_until_now()
    frame["awaited"] = frame["comes"] & ~frame["there"]
    day = START + pd.Timedelta(days=DAYS - 1)
    found = ff.metric("t", "accuracy", by="group", start=day, end=day + pd.Timedelta(days=1))
    expected = frame[frame["at"] >= day].groupby("group")["awaited"].mean()
    shares = {row.slice["group"]: row.value.expected_labels for row in found}
    assert shares == pytest.approx(dict(expected), abs=0.1)
    assert (shares["slow"] or 0.0) > (shares["quick"] or 0.0) + 0.2


def test_an_online_service_awaits_labels_by_the_hour(session: Session) -> None:
    random = np.random.default_rng(4)
    n = 12_000
    frame = pd.DataFrame({"id": np.arange(n), "score": random.random(n), "clicked": random.integers(0, 2, n)})
    frame["at"] = START + pd.to_timedelta(np.arange(n) * 60 / n, unit="h")
    frame["seen"] = frame["at"] + pd.to_timedelta(random.exponential(3.0, n), unit="h")
    frame["there"] = frame["seen"] < START + pd.Timedelta(hours=60)
    ff.task("t", prediction="p.score", label="l.clicked", horizon="12h")
    ff.log("p", frame[["id", "at", "score"]], key="id", time="at")
    ff.log("l", frame.loc[frame["there"], ["id", "seen", "clicked"]], key="id", time="seen")
    day = START + pd.Timedelta(days=2)
    for every, hours in (("1h", 1), (None, 12)):
        found = ff.metric("t", "accuracy", start=day, end=day + pd.Timedelta(hours=12), every=every)
        assert len(found) == 12 // hours
        for row in found:
            here = (frame["at"] - row.window.start_time) // pd.Timedelta(hours=hours) == 0
            within = frame["seen"] <= frame["at"] + pd.Timedelta(hours=12)
            true = (here & within & ~frame["there"]).sum() / here.sum()
            assert row.value.status is Status.PROVISIONAL
            assert row.value.expected_labels == pytest.approx(true, abs=0.15 if hours == 1 else 0.05)


def test_what_was_predicted_after_the_newest_label_is_awaited_whole(session: Session) -> None:
    frame = log_until_now()
    later = START + pd.Timedelta(days=DAYS + 5)
    ff.log("p", pd.DataFrame({"id": [f"n{i}" for i in range(50)], "at": later, "score": 0.5, "group": "quick"}),
           key="id", time="at")  # fmt: skip
    value = ff.metric("t", "coverage", start=later, end=later + pd.Timedelta(days=1)).value
    assert (value.value, value.status) == (0.0, Status.PROVISIONAL)
    settled = frame[frame["at"] < START + pd.Timedelta(days=DAYS - HORIZON)]
    assert value.expected_labels == pytest.approx(settled["comes"].mean(), abs=0.03)


def test_a_label_from_the_future_settles_nothing(session: Session) -> None:
    now = pd.Timestamp.now("UTC")
    ff.task("t", prediction="p.score", label="l.late", horizon="2d")
    ff.log("p", pd.DataFrame({"id": range(20), "at": now - pd.Timedelta(hours=3), "score": 0.9}), key="id", time="at")
    ff.log("l", [{"id": 1, "at": now, "late": 1}, {"id": 2, "at": now + pd.Timedelta(days=300), "late": 1}],
           key="id", time="at")  # fmt: skip
    value = ff.metric("t", "accuracy").value
    assert (value.status, value.n) == (Status.PROVISIONAL, 1)
