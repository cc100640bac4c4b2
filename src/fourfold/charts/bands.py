"""Quantiles of a column over time, as bands around the median."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from fourfold.charts.drawing import Canvas, Plot, Span
from fourfold.charts.line import Curve, Line, area
from fourfold.charts.spec import Values, newest, words
from fourfold.charts.time import over


@dataclasses.dataclass(frozen=True)
class Bands:
    """Quantiles at times (seconds since 1970): pairs such as (0.05, values), in order, with the median among them."""

    kind: ClassVar[str] = "bands"

    title: str
    times: Sequence[float]
    quantiles: Sequence[tuple[float, Values]]
    unit: str = ""
    spans: Sequence[Span] = ()

    @property
    def _middle(self) -> tuple[float, Values]:
        return min(self.quantiles, key=lambda pair: abs(pair[0] - 0.5))

    @property
    def _pairs(self) -> list[tuple[str, Values, Values]]:
        """The lower and upper quantile of each band, the widest first."""
        found = []
        for (low, lower), (high, upper) in zip(self.quantiles, reversed(self.quantiles), strict=True):
            if low < high and low < 0.5 < high:
                found.append((f"{low:g} to {high:g} quantile", lower, upper))
        return found

    @property
    def _line(self) -> Line:
        q, values = self._middle
        name = "median" if q == 0.5 else f"{q:g} quantile"
        return Line(self.title, self.times, [Curve(name, values)], self.unit, spans=self.spans)

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        parts = (f"{q:g} quantile {words(newest(values), self.unit)}" for q, values in self.quantiles)
        return f"{self.title}{over(self.times)}. Newest: {', '.join(parts)}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        option = self._line.echarts()
        shaded = [part for i, (name, low, high) in enumerate(self._pairs)
                  for part in area(self.times, f"band:{i}", name, low, high, "accent", 0.16)]  # fmt: skip
        return {**option, "series": [*shaded, *option["series"]]}

    def svg(self, width: int = 640, height: int = 220) -> str:
        """As a static picture."""
        canvas = Canvas(width, height, self.title, self.summary)
        plot = Plot(canvas, self.times, [value for _, values in self.quantiles for value in values], self.unit)
        plot.mark(self.spans)
        plot.values()
        plot.times()
        for _, low, high in self._pairs:
            canvas.area(plot.points(self.times, low), plot.points(self.times, high), "accent", 0.18)
        canvas.path(plot.points(self.times, self._middle[1]), "accent")
        return canvas.svg()
