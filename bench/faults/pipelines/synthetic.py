"""A pipeline as many have it: ingest, clean, featurize, train weekly, predict, label late, and people who decide."""

from __future__ import annotations

import collections
import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fourfold as ff
from bench.faults.fault import DAYS, HOURS, Injection, Roles, Size, Truth
from bench.faults.pipelines.features import featurize, featurize_patched
from bench.faults.pipelines.pipeline import Changed, frozen, job
from bench.faults.pipelines.world import JOINED, START, USED, World
from bench.faults.simulated import SimulatedClock
from fourfold.model.incident import Where

FEATURES = [*USED, "device_age"]
RAW = ["id", "time", "worker", "region", "device", "plan", "light_2", "carbon_3"]
NOT_FEATURES = ["label", "reported", "worker"]
TRAIN_ON = 21  # days
SHOWN = 50  # days
OVERRIDDEN = 0.03
TOUCHED = {*USED, "light_2", "carbon_3"}  # the sensors that faults touch; peers are given these and some others
LENGTHS = {"ingest": 300, "clean": 120, "featurize": 600, "train": 2_400, "predict": 240, "label": 60, "review": 30}
ROLES = Roles(
    positive="light_2", drifting="speed_0", deviation=1.0, unit="temperature_0",
    convert=lambda celsius: celsius * 1.8 + 32, sensor="carbon_3", joined=JOINED, slice="region", group="east",
    split="torque_4", median=0.0, accuracy=0.84, inference="predict", upstream="clean", labeller="label",
    task="failure", predictions="predict", label_delay=12 * HOURS, labels="labels",
)  # fmt: skip


