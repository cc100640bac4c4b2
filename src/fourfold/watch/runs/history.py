"""The runs that findings are made from: the newest of each component, and what they passed on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from fourfold.model import Run, RunStatus
from fourfold.watch.runs.cadence import Cadence, Start, cadence

RUNS = 300  # of each component that are read, the newest
FEW = 5  # earlier runs, below which a component has no habits yet


@dataclasses.dataclass(frozen=True, slots=True)
class Edge:
    """One component that feeds another with an artifact, under the name that it has as an input."""

    upstream: str
    downstream: str
    input: str


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """A run that read what another one wrote."""

    user: Run
    maker: Run
    input: str


@dataclasses.dataclass(frozen=True)
class History:
    """The newest runs of each component, by when they started, the oldest first.

    ``starts`` goes further back than ``runs``. ``labels`` are the components that log the labels of another one's
    predictions, each with those: they go on while there is nothing new to predict.
    """

    runs: Mapping[str, Sequence[Run]]
    starts: Mapping[str, Sequence[Start]] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def by_id(self) -> dict[str, Run]:
        """All runs by their identity."""
        return {run.id: run for several in self.runs.values() for run in several}

    @functools.cached_property
    def inside(self) -> dict[str, dict[str, int]]:
        """How many runs each component had within a run, by that one's identity."""
        found: dict[str, dict[str, int]] = {}
        for run in self.by_id.values():
            if run.parent is not None:
                counted = found.setdefault(run.component, {})
                counted[run.parent] = counted.get(run.parent, 0) + 1
        return found

    @functools.cached_property
    def makers(self) -> dict[str, list[Run]]:
        """The runs that succeeded and wrote what has this fingerprint, the oldest first."""
        found: dict[str, list[Run]] = {}
        for run in sorted(self.by_id.values(), key=lambda run: run.started):
            for mark in {a.fingerprint for a in run.artifacts if a.direction == "output"}:
                found.setdefault(mark, []).append(run)
        return found

    @functools.cached_property
    def uses(self) -> dict[Edge, list[Use]]:
        """What was passed on from component to component, by when it was read."""
        found: dict[Edge, list[Use]] = {}
        for run in sorted(self.by_id.values(), key=lambda run: run.started):
            for artifact in run.artifacts:
                if artifact.direction == "input" and (maker := self._maker(artifact.fingerprint, run)) is not None:
                    edge = Edge(maker.component, run.component, artifact.name)
                    found.setdefault(edge, []).append(Use(run, maker, artifact.name))
        return found

    @functools.cached_property
    def newest(self) -> float | None:
        """When a run last started or ended."""
        ends = (max(run.started, run.ended or 0.0) for run in self.by_id.values())
        return max(ends, default=None)

    @functools.cached_property
    def cadences(self) -> dict[str, Cadence]:
        """The cadences of the components that have a regular one."""
        found = {name: cadence(self.starts.get(name, ())) for name in self.runs}
        return {name: known for name, known in found.items() if known is not None}

    def follows(self, name: str, other: str) -> bool:
        """Whether one component only works on what another one made: it may go on for a while without it."""
        waiting, seen = {name}, {name}
        while waiting:
            ups = {edge.upstream for edge in self.uses if edge.downstream in waiting}
            ups |= {up for down in waiting for up in self.labels.get(down, ())}
            if other in ups:
                return True
            waiting, seen = ups - seen, seen | ups
        return False

    def is_over(self, name: str, at: float, now: float) -> bool:
        """Whether the period of a logical time is over, so that a component's run about it has all it can have.

        In a replay, the newest period may be cut short where the data end, and labels go on to come for a while.
        """
        known = self.cadences.get(name)
        if known is None or known.lag is not None:
            return True
        if 0 <= now - known.due <= 3 * known.limit:  # ``now`` goes with the data
            return at + known.gap <= now
        replayed = {peer: c.last for peer, c in self.cadences.items() if c.lag is None and peer != name}
        furthest = max((last for peer, last in replayed.items() if not self.follows(peer, name)), default=known.last)
        followed = [last for peer, last in replayed.items() if self.follows(name, peer)]
        return at < max(known.last, furthest) and all(at < last for last in followed)

    def ended(self, component: str) -> list[Run]:
        """The runs of a component that have ended in some way."""
        return [run for run in self.runs[component] if run.status is not RunStatus.RUNNING]

    def succeeded(self, component: str) -> list[Run]:
        """The runs of a component that have succeeded, and for how long they took."""
        return [run for run in self.runs[component] if run.status is RunStatus.SUCCEEDED and run.duration is not None]

    def _maker(self, fingerprint: str, user: Run) -> Run | None:
        """The newest run of another component that had written this when a run began; a content may be made anew."""
        for maker in reversed(self.makers.get(fingerprint, ())):
            if maker.started <= user.started and maker.component != user.component:
                return maker
        return None


def moment(run: Run) -> float:
    """The event time of a run: its logical time where it has one, else its start."""
    return run.started if run.at is None else run.at


def weekday(run: Run) -> int:
    """The day of the week that a run is about, in UTC; 0 is a Monday. Any number of seconds has one."""
    return int((moment(run) // 86_400 + 3) % 7)
