"""Two groups of records side by side at every component: distributions, error rates, and the runs that made them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold import counts
from fourfold.counts import Counts
from fourfold.engine import Extent
from fourfold.errors import InputError, suggest
from fourfold.fold import KeptSlices, Plan, event_seconds, fold_columns, group_records, plan_columns
from fourfold.fold.arrays import values_of
from fourfold.metrics import drift, parse, quality
from fourfold.model import HOUR, Dimension, Owner, Part, Task, Value, label_of, slice_key
from fourfold.model.records import EVENT_TIME, KEY, RUN, users
from fourfold.query.counts import CurrentCounts, pooled
from fourfold.query.reader import Reader
from fourfold.query.result import Moment, Slice
from fourfold.query.table import Table, Tabular
from fourfold.query.windows import bounds
from fourfold.reports.tasks import headlines
from fourfold.state import catalogue, runs


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One comparison of two groups.

    ``what`` is "distribution" (of a stream's column), "metric" (of a task), or "versions" (of the code or model that
    made a stream's records). ``size`` is the difference beyond sampling noise, from 0 to 1: for distributions and
    versions the Jensen–Shannon or total variation distance, for a metric the gap between the two intervals (if the
    metric is not a share, relative to the larger value).
    """

    where: str
    what: str
    name: str
    a: str
    b: str
    size: float


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Two groups compared: ``differences``, the largest first, and the number of keys (``n``) in each group.

    As a table: a row for each difference.
    """

    a: Slice
    b: Slice
    n: tuple[int, int]
    differences: tuple[Difference, ...]

    def __repr__(self) -> str:
        lines = [f"Comparison of {dict(self.a)} ({self.n[0]:,} keys) with {dict(self.b)} ({self.n[1]:,} keys)"]
        lines += [f"  {d.size:.3g}  {d.where} {d.name}: {d.a}  |  {d.b}" for d in self.differences[:_SHOWN]]
        more = len(self.differences) - _SHOWN
        return "\n".join([*lines, *([f"  … {more} more"] if more > 0 else [])])

    def to_arrow(self) -> pa.Table:
        """As a PyArrow table: a row for each difference."""
        return Table(self.differences).to_arrow()


_SHOWN = 10  # differences in a comparison's text


def compare(reader: Reader, a: Slice, b: Slice, window: tuple[Moment, Moment] | None = None) -> Comparison:
    """Two slices side by side at every component, ranked by how much they differ. Reads the log.

    The slices are of predictions: of a stream that has these columns, or for which a task declares such a slice. Other
    streams are compared by the records with the same keys.

    Args:
        reader: where to look.
        a: the one slice, such as {"carrier": "AA"}.
        b: the other, with the same columns.
        window: (start, end) of the predictions' event times. Default: all predictions.

    Raises:
        InputError: the slices have different columns, are equal, or one is empty.
        UnknownNameError: no logged stream has these columns.
    """
    if not a or set(a) != set(b) or dict(a) == dict(b):
        raise InputError(f"compare {dict(a)} with {dict(b)}: give two different slices of the same columns")
    with reader.database.read() as connection:
        streams = list(catalogue.streams(connection, reader.project))
        tasks = list(catalogue.tasks(connection, reader.project).values())
    stream, dimension = _origin(reader, tuple(sorted(a)), streams, tasks)
    extent = Extent()
    if window is not None:
        source = CurrentCounts(reader, Owner.of_stream(stream))
        start, end = bounds(source, HOUR, *window, ("window", "window"))
        if start is None or end is None:
            raise InputError(f"window={window!r}: give (start, end)")
        if start >= end:
            raise InputError(f"window={window!r}: the start is not before the end")
        extent = Extent(start=start * 1_000_000, end=end * 1_000_000)
    with reader.database.read() as connection:
        kept_slices = catalogue.kept_slices(connection, reader.project, stream, dimension)
    log = reader.log(stream).whole()
    sides = [
        reader.engine.keys(
            log, dimension, kept_slices, [None if v is None else str(v) for _, v in sorted(of.items())], extent
        )
        for of in (a, b)
    ]
    for of, keys in zip((a, b), sides, strict=True):
        if not len(keys):
            raise InputError(f"{dict(of)}: no record of {stream!r} in this window")
    found: list[Difference] = []
    for name in streams:
        found += _of_stream(reader, name, tasks, sides, skip=set(a))
    for task in tasks:
        if task.prediction.stream == stream:
            found += _of_task(reader, task, dimension, kept_slices, (a, b), extent)
    found.sort(key=lambda difference: -difference.size)
    return Comparison(dict(a), dict(b), (len(sides[0]), len(sides[1])), tuple(found))


def _origin(
    reader: Reader, names: tuple[str, ...], streams: Sequence[str], tasks: Sequence[Task]
) -> tuple[str, Dimension]:
    """The slices' stream and dimension."""
    for task in tasks:
        for dimension in task.dimensions:
            if dimension.names == names and reader.log(task.prediction.stream).is_begun:
                return task.prediction.stream, dimension
    predicted = [task.prediction.stream for task in tasks]
    known: set[str] = set()
    for stream in dict.fromkeys((*predicted, *streams)):
        if reader.log(stream).is_begun:
            columns = reader.log(stream).schema.names
            if set(names) <= set(columns):
                return stream, Dimension(tuple(Part(name) for name in names))
            known |= set(users(columns))
    raise suggest(
        "column of a logged stream", next((n for n in names if n not in known), " × ".join(names)), sorted(known)
    )


