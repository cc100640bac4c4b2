"""A replay: the days without a fault once for each pipeline and seed, then the rest with each fault from a copy."""

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
from bench.faults.pipelines.synthetic import Synthetic
from bench.faults.simulated import SimulatedClock, simulated
from fourfold.model.incident import Incident

PIPELINES: dict[str, type[Any]] = {"synthetic": Synthetic, "flights": Flights}
MORNING = 6 * HOURS  # after a day's end; by then its jobs have run
BEFORE_END = 14  # days that are left after the latest onset
DAILY = 10  # days from the onset on which a fault that needs it is checked each morning


@dataclasses.dataclass(frozen=True)
class Observed:
    """What fourfold raised in a replay, and what it took. ``known`` are the incidents from before the tail."""

    pipeline: str
    seed: int
    fault: int | None
    size: Size | None
    truth: Truth | None
    incidents: tuple[Incident, ...]
    known: frozenset[str]
    began: float  # the tail
    ended: float
    seconds: float  # of CPU time, for the checks


def prefix(pipeline: str, seed: int, work: Path, days: int | None = None) -> Path:
    """A folder with the store and the pipeline as they are when faults may begin; made once."""
    folder = work / f"{pipeline}-{seed}"
    if (folder / "pipeline.pickle").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    replayed: Pipeline = PIPELINES[pipeline](seed)
    with _session(folder / "store", SimulatedClock(replayed.start)) as clock:
        replayed.begin(clock)
        for number in range(replayed.split if days is None else days):
            replayed.replay(number, None, clock)
            ff.flush()
        clock.go_to(clock.now // DAYS * DAYS + MORNING)
        _check(clock.now)
    (folder / "pipeline.pickle").write_bytes(pickle.dumps((replayed, clock.now)))
    return folder


def onset(pipeline: Pipeline, fault: Fault, size: Size, seed: int) -> tuple[float, np.random.Generator]:
    """A random hour of the last third, and the source of the fault's own randomness."""
    random = np.random.default_rng([seed, fault.number, list(Size).index(size)])
    last = pipeline.days - BEFORE_END - (14 if size is Size.SLOW else 0)
    day = int(random.integers(pipeline.split + 1, last))
    return pipeline.start + day * DAYS + int(random.integers(0, 24)) * HOURS, random


def injected(pipeline: Pipeline, fault: Fault, size: Size, seed: int) -> Injection:
    """The fault as it is in this replay."""
    moment, random = onset(pipeline, fault, size, seed)
    return fault.make(size, pipeline.roles, moment, random)


def tail(pipeline: str, seed: int, fault: Fault | None, size: Size | None, work: Path) -> Observed:
    """Replay the rest with a fault, or without; then check, or on each morning of a fault that needs it."""
    source = prefix(pipeline, seed, work)
    replayed, now = pickle.loads((source / "pipeline.pickle").read_bytes())
    injection = None if fault is None or size is None else injected(replayed, fault, size, seed)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        shutil.copytree(source / "store", Path(folder) / "store")
        with _session(Path(folder) / "store", SimulatedClock(now)) as clock:
            known = frozenset(incident.id for incident in _incidents())
            used, began = 0.0, clock.now
            for number in range(replayed.split, replayed.days):
                replayed.replay(number, injection, clock)
                ff.flush()
                clock.go_to(replayed.start + (number + 1) * DAYS + MORNING)
                late = None if injection is None else (clock.now - injection.truth.onset) / DAYS
                live = fault is not None and fault.daily and late is not None and -1 <= late < DAILY
                if live or number == replayed.days - 1:
                    started = time.process_time()
                    _check(clock.now)
                    used += time.process_time() - started
            return Observed(
                pipeline, seed, fault and fault.number, size, injection and injection.truth, tuple(_incidents()),
                known, began, clock.now, used,
            )  # fmt: skip


@contextlib.contextmanager
def _session(store: Path, clock: SimulatedClock) -> Iterator[SimulatedClock]:
    session = ff.init(store, "faults")
    session.sender.stop()  # all is sent by flush, at a simulated time
    with simulated(clock):
        try:
            yield clock
        finally:
            session.close()


def _check(now: float) -> None:
    from fourfold.sdk.session import session
    from fourfold.watch.check import check
    from fourfold.watch.settings import watch_settings

    check(session().store, watch_settings(session().settings.watch), now)


def _incidents() -> list[Incident]:
    from fourfold.sdk.session import session
    from fourfold.watch.incidents import incidents

    return list(incidents(session().store.reader, active=False))
