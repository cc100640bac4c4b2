"""What every chart is, and numbers as a chart shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

DAY = 86_400
_LARGEST = 1e300  # a value is drawn at most so far out: a range of two finite numbers may be infinite
_LAST = 8.64e12  # seconds since 1970 that JavaScript can express
_SHORT = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
Values = Sequence[float | None]


class Chart(Protocol):
    """A chart: data and what they are, without a place on a screen."""

    kind: ClassVar[str]

    @property
    def title(self) -> str:
        """What it shows."""

    @property
    def unit(self) -> str:
        """The unit of its values: "share", "seconds", or what is counted."""

    @property
    def summary(self) -> str:
        """What it says, in a sentence, for who does not see it."""

    def echarts(self) -> dict[str, Any]:
        """As an option of Apache ECharts: plain JSON."""

    def svg(self, width: int = 640, height: int = 220) -> str:
        """As a static picture."""


def plain(chart: Chart) -> dict[str, Any]:
    """A chart as JSON, for pages."""
    return {
        "kind": chart.kind, "title": chart.title, "unit": chart.unit, "summary": chart.summary,
        "option": chart.echarts(),
    }  # fmt: skip


def number(value: float | None) -> float | None:
    """A number that JSON has and that can be drawn; None for others."""
    if value is None or not math.isfinite(value):
        return None
    return max(-_LARGEST, min(value, _LARGEST))


def milliseconds(at: float) -> int:
    """Seconds since 1970 as ECharts takes them: a time that no calendar has, as the last one that JavaScript's has."""
    return int(max(-_LAST, min(at, _LAST)) * 1_000) if math.isfinite(at) else 0


def span_of(values: Iterable[float | None]) -> tuple[float, float] | None:
    """The least and the largest of the numbers that can be drawn; None without any."""
    found = [known for value in values if (known := number(value)) is not None]
    return (min(found), max(found)) if found else None


def words(value: float | None, unit: str = "") -> str:
    """A number in few characters, with its unit.

    >>> words(0.4512, "share"), words(1234567.0), words(5400.0, "seconds"), words(None), words(1e-7)
    ('45.1 %', '1.23M', '1.5 h', '–', '1e-07')
    """
    value = number(value)
    if value is None:
        return "–"
    if unit == "share":
        return "<0.1 %" if 0 < value < 0.0005 else f"{100 * value:.3g} %"
    if unit == "seconds":
        length, name = next(((s, n) for s, n in ((DAY, "d"), (3_600, "h"), (60, "min")) if abs(value) >= s), (1, "s"))
        return f"{value / length:.3g} {name}"
    for letter, size in _SHORT:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def newest(values: Sequence[float | None]) -> float | None:
    """The last number that there is."""
    return next((known for value in reversed(values) if (known := number(value)) is not None), None)


AXIS: dict[str, Any] = {"axisLine": {"lineStyle": {"color": "token:grid"}}, "axisLabel": {"color": "token:muted"}}
GRID: dict[str, Any] = {"left": 8, "right": 16, "top": 16, "bottom": 8, "containLabel": True}


def value_axis(unit: str, *, zero: bool = False) -> dict[str, Any]:
    """A vertical axis of numbers."""
    shares = {"min": 0, "max": 1} if unit == "share" and zero else {}
    return {
        "type": "value", "scale": not zero, **AXIS, **shares,
        "splitLine": {"lineStyle": {"color": "token:grid", "opacity": 0.4}},
    }  # fmt: skip


def named_axis(labels: Sequence[str], *, inverse: bool = False) -> dict[str, Any]:
    """An axis of names; long ones are cut."""
    axis: dict[str, Any] = {
        "type": "category", "data": list(labels), "axisLine": {"lineStyle": {"color": "token:grid"}},
        "axisLabel": {"color": "token:muted", "width": 120, "overflow": "truncate"},
    }  # fmt: skip
    return {**axis, "inverse": True} if inverse else axis


def legend_of(names: Sequence[str]) -> dict[str, Any]:
    """The legend of several series, and the room for it; nothing for one."""
    if len(names) < 2:
        return {}
    legend = {"data": list(names), "top": 0, "type": "scroll", "textStyle": {"color": "token:muted"}}
    return {"legend": legend, "grid": {**GRID, "top": 36}}
