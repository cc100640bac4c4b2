"""Bars: numbers over time, or by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from fourfold.charts import tokens
from fourfold.charts.drawing import Canvas, Plot, legend
from fourfold.charts.spec import (
    AXIS,
    GRID,
    Values,
    legend_of,
    milliseconds,
    named_axis,
    number,
    span_of,
    value_axis,
    words,
)
from fourfold.charts.time import over
from fourfold.charts.tokens import token


@dataclasses.dataclass(frozen=True)
class Series:
    """A bar for each place."""

    name: str
    values: Values
    colour: str = ""


@dataclasses.dataclass(frozen=True)
class Bars:
    """Bars at times (seconds since 1970), or at names where ``labels`` are given; stacked, if there are several."""

    kind: ClassVar[str] = "bars"

    title: str
    series: Sequence[Series]
    times: Sequence[float] = ()
    labels: Sequence[str] = ()
    unit: str = ""
    stacked: bool = True

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        parts = []
        for one in self.series:
            ends = span_of(one.values)
            between = "no data" if ends is None else f"{words(ends[0], self.unit)} to {words(ends[1], self.unit)}"
            parts.append(f"{one.name}: {between}")
        return f"{self.title}{over(self.times)}. {'; '.join(parts)}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        found: list[dict[str, Any]] = []
        for i, one in enumerate(self.series):
            values = [number(value) for value in one.values]
            data = values if self.labels else [[milliseconds(t), v] for t, v in zip(self.times, values, strict=True)]
            bar = {
                "type": "bar", "id": f"bar:{i}", "name": one.name, "data": data, "barMaxWidth": 24,
                "color": token(one.colour or tokens.series(i)),
            }  # fmt: skip
            found.append({**bar, "stack": "all"} if self.stacked else bar)
        across = named_axis(self.labels) if self.labels else {"type": "time", **AXIS}
        option = {"grid": GRID, "xAxis": across, "yAxis": value_axis(self.unit, zero=True), "series": found}
        return {**option, **legend_of([one.name for one in self.series])}

    def svg(self, width: int = 640, height: int = 160) -> str:
        """As a static picture."""
        canvas = Canvas(width, height, self.title, self.summary)
        size = max(len(self.labels or self.times), 1)
        columns = [[number(value) or 0.0 for value in one.values] for one in self.series]
        tops = [sum(c[i] for c in columns) if self.stacked else max(c[i] for c in columns) for i in range(size)] \
            if columns and columns[0] else [1.0]  # fmt: skip
        places = [float(i) for i in range(size)]
        plot = Plot(canvas, [*self.times] if self.times else places, [0.0, *tops], self.unit)
        plot.values()
        room = (plot.right - plot.left) / size
        if self.times:
            plot.times()
        else:
            for i, label in enumerate(self.labels[:40]):
                middle = plot.left + room * (i + 0.5)
                canvas.text(middle, plot.bottom + 16, label, anchor="middle", colour="muted", longest=int(room / 6) + 1)
        for i in range(size if columns and columns[0] else 0):
            base = 0.0
            for j, column in enumerate(columns):
                wide = room * 0.8 if self.stacked else room * 0.8 / len(columns)
                left = plot.left + room * (i + 0.1) + (0 if self.stacked else wide * j)
                y0, y1 = plot.y(base) or plot.bottom, plot.y(base + column[i]) or plot.bottom
                colour = self.series[j].colour or tokens.series(j)
                canvas.rect(left, min(y0, y1), wide, abs(y1 - y0), colour)
                base += column[i] if self.stacked else 0.0
        if len(self.series) > 1:
            legend(canvas, [(one.name, one.colour or tokens.series(j)) for j, one in enumerate(self.series)])
        return canvas.svg()
