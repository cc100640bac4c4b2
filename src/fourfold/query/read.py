"""Answers to questions: which counts a metric needs, summed by window and slice."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from fourfold import counts
from fourfold.counts import KINDS, Counts
from fourfold.counts import Place as Place
from fourfold.counts.binning import Ints
from fourfold.errors import suggest
from fourfold.model import DAY, EVERYTHING, Task, Window
from fourfold.query.reader import Reader
from fourfold.query.source import Source, Stored, of_dimension
from fourfold.state import catalogue
from fourfold.state.series import FIRST, LAST, Series


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The target of a metric: the owner of the counts, and the column ("" for records or a task)."""

    kind: str  # "task", "stream" or "column"
    owner: str
    column: str = ""
    task: Task | None = None

    @property
    def stream(self) -> str:
        """The stream whose columns are the slices."""
        return self.task.prediction.stream if self.task is not None else self.owner.removeprefix("stream:")


EVER = Window(FIRST, LAST)
Found = Iterable[tuple[Place, Counts]]


def resolve(reader: Reader, target: str) -> Target:
    """The target that a text names: a task, a stream, or a column of a stream (the longest stream name that fits).

    A component's single output can be left out: "featurize.age" is "featurize.output.age".

    Raises:
        UnknownNameError: nothing has that name; the message lists the known ones.
    """
    tasks = reader.database.recall(catalogue.tasks, reader.project)
    streams = list(reader.database.recall(catalogue.streams, reader.project))
    if target in tasks:
        return Target("task", f"task:{target}", task=tasks[target])
    if target in streams:
        return Target("stream", f"stream:{target}")
    for stream in sorted(streams, key=len, reverse=True):
        if target.startswith(f"{stream}."):
            column = target[len(stream) + 1 :]
            known = {row[1] for row in Stored(reader, f"stream:{stream}").series()} - {""}
            if column in known:
                return Target("column", f"stream:{stream}", column)
            if not any(other.startswith(f"{stream}.") for other in streams if other != target):
                raise suggest(f"column of stream {stream!r}", column, sorted(known))
    component, _, column = target.partition(".")
    if column and f"{component}.output" in streams and not column.startswith("output"):
        return resolve(reader, f"{component}.output.{column}")
    raise suggest("task, stream or column", target, [*tasks, *streams])


def pooled(parts: Iterable[Counts]) -> Counts | None:
    """The sum of a series' counts, which may use several versions of its binning; None without counts."""
    found = list(parts)
    if not found:
        return None
    target = max((p.binning for p in found if p.binning is not None), key=lambda b: b.version, default=None)
    return counts.total([counts.reproject(p, target) if target is not None else p for p in found])


def load(
    source: Source, column: str, kinds: Sequence[str], names: tuple[str, ...], windows: Sequence[Window], level: int,
    *, bins: bool = True,
) -> tuple[Found, list[str]]:  # fmt: skip
    """The counts of a column's series by window and slice, of the first kind that it has; and the slices."""
    found = [row for row in source.series() if row[1] == column]
    for kind in kinds:
        wanted = of_dimension([row for row in found if row[2] == kind], names)
        if wanted:
            read = _with_labels if bins and KINDS[kind].labelled else functools.partial(_panel, bins=bins)
            return read(source, wanted, windows, level), sorted({row[3] for row in wanted})
    return [], []


def totals(
    reader: Reader, stream: str, window: Window = EVER, *, bins: bool = True
) -> dict[str, dict[str, Counts]]:  # fmt: skip
    """The counts of all records of a stream, by column and kind."""
    source = Stored(reader, f"stream:{stream}")
    found: dict[str, dict[str, Counts]] = {}
    for _, column, kind, key in source.series():
        if key == EVERYTHING and column:
            for _, counted in load(source, column, (kind,), (), [window], DAY, bins=bins)[0]:
                found.setdefault(column, {})[kind] = counted
    return found


def _with_labels(source: Source, wanted: Sequence[Series], windows: Sequence[Window], level: int) -> Found:
    table = source.counts(wanted, level, windows[0].start, windows[-1].end)
    buckets, numbers = table["bucket"].to_numpy(), number_of(windows, table["bucket"].to_numpy())
    if len(np.unique(buckets)) > len(np.unique(numbers)):  # a window is several buckets
        table = counts.rebucket(table, numbers)
        numbers = table["bucket"].to_numpy()
    places = zip(numbers.tolist(), table["slice"].to_pylist(), strict=True)
    found = zip(places, counts.rows(table, source.binnings()), strict=True)
    binnings = table["binning"].to_numpy()
    return found if (binnings == binnings[:1]).all() else _each_once(found)


def _panel(
    source: Source, wanted: Sequence[Series], windows: Sequence[Window], level: int, *, bins: bool
) -> Found:  # fmt: skip
    panel = source.panel(wanted, level, windows[0].start, windows[-1].end, bins=bins)
    panel = panel.rebucket(number_of(windows, panel.buckets))
    return panel if panel.is_aligned else _each_once(panel)


def number_of(windows: Sequence[Window], buckets: Ints) -> Ints:
    """The number of each bucket's window."""
    found: Ints = np.searchsorted([w.start for w in windows], buckets, side="right") - 1
    return found


def _each_once(found: Found) -> Found:
    """Counts by place, brought to one binning if they use several versions of it."""
    together: dict[Place, list[Counts]] = {}
    for place, entry in found:
        together.setdefault(place, []).append(entry)
    return [(place, total) for place, parts in together.items() if (total := pooled(parts)) is not None]
