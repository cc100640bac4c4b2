"""Two distributions on the same groups, and how well a predicted probability keeps what it promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from fourfold.charts.bars import Bars, Series
from fourfold.charts.drawing import Canvas, Plot
from fourfold.charts.spec import GRID, number, value_axis, words
from fourfold.charts.tokens import token


@dataclasses.dataclass(frozen=True)
class Pair:
    """The shares of two samples in the same groups, such as now and then."""

    kind: ClassVar[str] = "pair"

    title: str
    labels: Sequence[str]
    names: tuple[str, str]
    shares: tuple[Sequence[float], Sequence[float]]
    unit: str = "share"

    @property
    def _bars(self) -> Bars:
        series = [Series(self.names[0], self.shares[0], "accent"), Series(self.names[1], self.shares[1], "muted")]
        return Bars(self.title, series, labels=self.labels, unit="share", stacked=False)

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        gaps = [(abs(a - b), label, a, b) for label, a, b in zip(self.labels, *self.shares, strict=True)]
        if not gaps:
            return f"{self.title}: no data"
        _, label, a, b = max(gaps)
        most = f"{self.names[0]} {words(a, 'share')}, {self.names[1]} {words(b, 'share')}"
        return f"{self.title}: they differ most in {label}: {most}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        option = self._bars.echarts()
        return {**option, "yAxis": {**value_axis("", zero=True)}}

    def svg(self, width: int = 320, height: int = 120) -> str:
        """As a static picture."""
        return self._bars.svg(width, height)


@dataclasses.dataclass(frozen=True)
class Bin:
    """Records of about the same predicted probability: its mean, and the share of positives with its interval."""

    predicted: float
    happened: float
    low: float
    high: float
    n: int


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability curve: what was predicted, and what happened."""

    kind: ClassVar[str] = "reliability"

    title: str
    bins: Sequence[Bin]
    unit: str = "share"

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        if not self.bins:
            return f"{self.title}: no data"
        worst = max(self.bins, key=lambda b: abs(b.predicted - b.happened))
        said, was = words(worst.predicted, "share"), words(worst.happened, "share")
        return f"{self.title}: furthest from the diagonal where {said} was predicted and {was} happened"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts."""
        ends: list[list[float | None]] = []
        for one in self.bins:
            ends += [[number(one.predicted), number(one.low)], [number(one.predicted), number(one.high)], [None, None]]
        points = [{"value": [number(one.predicted), number(one.happened)], "n": one.n} for one in self.bins]
        plain: dict[str, Any] = {"type": "line", "symbol": "none", "silent": True}
        axis = {**value_axis("share"), "min": 0, "max": 1}
        return {
            "grid": GRID, "xAxis": {**axis, "name": "predicted", "nameLocation": "middle", "nameGap": 24},
            "yAxis": {**axis, "name": "happened"},
            "series": [
                {**plain, "id": "diagonal", "name": "calibrated", "data": [[0, 0], [1, 1]],
                 "lineStyle": {"color": token("muted"), "type": "dashed", "width": 1}},
                {**plain, "id": "interval", "name": "95 % interval", "data": ends,
                 "lineStyle": {"color": token("accent"), "width": 1}},
                {"type": "line", "id": "reliability", "name": self.title, "data": points, "color": token("accent"),
                 "symbolSize": 6},
            ],
        }  # fmt: skip

    def svg(self, width: int = 320, height: int = 260) -> str:
        """As a static picture."""
        canvas = Canvas(width, height, self.title, self.summary)
        plot = Plot(canvas, [0.0, 1.0], [0.0, 1.0], "share")
        plot.values()
        plot.numbers()
        canvas.line(plot.x(0), plot.bottom, plot.x(1), plot.top, "muted", dash=True)
        for one in self.bins:
            low, high, at = plot.y(one.low), plot.y(one.high), plot.y(one.happened)
            if low is not None and high is not None and at is not None:
                canvas.line(plot.x(one.predicted), low, plot.x(one.predicted), high, "accent")
                canvas.dot(plot.x(one.predicted), at, "accent", 3)
        canvas.path(plot.points([b.predicted for b in self.bins], [b.happened for b in self.bins]), "accent")
        return canvas.svg()
