"""Heat maps: slices by time, and confusion matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from fourfold.charts.drawing import Canvas
from fourfold.charts.spec import AXIS, GRID, Values, milliseconds, named_axis, number, span_of, words
from fourfold.charts.time import moment
from fourfold.charts.tokens import DIVERGING, RAMP, token

_LABELS = 120.0  # pixels for the names of rows


@dataclasses.dataclass(frozen=True)
class Heat:
    """A value for each row and time (seconds since 1970).

    ``whole`` are the values of the whole at these times: with them, a colour says by how much a row surely differs from
    the whole at that time, given the ends of the values' intervals; what chance may make of it has no colour.
    """

    kind: ClassVar[str] = "heat"

    title: str
    rows: Sequence[str]
    times: Sequence[float]
    values: Sequence[Values]
    unit: str = ""
    whole: Values = ()
    low: Sequence[Values] = ()
    high: Sequence[Values] = ()

    @property
    def shades(self) -> list[list[float | None]]:
        """What the colours show: the values, or how far they surely are from the whole's."""
        if not self.whole:
            return [[number(value) for value in row] for row in self.values]
        ends = zip(self.low or self.values, self.high or self.values, strict=True)
        return [
            [_beyond(*cell) for cell in zip(row, low, high, self.whole, strict=True)]
            for row, (low, high) in zip(self.values, ends, strict=True)
        ]

    @property
    def ends(self) -> tuple[float, float]:
        """The shades at the ends of the colours."""
        found = span_of(shade for row in self.shades for shade in row) or (0.0, 1.0)
        if not self.whole:
            return found if found[0] < found[1] else (found[0], found[0] + 1)
        reach = max(found[1], -found[0]) or 1.0
        return -reach, reach

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        known = [(v, row, t) for row, values in zip(self.rows, self.values, strict=True)
                 for t, value in zip(self.times, values, strict=True) if (v := number(value)) is not None]  # fmt: skip
        if not known:
            return f"{self.title}: no data"
        parts = [f"{name} {words(v, self.unit)} ({row}, {moment(t)})" for name, (v, row, t) in
                 (("lowest", min(known)), ("highest", max(known)))]  # fmt: skip
        return f"{self.title}: {len(self.rows)} rows; {'; '.join(parts)}"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts: columns in milliseconds, cells that have a value, with their shade last."""
        low, high = self.ends
        cells = [
            [x, y, v, shade]
            for y, (row, shades) in enumerate(zip(self.values, self.shades, strict=True))
            for x, (value, shade) in enumerate(zip(row, shades, strict=True))
            if (v := number(value)) is not None
        ]
        return {
            "grid": {**GRID, "bottom": 40},
            "xAxis": {"type": "category", "data": [milliseconds(t) for t in self.times], **AXIS},
            "yAxis": named_axis(self.rows, inverse=True),
            "visualMap": {**_colours(low, high, DIVERGING if self.whole else RAMP), "dimension": 3},
            "series": [{"type": "heatmap", "id": "heat", "name": self.title, "data": cells}],
        }

    def svg(self, width: int = 640, height: int = 0) -> str:
        """As a static picture; its height follows the rows unless it is given."""
        height = height or 44 + 16 * max(len(self.rows), 1)
        canvas = Canvas(width, height, self.title, self.summary)
        top, bottom = 20.0, height - 20.0
        tall = (bottom - top) / max(len(self.rows), 1)
        wide = (width - _LABELS - 8) / max(len(self.times), 1)
        low, high = self.ends
        for y, (name, row, shades) in enumerate(zip(self.rows, self.values, self.shades, strict=True)):
            canvas.text(_LABELS - 6, top + tall * (y + 0.5) + 4, name, anchor="end", colour="muted", longest=18)
            for x, value in enumerate(row):
                if (known := number(value)) is not None:
                    colour = _colour(shades[x] or 0.0, low, high, diverging=bool(self.whole))
                    told = f"{name}, {moment(self.times[x])}: {words(known, self.unit)}"
                    canvas.rect(_LABELS + wide * x, top + tall * y, wide - 0.5, tall - 1, colour, told=told)
        if self.times:
            canvas.text(_LABELS, height - 6, moment(self.times[0]), colour="muted")
            canvas.text(width - 8, height - 6, moment(self.times[-1]), anchor="end", colour="muted")
        return canvas.svg()


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many records of each actual class (row) were predicted to be of each class (column)."""

    kind: ClassVar[str] = "confusion"

    title: str
    labels: Sequence[str]
    matrix: Sequence[Sequence[float]]
    unit: str = "records"

    @property
    def summary(self) -> str:
        """What it says, in a sentence."""
        total = sum(map(sum, self.matrix))
        right = sum(row[i] for i, row in enumerate(self.matrix))
        return f"{self.title}: {words(total)} records, {words(right / total if total else None, 'share')} of them right"

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts; the colours are shares of the actual class, light enough to be written on."""
        cells = []
        for y, row in enumerate(self.matrix):
            total = sum(row) or 1.0
            cells += [{"value": [x, y, n / total], "count": n} for x, n in enumerate(row)]
        return {
            "grid": GRID,
            "xAxis": named_axis(self.labels),
            "yAxis": named_axis(self.labels, inverse=True),
            "visualMap": {**_colours(0.0, 1.0, RAMP[:3]), "show": False, "dimension": 2},
            "series": [{"type": "heatmap", "id": "confusion", "name": self.title, "data": cells}],
        }  # fmt: skip

    def svg(self, width: int = 320, height: int = 0) -> str:
        """As a static picture."""
        size = max(len(self.labels), 1)
        height = height or 60 + 24 * size
        canvas = Canvas(width, height, self.title, self.summary)
        wide, tall, top = (width - _LABELS - 8) / size, (height - 60) / size, 36.0
        for y, (label, row) in enumerate(zip(self.labels, self.matrix, strict=True)):
            total = sum(row) or 1.0
            canvas.text(_LABELS - 6, top + tall * (y + 0.5) + 4, label, anchor="end", colour="muted", longest=18)
            canvas.text(_LABELS + wide * (y + 0.5), height - 8, label, anchor="middle", colour="muted",
                        longest=int(wide / 6) + 1)  # fmt: skip
            for x, n in enumerate(row):
                share = n / total
                canvas.rect(_LABELS + wide * x, top + tall * y, wide - 1, tall - 1, "accent", 0.05 + 0.85 * share)
                if wide > 28:
                    canvas.text(_LABELS + wide * (x + 0.5), top + tall * (y + 0.5) + 4, words(n), anchor="middle")
        return canvas.svg()


def _beyond(value: float | None, low: float | None, high: float | None, whole: float | None) -> float | None:
    """How far a value is from the whole's beyond its interval: 0 if this holds it, or if there is no whole."""
    known = number(value)
    if known is None or whole is None:
        return None if known is None else 0.0
    if low is None or high is None:
        low = high = known
    return number(low - whole if low > whole else high - whole if high < whole else 0.0)


def _colours(low: float, high: float, names: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "continuous", "min": low, "max": high, "orient": "horizontal", "left": "center", "bottom": 0,
        "itemHeight": 120, "itemWidth": 10, "calculable": False, "text": [words(high), words(low)],
        "textStyle": {"color": token("muted")}, "inRange": {"color": [token(name) for name in names]},
    }  # fmt: skip


def _colour(value: float, low: float, high: float, *, diverging: bool) -> str:
    names = DIVERGING if diverging else RAMP
    half = high / 2 - low / 2
    place = (value / 2 - low / 2) / half if half > 0 else 0.5
    return names[min(max(int(place * len(names)), 0), len(names) - 1)]
