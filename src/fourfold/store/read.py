"""Answers to questions: which counts a metric needs, summed by window and slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from fourfold import counts
from fourfold.binning import Binning
from fourfold.counts import Counts
from fourfold.errors import ConfigError, InputError, suggest
from fourfold.metrics import Question, parse
from fourfold.metrics.custom import REGISTERED
from fourfold.model import Dimension, Task, Value, Window, slice_names
from fourfold.state import catalogue
from fourfold.store.result import Moment, Result, seconds
from fourfold.store.source import AsOf, Source, Stored, of_dimension
from fourfold.store.store import Store
from fourfold.store.windows import windows as windows_of


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


def metric(
    store: Store,
    target: str,
    name: str,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    by: str | Sequence[str] | None = None,
    every: str | None = None,
    against: str | tuple[Moment, Moment] | None = None,
    as_of: Moment | None = None,
    estimate: bool | str = False,
    versions: tuple[str, str] | None = None,
) -> Result:
    """A metric by window and slice.

    Args:
        store: where to look; it is brought up to date first.
        target: a task ("late"), a stream ("predict") or a column ("predict.score").
        name: a metric, with its parameters ("quantile(0.9)").
        start: the first moment, inclusive; what has no time zone is UTC. Without it: all there is.
        end: the last moment, exclusive.
        by: the slice to split by, one that a task on the stream declares; of a crossed one, all its columns.
        every: the length of a window: "1h", "1d", "7d". Without it: one window.
        against: for a distance, the reference: another column, or a (start, end) of this one. Without it: all
            that was before the window.
        as_of: what was known at this moment, by the time at which records were logged.
        estimate: for a task, estimate what the labels that are missing will say; "error": how far such an estimate,
            made before any label was there, was from what came true.
        versions: two model versions: the first's metric − the second's, on the keys that both predicted.

    Raises:
        UnknownNameError: no such target, metric or slice; the message lists what there is.
        InputError: a window or parameter that cannot be.
        ConfigError: the task cannot be counted, for what it declares is wrong.
    """
    from fourfold.store import answers  # answers are made of what is here

    store.catch_up()
    found = resolve(store, target)
    question = parse(name, found.kind, found.task.kind if found.task is not None else None)
    _check(question, found)
    found = _defined(store, found, question)
    moment = None if as_of is None else seconds(as_of, "as_of") * 1_000_000
    names = tuple(sorted([by] if isinstance(by, str) else by or ()))
    failure = store.failure(found.owner, names, question.metric.name)
    if failure is not None:
        raise ConfigError(failure)
    dimension = _dimension(store, found, names) if names else Dimension()
    source: Source = Stored(store, found.owner)
    if moment is not None:
        streams = found.task.streams if found.task is not None else (found.stream,)
        source = AsOf(store, streams, found.task, dimension, moment)
    windows, level = windows_of(source, start, end, every)
    if not windows:
        span = Window(0, 0) if start is None or end is None else Window(seconds(start, "start"), seconds(end, "end"))
        why = "" if moment is None else f" by {as_of}"
        return Result(question.text, [], [span], [{}], [Value.no_data(f"nothing was logged for {target!r} yet{why}")])
    asked = answers.Asked(store, found, question, source, windows, level, names, moment)
    if question.metric.name in REGISTERED and REGISTERED[question.metric.name].function is not None:
        return answers.from_log(asked, dimension)
    if versions is not None:
        return answers.of_versions(asked, versions)
    if estimate:
        return answers.estimated(asked, error=estimate == "error")
    return answers.counted(asked, against)


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


def _check(question: Question, target: Target) -> None:
    """Ranks at which a ranking task is not judged are no question."""
    k, task = question.parameters.get("k"), target.task
    if task is not None and task.kind == "ranking" and k is not None and k not in task.cutoffs:
        raise InputError(
            f"{question.text}: task {task.name!r} is judged at {list(task.cutoffs)}; declare cutoffs=[{k:g}]"
        )


def _defined(store: Store, target: Target, question: Question) -> Target:
    """The task with a custom metric's sums, which are declared where they are first asked for, and then counted."""
    custom = REGISTERED.get(question.metric.name)
    if target.task is None or custom is None or custom.sums is None or custom.sums in target.task.sums:
        return target
    store.define(target.task.name, custom.sums)
    return resolve(store, target.task.name)


def _dimension(store: Store, target: Target, names: tuple[str, ...]) -> Dimension:
    """The declared dimension of these names."""
    tasks = store.database.recall(catalogue.tasks, store.project).values()
    known = {slice_names(row[3]) for row in Stored(store, target.owner).series()}
    declared = [d for task in tasks if task.prediction.stream == target.stream for d in task.dimensions]
    for dimension in declared:
        if dimension.names == names:
            return dimension
    if names in known:  # of frames that were counted by columns
        return Dimension()
    listed = sorted({" × ".join(n) for n in known if n} | {str(d) for d in declared})
    raise suggest(f"slice of {target.owner.partition(':')[2]}", " × ".join(names), listed)