def _of_stream(
    reader: Reader, stream: str, tasks: Sequence[Task], sides: Sequence[pa.Array], skip: set[str]
) -> Iterator[Difference]:
    """The differences in a stream between the records of two sets of keys."""
    log = reader.log(stream).whole()
    tables = [log.records(pc.field(KEY).isin(keys)) for keys in sides]
    if not all(table.num_rows for table in tables):
        if any(table.num_rows for table in tables):
            rows = [f"{table.num_rows:,} records" for table in tables]
            yield Difference(stream, "distribution", "records", rows[0], rows[1], 1.0)
        return
    plan = _plan(tables)
    totals = [_counts(table, plan) for table in tables]
    for column in sorted(totals[0].keys() & totals[1].keys()):
        both = totals[0][column], totals[1][column]
        if column in skip or both[0].kind != both[1].kind or both[0].kind == "opaque":
            continue
        distance = drift.jensen_shannon(both[0], both[1])
        size = max((distance.value or 0.0) - (distance.expected or 0.0), 0.0)
        yield Difference(stream, "distribution", column, _words(both[0]), _words(both[1]), size)
    versions = dict.fromkeys(task.version for task in tasks if task.prediction.stream == stream and task.version)
    made = [_made_by(reader, table) for table in tables]
    logged = [version for version in versions if version in tables[0].column_names]
    named = {"run": made} | {v: [_shares(values_of(table[v])) for table in tables] for v in logged}
    for name, (one, other) in named.items():
        if one or other:
            size = sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other}) / 2
            chance = sum(1 / table.num_rows for table in tables) ** 0.5
            yield Difference(stream, "versions", name, _listed(one), _listed(other), max(size - chance, 0.0))


def _plan(tables: Sequence[pa.Table]) -> Plan:
    both = pa.concat_tables(tables)
    return plan_columns(both.select(users(both.column_names)), Plan(), event_seconds(both[EVENT_TIME]))


def _counts(table: pa.Table, plan: Plan) -> dict[str, Counts]:
    """The counts of each column, by value if it is counted both ways."""
    bare = table.select(users(table.column_names))
    at = event_seconds(table[EVENT_TIME])
    folded = counts.heaviest(fold_columns(bare, at, group_records(np.zeros(len(at), np.int64)), plan))
    found: dict[str, Counts] = {}
    for entry in counts.rows(folded, plan.by_version()):
        if entry.column not in found or entry.kind == "category":
            found[entry.column] = entry
    return found


