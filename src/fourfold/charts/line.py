"""Lines over time, with their intervals, the range that was expected, limits, and stretches that are marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from fourfold.charts import tokens
from fourfold.charts.drawing import Canvas, Plot, Span, legend
from fourfold.charts.spec import AXIS, GRID, Values, legend_of, milliseconds, newest, number, span_of, value_axis, words
from fourfold.charts.time import over
from fourfold.charts.tokens import token


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line: its values at the chart's times, and where they are known, the ends of their intervals."""

    name: str
    values: Values
    low: Values = ()
    high: Values = ()
    colour: str = ""
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Band:
    """The range that was expected at each of the chart's times."""

    low: Values
    high: Values
    name: str = "expected"


@dataclasses.dataclass(frozen=True)
class Limit:
    """A value that is not to be passed, such as an objective's bound."""

    value: float
    name: str
    colour: str = "muted"


@dataclasses.dataclass(frozen=True)
class Line:
    """Lines over the same times, in seconds since 1970."""

    kind: ClassVar[str] = "line"

    title: str
    times: Sequence[float]
    curves: Sequence[Curve]
    unit: str = ""
    expected: Band | None = None
    limits: Sequence[Limit] = ()
    spans: Sequence[Span] = ()

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        parts = []
        for curve in self.curves:
            ends = span_of(curve.values)
            if ends is None:
                parts.append(f"{curve.name}: no data")
                continue
            parts.append(
                f"{curve.name}: newest {words(newest(curve.values), self.unit)}, "
                f"between {words(ends[0], self.unit)} and {words(ends[1], self.unit)}"
            )
        return f"{self.title}{over(self.times)}. {'; '.join(parts)}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        option: dict[str, Any] = {
            "grid": GRID, "xAxis": {"type": "time", **AXIS}, "yAxis": value_axis(self.unit),
            "series": [*self._band(), *(part for i, c in enumerate(self.curves) for part in self._curve(i, c))],
        }  # fmt: skip
        return {**option, **legend_of([curve.name for curve in self.curves])}

    def _band(self) -> list[dict[str, Any]]:
        band = self.expected
        return [] if band is None else area(self.times, "expected", band.name, band.low, band.high, "band", 0.18)

    def _curve(self, i: int, curve: Curve) -> list[dict[str, Any]]:
        colour = curve.colour or tokens.series(i)
        number_ = "" if i == 0 else f":{i}"
        found = []
        if curve.low and curve.high:
            found += area(self.times, f"interval{number_}", curve.name, curve.low, curve.high, colour, 0.2)
        line: dict[str, Any] = {
            "type": "line", "id": f"line:{i}", "name": curve.name, "data": at(self.times, curve.values),
            "color": token(colour), "showSymbol": len(self.times) < 40, "symbolSize": 4,
            "lineStyle": {"width": 2, "type": "dashed" if curve.dashed else "solid"},
        }  # fmt: skip
        if i == 0 and self.limits:
            line["markLine"] = {
                "silent": True, "symbol": "none", "label": {"show": False},
                "data": [{"yAxis": number(limit.value), "name": limit.name,
                          "lineStyle": {"color": token(limit.colour), "type": "dashed"}} for limit in self.limits],
            }  # fmt: skip
        if i == 0 and self.spans:
            line["markArea"] = {
                "silent": True, "label": {"show": False},
                "data": [[{"xAxis": milliseconds(s.start), "name": s.name,
                           "itemStyle": {"color": token(s.colour), "opacity": 0.12}},
                          {"xAxis": milliseconds(s.end)}] for s in self.spans],
            }  # fmt: skip
        return [*found, line]

    def _numbers(self) -> Iterator[float | None]:
        for curve in self.curves:
            yield from (*curve.values, *curve.low, *curve.high)
        if self.expected is not None:
            yield from (*self.expected.low, *self.expected.high)
        yield from (limit.value for limit in self.limits)

    def svg(self, width: int = 640, height: int = 220) -> str:
        """As a static picture."""
        canvas = Canvas(width, height, self.title, self.summary)
        plot = Plot(canvas, self.times, self._numbers(), self.unit)
        plot.mark(self.spans)
        plot.values()
        plot.times()
        if self.expected is not None:
            low, high = (plot.points(self.times, side) for side in (self.expected.low, self.expected.high))
            canvas.area(low, high, "band", 0.2)
        for limit in self.limits:
            if (y := plot.y(limit.value)) is not None:
                canvas.line(plot.left, y, plot.right, y, limit.colour, dash=True)
        for i, curve in enumerate(self.curves):
            colour = curve.colour or tokens.series(i)
            if curve.low and curve.high:
                canvas.area(plot.points(self.times, curve.low), plot.points(self.times, curve.high), colour, 0.2)
            canvas.path(plot.points(self.times, curve.values), colour, dash=curve.dashed)
        if len(self.curves) > 1:
            legend(canvas, [(c.name, c.colour or tokens.series(i)) for i, c in enumerate(self.curves)])
        return canvas.svg()


def at(times: Sequence[float], values: Values) -> list[list[float | None]]:
    """Values at times, as ECharts takes them."""
    return [[milliseconds(time), number(value)] for time, value in zip(times, values, strict=True)]


def area(
    times: Sequence[float], id_: str, name: str, low: Values, high: Values, colour: str, opacity: float
) -> list[dict[str, Any]]:
    """What lies between two lines: the lower one, unseen, and on it the difference, as an area."""
    width = [None if a is None or b is None else number(b - a) for a, b in zip(map(number, low), high, strict=True)]
    shared = {
        "type": "line", "name": name, "stack": id_, "stackStrategy": "all", "symbol": "none", "silent": True,
        "lineStyle": {"width": 0, "opacity": 0}, "color": token(colour), "tooltip": {"show": False},
    }  # fmt: skip
    shade = {"color": token(colour), "opacity": opacity}
    return [
        {**shared, "id": f"{id_}:low", "data": at(times, low)},
        {**shared, "id": f"{id_}:width", "data": at(times, width), "areaStyle": shade},
    ]