class Synthetic:
    """See ``Pipeline``. Eighteen weeks; each Monday the model is trained on what is known by then.

    A day's jobs run half an hour after its end, when all its records are in.
    """

    name, start, since = "synthetic", float(START), float(START)
    days, split = 126, 84

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed, self.days)
        first = self.world.day(0)
        self.known: dict[int, pd.DataFrame] = {}  # by day: served features and labels, to train on
        self.waiting: list[pd.DataFrame] = []  # labels that are still to be reported
        self.models: dict[str, bytes] = {}  # by version
        self.shown: collections.deque[pd.DataFrame] = collections.deque(maxlen=SHOWN)  # of the last days, for peers
        self._deviation, self._median = float(first["speed_0"].std()), float(first["torque_4"].median())

    @property
    def roles(self) -> Roles:
        """The roles of its columns."""
        return dataclasses.replace(ROLES, deviation=self._deviation, median=self._median)

    def begin(self, clock: SimulatedClock) -> None:
        """Declare the tasks; there are labels to train on from the weeks before."""
        ff.task(
            "failure",
            prediction="predict.score",
            label="labels.failed",
            slices=["region", "worker"],
            version="version",
            horizon="30d",
        )
        ff.task("review", kind="decision", prediction="predict.score", label="decisions.approved", threshold=0.5)
        for number in range(-TRAIN_ON, 0):
            self.known[number] = self.world.day(number)[["id", *FEATURES, "label", "reported"]]

    def replay(self, number: int, injection: Injection | None, clock: SimulatedClock) -> None:
        """One day: on Mondays a training in the morning, and the day's jobs after its end."""
        fault = injection or _none()
        day = self.start + number * DAYS
        clock.go_to(day + HOURS)
        if number % 7 == 0:
            self._train(number, day, fault, clock)
        clock.go_to(day + DAYS + HOURS / 2)
        raw = self.world.day(number)
        raw = fault.source(raw, _times(raw))
        served = self._prepare(raw, day, fault, clock)
        scored = None if served is None else self._predict(raw, served, day, fault, clock)
        labelled = self._learn(number, raw, fault)
        self._label(day, fault, clock)
        if served is not None and scored is not None:
            approved = self._review(scored, day, fault, clock)
            outcome = labelled.set_index("id").reindex(scored["id"])
            rest = raw.drop(columns=[*served.columns, "label", "reported", "embedding"], errors="ignore")
            both = pd.concat([served, rest], axis=1).assign(time=_times(served), score=scored["score"])
            both = both.assign(approved=approved, label=outcome["label"].array, reported=outcome["reported"].array)
            self.shown.append(both)

    def _job(self, component: str, day: float, fault: Injection, clock: SimulatedClock, work: Any) -> bool:
        return job(component, day, fault.run(component, clock.now), self._length(component, day), clock, work)

    def _length(self, component: str, day: float) -> float:
        random = np.random.default_rng([self.seed, 2, int(day), len(component)])
        return float(LENGTHS[component] * random.lognormal(0, 0.1))

    def _prepare(self, raw: pd.DataFrame, day: float, fault: Injection, clock: SimulatedClock) -> pd.DataFrame | None:
        """Ingest, clean and featurize; the served features, or None if nothing ran."""
        arrived = raw[RAW]
        clean = arrived.assign(weekend=arrived["time"].dt.weekday >= 5)

        def take(run: Any) -> None:
            run.output("raw", arrived, time="time", by=["worker"])

        if not self._job("ingest", day, fault, clock, take):
            return None

        def tidy(run: Any) -> None:
            run.input("raw", arrived, time="time")
            run.output("clean", clean, time="time")

        cleaned = self._job("clean", day, fault, clock, tidy)
        return self._featurize(raw, clean if cleaned else arrived, day, fault, clock)

    def _featurize(
        self, raw: pd.DataFrame, clean: pd.DataFrame, day: float, fault: Injection, clock: SimulatedClock
    ) -> pd.DataFrame | None:
        joined = fault.joined(raw.drop(columns=NOT_FEATURES), _times(raw))
        served = fault.served(joined[["id", "time", "region", *FEATURES]], _times(joined))
        plan = fault.run("featurize", clock.now)
        if plan.skipped:
            return None

        def tables() -> Mapping[str, pd.DataFrame]:
            clock.now += self._length("featurize", day)
            return {"features": joined.drop(columns=["id", "time"]), "served": served}

        made = (featurize_patched if fault.is_patched(day) else featurize)(clean, tables, day)
        return made["served"]

    def _train(self, number: int, day: float, fault: Injection, clock: SimulatedClock) -> None:
        """The last weeks' records whose labels are known, made to features by the offline code."""
        known = pd.concat([self.known[n] for n in range(number - TRAIN_ON, number) if n in self.known])
        known = known[known["reported"] < day]
        made: dict[str, pd.DataFrame] = {}

        def tables() -> Mapping[str, pd.DataFrame]:
            clock.now += self._length("featurize", day)
            return {"training": known[["id", *FEATURES, "label"]]}

        if not fault.run("featurize", clock.now).skipped:
            made = dict(featurize(known[["id"]], tables, day))

        def fit(run: Any) -> None:
            run.input("features", made["training"])
            model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
            model.fit(made["training"][FEATURES], made["training"]["label"])
            run.output("model", model)
            run.metric("accuracy", model.score(known[FEATURES], known["label"]))
            self.models[f"week {number // 7 + 1:02d}"] = frozen(model)

        if made:
            self._job("train", day, fault, clock, fit)

    def _predict(
        self, raw: pd.DataFrame, served: pd.DataFrame, day: float, fault: Injection, clock: SimulatedClock
    ) -> pd.DataFrame | None:
        newest = max(self.models)
        version, promoted = fault.model((newest, self.models[newest]), self._wrong_models(), day)
        times = _times(served)
        model = Changed(pickle.loads(promoted), lambda scores: fault.scores(scores, served, times))
        out = raw[["id", "time", "region", "device", "worker"]].assign(version=version)

        def score(run: Any) -> None:
            run.input("model", model)
            run.input("features", served, time="time")
            out["score"] = model.predict_proba(served[FEATURES])[:, 1].round(6)
            ff.log("predict", out, key="id", time="time")

        return out if self._job("predict", day, fault, clock, score) else None

    def _wrong_models(self) -> dict[str, tuple[str, bytes]]:
        """An earlier one; and one that was fitted in a notebook to a few records, many of them wrong."""
        versions = sorted(self.models)
        earlier = versions[max(len(versions) - 5, 0)]
        few = pd.concat(list(self.known.values())[:1]).iloc[:120]
        noisy = np.where(np.arange(len(few)) % 3 == 0, 1 - few["label"], few["label"])
        poor = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(few[FEATURES], noisy)
        return {Size.LARGE: ("notebook", frozen(poor)), Size.SMALL: (earlier, self.models[earlier])}

    def _learn(self, number: int, raw: pd.DataFrame, fault: Injection) -> pd.DataFrame:
        """Keep what will be known of the day's records, to train on."""
        labelled = fault.labels(raw, _times(raw))
        labelled = labelled[labelled["reported"].notna()]
        self.waiting.append(labelled[["id", "label", "reported"]])
        self.known[number] = labelled[["id", *FEATURES, "label", "reported"]]
        self.known.pop(number - TRAIN_ON - 1, None)
        return labelled[["id", "label", "reported"]]

    def _label(self, day: float, fault: Injection, clock: SimulatedClock) -> None:
        waiting = pd.concat(self.waiting)
        due = waiting["reported"] < day + DAYS
        reported = waiting[due].rename(columns={"label": "failed", "reported": "time"})

        def log(run: Any) -> None:
            ff.log("labels", reported[["id", "failed", "time"]], key="id", time="time")

        if self._job("label", day, fault, clock, log):
            self.waiting = [waiting[~due]]

    def _review(self, scored: pd.DataFrame, day: float, fault: Injection, clock: SimulatedClock) -> pd.Series[bool]:
        """People follow most predictions within the hour."""
        random = np.random.default_rng([self.seed, 3, int(day)])
        share = OVERRIDDEN * random.lognormal(0, 0.2)
        approved = (scored["score"] >= 0.5).to_numpy() ^ (random.random(len(scored)) < share)
        decided = fault.decisions(scored[["id", "time"]].assign(approved=approved), _times(scored))
        decided = decided.assign(time=decided["time"] + pd.Timedelta(minutes=40))
        self._job("review", day, fault, clock, lambda run: ff.log("decisions", decided, key="id", time="time"))
        return decided["approved"]

    def seen(self, now: float) -> pd.DataFrame:
        """See ``Pipeline``."""
        frame = pd.concat(list(self.shown))
        few = [name for name in frame.columns if name.rpartition("_")[2] not in "23456789" or name in TOUCHED]
        return frame.assign(label=frame["label"].where(frame["reported"] < now))[[n for n in few if n != "reported"]]


def _times(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    return np.asarray(frame["time"].astype("int64") / {"us": 1e6, "ns": 1e9, "s": 1.0}[frame["time"].dt.unit])


def _none() -> Injection:
    """No fault."""
    never = float("inf")
    return Injection(Truth(never, never, (Where(),)), np.random.default_rng(0))