def _made_by(reader: Reader, table: pa.Table) -> dict[str, float]:
    """The code versions of the components that made the records, with their shares."""
    ids = table[RUN].to_pylist()
    with reader.database.read() as connection:
        known = runs.by_id(connection, reader.project, sorted({run for run in ids if run}))
    texts = []
    for run in ids:
        if run in known:
            commit = str(known[run].code.get("commit") or known[run].code.get("source") or "unknown code")[:8]
            texts.append(f"{known[run].component} {commit}")
    return _shares(texts)


def _shares(values: Sequence[object]) -> dict[str, float]:
    found = collections.Counter(map(str, values))
    return {text: n / len(values) for text, n in found.items()}


def _of_task(
    reader: Reader,
    task: Task,
    dimension: Dimension,
    kept_slices: KeptSlices,
    slices: tuple[Slice, Slice],
    extent: Extent,
) -> Iterator[Difference]:
    """A task's main metrics in the two slices."""
    with reader.database.read() as connection:
        plan = catalogue.plan(connection, reader.project, Owner.of_task(task.name))
    logs, bare = reader.whole(task.streams), task.without_sums
    folded = reader.engine.fold_task(bare, logs, {dimension: kept_slices}, plan, extent)
    table = counts.rebucket(folded.counts, np.zeros(folded.counts.num_rows, np.int64))
    series = list(zip(table["column"].to_pylist(), table["slice"].to_pylist(), strict=True))
    keys = [slice_key({name: None if v is None else label_of(str(v)) for name, v in of.items()}) for of in slices]
    for name in headlines(task):
        question = parse(name, "task", task.kind)
        values = []
        for key in keys:
            mask = [entry == (question.series, key) for entry in series]
            total = pooled(counts.rows(table.filter(pa.array(mask, pa.bool_())), folded.plan.by_version()))
            values.append(question.of(total, task=task) if total is not None else Value.no_data("no predictions"))
        yield Difference(task.name, "metric", name, _value(values[0]), _value(values[1]), _apart(values[0], values[1]))


def _apart(a: Value, b: Value) -> float:
    """The gap between the intervals of two values."""
    if a.value is None or b.value is None:
        return 0.0
    reach = [(v.value - v.low, v.high - v.value) if v.low is not None and v.high is not None and v.value is not None
             else (0.0, 0.0) for v in (a, b)]  # fmt: skip
    upper, lower = (0, 1) if a.value > b.value else (1, 0)
    gap = abs(a.value - b.value) - float(np.hypot(reach[upper][0], reach[lower][1]))
    size = max(abs(a.value), abs(b.value), 1.0)
    return min(max(gap, 0.0) / size, 1.0)


def _value(value: Value) -> str:
    if value.value is None:
        return f"no data: {value.reason}"
    if value.low is None or value.high is None:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} ({value.low:.4g} – {value.high:.4g})"


def _words(found: Counts) -> str:
    """A distribution in a few words."""
    rows = found.tally("rows")
    missing = found.tally("null") / rows if rows else 0.0
    tail = f", {missing:.1%} missing" if missing else ""
    if found.kind == "category":
        if not found.labels and found.tally("other"):
            return "nearly all distinct" + tail
        shares = {label: n / rows for label, n in zip(found.labels, found.counts.tolist(), strict=True)}
        return _listed(shares) + tail
    middle, low, high = (quality.quantile(found, q).value for q in (0.5, 0.05, 0.95))
    if middle is None or low is None or high is None:
        return "no values" + tail
    return f"median {middle:.4g} ({low:.4g} – {high:.4g}){tail}"


def _listed(shares: Mapping[str, float]) -> str:
    heavy = sorted(shares, key=lambda text: (-shares[text], text))
    return ", ".join(f"{text} {shares[text]:.0%}" for text in heavy[:3]) + (", …" if len(heavy) > 3 else "") or "none"
