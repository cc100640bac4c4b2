"""The data of a component's earlier runs, for use inside the current run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fourfold.counts import Counts, rows
from fourfold.errors import InputError, suggest
from fourfold.log import store_folder
from fourfold.metrics import parse
from fourfold.model import EVERYTHING, Owner, Run, RunStatus, Value
from fourfold.query.counts import CurrentCounts, pooled
from fourfold.query.reader import Reader
from fourfold.sdk.questions import store_to_ask
from fourfold.sdk.session import current_run, session
from fourfold.state import runs, series
from fourfold.store import is_store


@dataclasses.dataclass(frozen=True)
class ColumnHistory:
    """One column's counts in earlier runs, the oldest first: of all runs together, or of each."""

    name: str
    counts: Sequence[Counts]

    def metric(self, name: str) -> Value:
        """A column metric ("mean", "quantile(0.9)") of these runs' records together."""
        total = pooled(self.counts)
        return self._value(name, total) if total is not None else Value.no_data("no earlier runs")

    def each(self, name: str) -> list[Value]:
        """A column metric of each of these runs."""
        return [self._value(name, entry) for entry in self.counts]

    def quantile(self, q: float) -> Value:
        """The q-quantile of these runs' values together."""
        return self.metric(f"quantile({q!r})")

    def mean(self) -> Value:
        """The mean of these runs' values together."""
        return self.metric("mean")

    def std(self) -> Value:
        """The standard deviation of these runs' values together."""
        return self.metric("std")

    def null_rate(self) -> Value:
        """The share of nulls in these runs together."""
        return self.metric("null_rate")

    def _value(self, name: str, entry: Counts) -> Value:
        question = parse(name, "column")
        if question.metric.distance or entry.kind not in question.metric.kinds:
            raise InputError(f"{name} does not apply to {self.name!r}, which is counted as {entry.kind}")
        value = question.of(entry)
        assert isinstance(value, Value)
        return value


class History:
    """A component's earlier runs that succeeded, the oldest first."""

    def __init__(self, reader: Reader | None, component: str, found: Sequence[Run]) -> None:
        self._reader, self.component, self.runs = reader, component, tuple(found)

    def __len__(self) -> int:
        return len(self.runs)

    def last(self, n: int) -> History:
        """Only the n newest of these runs."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"last({n!r}): give a number of runs, at least 1")
        return History(self._reader, self.component, self.runs[-n:])

    def column(self, name: str) -> ColumnHistory:
        """A column of the frames that these runs wrote, or else read.

        Raises:
            UnknownNameError: none of their frames has such a column; the message lists the known ones.
        """
        if self._reader is None or not self.runs:
            return ColumnHistory(name, [])
        artifacts = {(a.direction, a.name) for run in self.runs for a in run.artifacts if a.kind == "frame"}
        known = []
        with self._reader.database.read() as connection:
            for _, artifact in sorted(artifacts, key=lambda a: (a[0] != "output", a[1])):
                owner = Owner.of_stream(f"{self.component}.{artifact}")
                available = [
                    entry for entry in series.find(connection, self._reader.project, owner) if entry.slice == EVERYTHING
                ]
                known += [entry.column for entry in available if entry.column]
                wanted = [entry for entry in available if entry.column == name]
                wanted = [entry for entry in wanted if entry.kind == "numeric"] or wanted
                if not wanted:
                    continue
                places = {int(run.counted_at * 1e6): i for i, run in enumerate(self.runs)}
                table = series.select(connection, wanted[:1], series.RUN, min(places), max(places) + 1)
                found = zip(
                    table["bucket"].to_pylist(), rows(table, CurrentCounts(self._reader, owner).binnings()), strict=True
                )
                kept = sorted(((places[at], c) for at, c in found if at in places), key=lambda entry: entry[0])
                return ColumnHistory(name, [c for _, c in kept])
        raise suggest(f"column in the frames of {self.component!r}", name, known)


def history(component: str) -> History:
    """The earlier successful runs of a component, without the current one.

    ``ff.history("featurize").last(10).column("age").quantile(0.9)``

    Before a project's first run the history is empty; a missing project or store is no error.

    Args:
        component: the component's name.

    Raises:
        UnknownNameError: no project was chosen, and the store holds several.
        ConfigError: the store is behind a collector, and cannot be asked from here.
    """
    now = session()
    folder = store_folder(now.settings.store)
    now.flush()
    if not is_store(folder):
        return History(None, component, [])
    store = now.store if now.settings.named_by or now.has_sent else store_to_ask()
    reader = store.caught_up()
    asking = current_run.get()
    with reader.database.read() as connection:
        found = runs.recent(connection, reader.project, component, 10_000)
    earlier = [r for r in found if r.status is RunStatus.SUCCEEDED and (asking is None or r.id != asking.id)]
    return History(reader, component, earlier[::-1])
