"""The answer to a question about a metric: rows of ``Value``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import pyarrow as pa

from fourfold.charts import Chart, Curve, Heat, Line
from fourfold.model import Status, Value, Window
from fourfold.model.time import Moment as Moment
from fourfold.model.time import seconds as seconds
from fourfold.query.table import Tabular

Slice = Mapping[str, str | None]
_ENDS = ("value", "low", "high")
_DRAWN = 40  # slices in a chart
_COLUMNS = ("_windows", "_slices", "_values", "_metrics")
_FIXED = (
    "start", "end", "metric", "value", "low", "high", "n", "coverage", "status", "reason",
    "expected_labels", "expected",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One metric in one window and slice."""

    window: Window
    slice: Slice
    metric: str
    value: Value


class Result(Tabular, Sequence[Row]):
    """Rows of a metric, ordered by time and then by slice; several metrics follow one another.

    As a table its columns are ``start, end, <slice columns>, metric, value, low, high, n, coverage, status, reason``;
    while labels can still come also ``expected_labels``, the share of predictions whose label is still expected; and
    for distances ``expected``, the mean under no change at this sample size. A slice whose
    name is one of these is in ``slice_NAME``.
    """

    def __init__(
        self,
        metric: str,
        by: Sequence[str],
        windows: Sequence[Window],
        slices: Sequence[Slice],
        values: Sequence[Value],
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.metric, self.by = metric, tuple(by)
        self._windows, self._slices, self._values = windows, slices, values
        self._metrics = [metric] * len(values) if metrics is None else metrics

    @staticmethod
    def joined(parts: Sequence[Result]) -> Result:
        """The rows of several results, one after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = [[*itertools.chain.from_iterable(getattr(part, name) for part in parts)] for name in _COLUMNS]
        windows, slices, values, metrics = columns
        by = dict.fromkeys(itertools.chain.from_iterable(part.by for part in parts))
        return Result(", ".join(part.metric for part in parts), [*by], windows, slices, values, metrics)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Row(self._windows[index], self._slices[index], self._metrics[index], self._values[index])

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self._windows, self._slices, self._metrics, self._values)

    def __repr__(self) -> str:
        head = "\n".join(f"  {_line(row)}" for row in self[:10])
        more = f"\n  … {len(self) - 10} more rows" if len(self) > 10 else ""
        return f"Result of {len(self)} rows\n{head}{more}"

    @property
    def chart(self) -> Chart | None:
        """The rows of one metric over time: a line, or a heat map by slice; None where there is no time to show."""
        times = sorted({window.start for window in self._windows})
        if len(times) < 2 or len(set(self._metrics)) != 1:
            return None
        places = {start: i for i, start in enumerate(times)}
        rows: dict[str, list[Value | None]] = {}
        for row in self:
            name = " × ".join("(none)" if v is None else str(v) for v in row.slice.values())
            rows.setdefault(name, [None] * len(times))[places[row.window.start]] = row.value
        at = [float(start) for start in times]
        if not self.by:
            [values] = rows.values()
            middle, low, high = ([None if v is None else getattr(v, end) for v in values] for end in _ENDS)
            return Line(self.metric, at, [Curve(self.metric, middle, low, high)])
        shown = list(rows)[:_DRAWN]
        title = f"{self._metrics[0]} by {' × '.join(self.by)}"
        return Heat(title, shown, at, [[None if v is None else v.value for v in rows[name]] for name in shown])

    def _repr_html_(self) -> str:
        """The chart and the table for a notebook: no scripts, all text escaped."""
        return ("" if self.chart is None else self.chart.svg()) + super()._repr_html_()

    @property
    def value(self) -> Value:
        """The value, if the result has exactly one row."""
        if len(self) != 1:
            raise ValueError(f"this result has {len(self)} rows; .value needs exactly one row")
        return self._values[0]

    def told(self, reason: str) -> Result:
        """The same rows, with a further reason why their values are not final; an empty reason changes nothing."""
        if not reason:
            return self
        values = [
            dataclasses.replace(
                value,
                reason="; ".join(filter(None, (value.reason, reason))),
                status=Status.PROVISIONAL if value.status is Status.SETTLED else value.status,
            )
            for value in self._values
        ]
        return Result(self.metric, self.by, self._windows, self._slices, values, self._metrics)

    def to_arrow(self) -> pa.Table:
        """As a PyArrow table."""
        instant = pa.timestamp("s", "UTC")
        values = self._values
        columns: dict[str, pa.Array] = {
            "start": pa.array([window.start for window in self._windows], pa.int64()).cast(instant),
            "end": pa.array([window.end for window in self._windows], pa.int64()).cast(instant),
        }
        for name in self.by:
            column = f"slice_{name}" if name in _FIXED else name
            columns[column] = pa.array([place.get(name) for place in self._slices], pa.string())
        columns |= {
            "metric": pa.array(self._metrics, pa.string()),
            "value": pa.array([v.value for v in values], pa.float64()),
            "low": pa.array([v.low for v in values], pa.float64()),
            "high": pa.array([v.high for v in values], pa.float64()),
            "n": pa.array([v.n for v in values], pa.int64()),
            "coverage": pa.array([v.coverage for v in values], pa.float64()),
            "status": pa.array([v.status.value for v in values], pa.string()),
            "reason": pa.array([v.reason for v in values], pa.string()),
        }
        if any(v.expected_labels is not None for v in values):
            columns["expected_labels"] = pa.array([v.expected_labels for v in values], pa.float64())
        if any(v.expected is not None for v in values):
            columns["expected"] = pa.array([v.expected for v in values], pa.float64())
        return pa.table(columns)


def _line(row: Row) -> str:
    start = row.window.start_time.strftime("%Y-%m-%d %H:%M")
    where = " ".join(f"{k}={v}" for k, v in row.slice.items())
    value = row.value
    if value.value is None:
        return f"{start} {where} {row.metric}: no data ({value.reason})"
    interval = f" [{value.low:.4g}, {value.high:.4g}]" if value.low is not None and value.high is not None else ""
    return f"{start} {where} {row.metric} = {value.value:.4g}{interval} n={value.n} {value.status.value}"
