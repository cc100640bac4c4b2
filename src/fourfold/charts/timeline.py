"""When each of several things began and ended, a row each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from fourfold.charts.drawing import Canvas, Plot
from fourfold.charts.spec import AXIS, GRID, milliseconds, named_axis
from fourfold.charts.time import moment
from fourfold.charts.tokens import token

_LABELS = 190  # pixels for the names of rows
_TALL = 18


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A row: it began between ``low`` and ``high``, and lasted until ``end``; seconds since 1970."""

    name: str
    low: float
    high: float
    end: float
    colour: str = "warning"


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Rows in order, from the top."""

    kind: ClassVar[str] = "timeline"

    title: str
    rows: Sequence[Stretch]
    unit: str = ""

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        parts = [f"{row.name} since {moment(row.low)}" for row in self.rows[:20]]
        return f"{self.title}: {'; '.join(parts) or 'nothing'}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts: a line along each row, thin where it may not have begun yet."""
        series = []
        for i, row in enumerate(self.rows):
            shared = {"type": "line", "name": row.name, "symbol": "none", "color": token(row.colour)}
            ends = [[milliseconds(row.high), i], [milliseconds(max(row.end, row.high)), i]]
            series.append({**shared, "id": f"row:{i}", "data": ends, "lineStyle": {"width": 8, "cap": "round"}})
            if row.high > row.low:
                onset = [[milliseconds(row.low), i], [milliseconds(row.high), i]]
                series.append({**shared, "id": f"onset:{i}", "data": onset, "lineStyle": {"width": 3, "opacity": 0.6}})
        rows = named_axis([row.name for row in self.rows], inverse=True)
        return {"grid": GRID, "xAxis": {"type": "time", **AXIS}, "yAxis": rows, "series": series}

    def svg(self, width: int = 640, height: int = 0) -> str:
        """As a static picture; its height follows the rows unless it is given."""
        canvas = Canvas(width, height or 48 + _TALL * max(len(self.rows), 1), self.title, self.summary)
        plot = Plot(canvas, [at for row in self.rows for at in (row.low, row.high, row.end)], [0.0, 1.0], "",
                    left=_LABELS)  # fmt: skip
        plot.times()
        for i, row in enumerate(self.rows):
            y = plot.top + _TALL * (i + 0.5)
            canvas.text(_LABELS - 8, y + 4, row.name, anchor="end", colour="muted", longest=30)
            x0, x1, x2 = (plot.x(at) for at in (row.low, row.high, max(row.end, row.high)))
            canvas.rect(x0, y - 2, max(x1 - x0, 0), 4, row.colour, 0.5)
            canvas.rect(x1, y - 5, max(x2 - x1, 2), 10, row.colour, told=f"{row.name} since {moment(row.low)}")
        return canvas.svg()
