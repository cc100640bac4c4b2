"""The demo's pipeline and data, April to December day by day, with faults in what its components are given."""

from __future__ import annotations

import collections
import contextlib
import pickle
from typing import Any

import numpy as np
import pandas as pd

import fourfold as ff
from bench.faults.fault import DAYS, HOURS, Injection, Roles, Size
from bench.faults.pipelines.pipeline import Changed, Failure, frozen
from bench.faults.simulated import SimulatedClock
from fourfold.examples import flights

ROLES = Roles(
    positive="wind_speed", drifting="distance", deviation=733.0, unit="temp",
    convert=lambda fahrenheit: (fahrenheit - 32) / 1.8, sensor="humid", joined=("plane_age", "seats"), slice="carrier",
    group="DL", split="hour", median=13.0, accuracy=0.72, inference="predict", upstream="arrivals",
    labeller="arrivals", task="late", predictions="predict", label_delay=6 * HOURS, labels="arrivals",
)  # fmt: skip

SHOWN = 50  # days


class Flights:
    """See ``Pipeline``. All that is done once, such as training, is done as the demo does it."""

    name, start = "flights", float(pd.Timestamp("2013-04-01", tz="UTC").timestamp())
    since = float(pd.Timestamp("2013-01-01", tz="UTC").timestamp())
    days, split = 275, 183
    roles = ROLES

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.features: dict[int, pd.DataFrame] = {}  # by day
        self.labels = pd.DataFrame()
        self.waiting = pd.DataFrame()  # labels that are still to be reported
        self.current = b""  # the model
        self.wrong: dict[str, bytes] = {}
        self.shown: collections.deque[pd.DataFrame] = collections.deque(maxlen=SHOWN)  # of the last days, for peers
        self.outcomes: collections.deque[pd.DataFrame] = collections.deque(maxlen=SHOWN)

    def begin(self, clock: SimulatedClock) -> None:
        """Declare the task, read, join, featurize and train."""
        ff.task(
            "late", prediction="predict.score", label="arrivals.late", threshold=0.3, slices=["carrier", "origin"],
            horizon="30d",
        )  # fmt: skip
        tables = flights.ingest()
        joined = flights.join_weather(tables["flights"], tables["weather"], tables["planes"])
        features, labelled = flights.featurize(joined), flights.label(joined)
        past = labelled[labelled.month <= 3][["flight_id", "late"]]
        self.current = frozen(flights.train(features["past"], past))
        self._fit_wrong(features["past"], past)
        coming = features["coming"]
        self.features = {self._number(day): part for day, part in coming.groupby(coming.scheduled.dt.floor("D"))}
        coming = labelled[labelled.month >= 4]
        self.labels = coming[["flight_id", "scheduled", "hour", "carrier", "origin"]].assign(
            label=coming.late.astype("int64"), reported=_seconds(coming.reported)
        )

    def replay(self, number: int, injection: Injection | None, clock: SimulatedClock) -> None:
        """One day's predictions and arrivals, just after its end."""
        day = self.start + number * DAYS
        clock.go_to(day + DAYS + HOURS / 12)
        with contextlib.suppress(Failure):
            self._predict(number, day, injection, clock)
        clock.now += 300
        self._arrivals(number, day, injection, clock)

    def _predict(self, number: int, day: float, fault: Injection | None, clock: SimulatedClock) -> None:
        frame = self.features.pop(number, None)
        if frame is None:
            return
        at = pd.Timestamp(day, unit="s", tz="UTC")
        if fault is None:
            model = pickle.loads(self.current)
            flights.predict(model, frame, at)
            self._show(frame, model)
            return
        for hook in (fault.source, fault.joined, fault.served):
            frame = hook(frame, _seconds(frame.scheduled))
        plan = fault.run("predict", clock.now)
        if plan.skipped or frame.empty:
            return
        times = _seconds(frame.scheduled)

        def change(scores: Any) -> Any:
            if plan.error:
                raise Failure(plan.error)
            return fault.scores(scores, frame, times)

        model = pickle.loads(fault.model(self.current, self.wrong, day))
        touched = plan.error or type(fault).scores is not Injection.scores
        served = Changed(model, change) if touched else model
        try:
            flights.predict(served, frame, at)
        except Failure:
            if not plan.retried:
                raise
            clock.now += HOURS
            flights.predict(model, frame, at)
            return
        self._show(frame, served)

    def _arrivals(self, number: int, day: float, fault: Injection | None, clock: SimulatedClock) -> None:
        scheduled = _seconds(self.labels.scheduled)
        begun = scheduled < day + DAYS
        new, self.labels = self.labels[begun], self.labels[~begun]
        if fault is not None:
            new = fault.labels(new, scheduled[begun])
        self.outcomes.append(new[["flight_id", "label", "reported"]])
        waiting = pd.concat([self.waiting, new])
        due = waiting.reported < day + DAYS
        known = waiting[due].assign(
            late=waiting.label[due] == 1, reported=pd.to_datetime(waiting.reported[due], unit="s", utc=True)
        )
        self.waiting = waiting
        if (fault is None or not fault.run("arrivals", clock.now).skipped) and len(known):
            flights.arrivals(known[["flight_id", "reported", "late"]], pd.Timestamp(day, unit="s", tz="UTC"))
            self.waiting = waiting[~due]

    def _fit_wrong(self, past: pd.DataFrame, labels: pd.DataFrame) -> None:
        """Models from a notebook, which fourfold has not seen: of few noisy flights, and of January and February."""
        fit = flights.train.__wrapped__  # type: ignore[attr-defined]
        few = labels.sample(300, random_state=self.seed)
        noisy = few.assign(late=few.late ^ (np.arange(len(few)) % 3 == 0))
        self.wrong = {Size.LARGE: frozen(fit(past, noisy)), Size.SMALL: frozen(fit(past[past.month <= 2], labels))}

    def _show(self, frame: pd.DataFrame, model: Any) -> None:
        scores = model.predict_proba(frame[flights.FEATURES])[:, 1]
        self.shown.append(frame.assign(score=scores, time=_seconds(frame.scheduled)).drop(columns="scheduled"))

    def seen(self, now: float) -> pd.DataFrame:
        """See ``Pipeline``."""
        outcomes = pd.concat(list(self.outcomes)).set_index("flight_id")
        known = outcomes["label"].where(outcomes["reported"] < now)
        frame = pd.concat(list(self.shown))
        return frame.assign(label=frame["flight_id"].map(known[~known.index.duplicated()])).rename(
            columns={"flight_id": "id"}
        )

    def _number(self, day: Any) -> int:
        return int((day.timestamp() - self.start) // DAYS)


def _seconds(times: pd.Series[Any]) -> np.ndarray[Any, Any]:
    return np.asarray((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1))
