"""A replay: once without a fault for each pipeline and seed, kept week by week; then from a copy with each fault."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fourfold as ff
from bench.faults.fault import DAYS, HOURS, Fault, Injection, Size, Truth
from bench.faults.pipelines.flights import Flights
from bench.faults.pipelines.pipeline import Pipeline
from bench.faults.pipelines.series import Series
from bench.faults.pipelines.synthetic import Synthetic
from bench.faults.simulated import SimulatedClock, simulated
from fourfold.model.incident import Incident
from fourfold.sdk.session import session
from fourfold.state import incidents
from fourfold.watch.check import check
from fourfold.watch.settings import WatchSettings

PIPELINES: dict[str, type[Any]] = {"synthetic": Synthetic, "flights": Flights, "series": Series}
MORNING = 6 * HOURS  # after a day's end; by then its jobs have run
EVERY = 7  # days between the kept states of a replay without faults
AFTER = {Size.LARGE: 14, Size.SMALL: 14, Size.SLOW: 28}  # days that are replayed from the onset on
CHECKED = (-1, 0, 1, 2, 4)  # days from the day of the onset on whose next morning a check is made


@dataclasses.dataclass(frozen=True)
class Observed:
    """What fourfold raised in a replay, and what its checks took.

    ``known`` are the incidents of before the fault could begin; ``began`` and ``ended`` are the replay's first and
    last moment.
    """

    pipeline: str
    seed: int
    fault: int | None
    size: Size | None
    truth: Truth | None
    incidents: tuple[Incident, ...]
    known: frozenset[str]
    began: float
    ended: float
    seconds: float  # of CPU time


def clean(pipeline: str, seed: int, work: Path, *, checked: bool = True) -> Observed:
    """The replay without a fault, made once; its state is kept each week from when faults may begin.

    Peers need no checks of fourfold: unless ``checked``, it is logged to, and that is all.
    """
    folder = work / f"{pipeline}-{seed}"
    if (folder / "clean.pickle").exists():
        kept: Observed = pickle.loads((folder / "clean.pickle").read_bytes())
        return kept
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    replayed: Pipeline = PIPELINES[pipeline](seed)
    clock, used, number = SimulatedClock(replayed.start), 0.0, 0
    while number < replayed.days:
        upto = replayed.split if number == 0 else min(number + EVERY, replayed.days)
        with _session(folder / "store", clock):
            if number == 0:
                replayed.begin(clock)
            for day in range(number, upto):
                _day(replayed, day, None, clock)
            used += _check(clock.now) if checked else 0.0
            found = _incidents()
        number = upto
        if number < replayed.days:
            shutil.copytree(folder / "store", folder / f"day-{number}" / "store")
            (folder / f"day-{number}" / "pipeline.pickle").write_bytes(pickle.dumps((replayed, clock.now)))
    observed = Observed(
        pipeline, seed, None, None, None, tuple(found), frozenset(), replayed.since, clock.now, used
    )  # fmt: skip
    (folder / "clean.pickle").write_bytes(pickle.dumps(observed))
    return observed


def injected(pipeline: Pipeline, fault: Fault, size: Size, seed: int) -> Injection:
    """The fault as it is in this replay, from a random hour of the last third on."""
    random = np.random.default_rng([seed, fault.number, list(Size).index(size)])
    day = int(random.integers(pipeline.split + 1, pipeline.days - AFTER[size]))
    onset = pipeline.start + day * DAYS + int(random.integers(0, 24)) * HOURS
    return fault.make(size, pipeline.roles, onset, random)


def faulty(
    pipeline: str, seed: int, fault: Fault, size: Size, work: Path, export: Path | None = None, *, checked: bool = True
) -> Observed:
    """Replay with a fault from the newest kept state before it; check on the mornings after it, and at the end.

    With ``export``, what peers may see is written there as Parquet.
    """
    source = work / f"{pipeline}-{seed}"
    injection = injected(PIPELINES[pipeline](seed), fault, size, seed)
    day = int((injection.truth.onset - PIPELINES[pipeline].start) // DAYS)
    kept = max(number for number in _kept(source) if number <= day - 1)
    replayed, now = pickle.loads((source / f"day-{kept}" / "pipeline.pickle").read_bytes())
    clock, last = SimulatedClock(now), min(day + AFTER[size], replayed.days)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        shutil.copytree(source / f"day-{kept}" / "store", Path(folder) / "store")
        with _session(Path(folder) / "store", clock):
            known, used = frozenset(incident.id for incident in _incidents()), 0.0
            for number in range(kept, last):
                _day(replayed, number, injection, clock)
                if checked and (number == last - 1 or number - day in CHECKED):
                    used += _check(clock.now)
            found = tuple(_incidents())
    if export is not None:
        _export(replayed, injection, clock.now, export)
    return Observed(
        pipeline, seed, fault.number, size, injection.truth, found, known, now, clock.now, used
    )  # fmt: skip


def _day(replayed: Pipeline, number: int, injection: Injection | None, clock: SimulatedClock) -> None:
    replayed.replay(number, injection, clock)
    ff.flush()
    clock.go_to(replayed.start + (number + 1) * DAYS + MORNING)


def _kept(source: Path) -> list[int]:
    return [int(path.name.removeprefix("day-")) for path in source.glob("day-*")]


@contextlib.contextmanager
def _session(store: Path, clock: SimulatedClock) -> Iterator[None]:
    opened = ff.init(store, "faults")
    opened.sender.stop()  # all is sent by flush, at a simulated time
    with simulated(clock):
        try:
            yield
        finally:
            opened.close()


def _check(now: float) -> float:
    """Check, at a simulated time; the CPU time it took, without counting what was logged."""
    store = session().store
    store.caught_up()
    started = time.process_time()
    check(store, WatchSettings(), now)
    return time.process_time() - started


def _incidents() -> list[Incident]:
    store = session().store
    with store.reader.database.read() as connection:
        return incidents.load(connection, store.project)


def _export(replayed: Pipeline, injection: Injection, now: float, path: Path) -> None:
    """The records that were predicted, with the labels known by now, and which are from after the onset."""
    frame = replayed.seen(now)
    times = frame["time"].to_numpy(np.float64)
    frame = frame.assign(after=times >= injection.truth.onset)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
