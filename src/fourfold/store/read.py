"""Answers to questions: which counts a metric needs, summed by window and slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.binning import Binning
from fourfold.counts import Counts
from fourfold.errors import suggest
from fourfold.model import Task, Window
from fourfold.state import catalogue
from fourfold.store.source import Source, Stored, of_dimension
from fourfold.store.store import Store


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a metric is asked of: the owner of the counts, and the column ("" for records or a task)."""

    kind: str  # "task", "stream" or "column"
    owner: str
    column: str = ""
    task: Task | None = None

    @property
    def stream(self) -> str:
        """The stream that slices are columns of."""
        return self.task.prediction.stream if self.task is not None else self.owner.removeprefix("stream:")


Place = tuple[int, str]  # the number of a window, and a slice


def resolve(store: Store, target: str) -> Target:
    """What a text names: a task, a stream, or a column of a stream (the longest stream name that fits).

    A component's single output can be left out: "featurize.age" is "featurize.output.age".

    Raises:
        UnknownNameError: nothing of that name; lists what there is.
    """
    tasks = store.database.recall(catalogue.tasks, store.project)
    streams = list(store.database.recall(catalogue.streams, store.project))
    if target in tasks:
        return Target("task", f"task:{target}", task=tasks[target])
    if target in streams:
        return Target("stream", f"stream:{target}")
    for stream in sorted(streams, key=len, reverse=True):
        if target.startswith(f"{stream}."):
            column = target[len(stream) + 1 :]
            known = {row[1] for row in Stored(store, f"stream:{stream}").series()} - {""}
            if column in known:
                return Target("column", f"stream:{stream}", column)
            if not any(other.startswith(f"{stream}.") for other in streams if other != target):
                raise suggest(f"column of stream {stream!r}", column, sorted(known))
    component, _, column = target.partition(".")
    if column and f"{component}.output" in streams and not column.startswith("output"):
        return resolve(store, f"{component}.output.{column}")
    raise suggest("task, stream or column", target, [*tasks, *streams])


def pooled(parts: Iterable[Counts]) -> Counts | None:
    """The sum of counts of one series that may be on several versions of its binning; None of none."""
    found = list(parts)
    if not found:
        return None
    target = max((p.binning for p in found if p.binning is not None), key=lambda b: b.version, default=None)
    return counts.total([counts.reproject(p, target) if target is not None else p for p in found])


def known_binnings(store: Store, owner: str) -> dict[tuple[str, int], Binning]:
    """All binnings of an owner, by column and version."""
    return Stored(store, owner).binnings()


def load(
    source: Source, column: str, kinds: Sequence[str], names: tuple[str, ...], windows: Sequence[Window], level: int,
    *, bins: bool = True,
) -> tuple[Iterable[tuple[Place, Counts]], list[str]]:  # fmt: skip
    """The counts of a column's series by window and slice, of the first of the kinds that there is; and the slices."""
    found = [row for row in source.series() if row[1] == column]
    for kind in kinds:
        wanted = of_dimension([row for row in found if row[2] == kind], names)
        if wanted:
            table = source.counts(wanted, level, windows[0].start, windows[-1].end, bins=bins)
            return _by_place(table, windows, source.binnings()), sorted({row[3] for row in wanted})
    return [], []


def _by_place(
    table: pa.Table, windows: Sequence[Window], binnings: dict[tuple[str, int], Binning]
) -> Iterable[tuple[Place, Counts]]:
    """Counts by number of window and slice, each once."""
    if table.num_rows == 0:
        return []
    starts = np.array([w.start for w in windows])
    place = np.searchsorted(starts, table["bucket"].to_numpy(), side="right") - 1
    if len(np.unique(table["bucket"].to_numpy())) > len(np.unique(place)):  # a window is several buckets
        table = counts.rebucket(table, place)
        place = table["bucket"].to_numpy()
    at = zip(place.tolist(), table["slice"].to_pylist(), strict=True)
    found = zip(at, counts.rows(table, binnings), strict=True)
    if len(table["binning"].unique()) == 1:
        return found
    together: dict[Place, list[Counts]] = {}  # by the versions of the binning
    for key, entry in found:
        together.setdefault(key, []).append(entry)
    return [(key, total) for key, parts in together.items() if (total := pooled(parts)) is not None]
