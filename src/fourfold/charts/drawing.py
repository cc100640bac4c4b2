"""Static pictures: SVG of shapes and text, without scripts, links or styles."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Iterable, Sequence

from fourfold.charts.spec import number, span_of, words
from fourfold.charts.time import time_ticks
from fourfold.charts.tokens import COLOURS

LONGEST = 60  # characters of a text in a picture
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 24.0, 22.0
_SIZE = 11
Points = Sequence[tuple[float, float | None]]


def clean(text: str, longest: int = LONGEST) -> str:
    """A user's text for a picture: short, of characters that XML has, and escaped."""
    shown = "".join(c if c.isprintable() else " " for c in text[: longest + 1])
    shown = shown.encode("utf-8", "replace").decode()
    return html.escape(shown[:longest] + "…" if len(shown) > longest else shown)


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of time that is marked, in seconds since 1970."""

    start: float
    end: float
    name: str
    colour: str = "warning"


class Canvas:
    """A picture that is being drawn, under its title; lengths in pixels, from the upper left."""

    def __init__(self, width: int, height: int, title: str, summary: str) -> None:
        self.width, self.height = width, height
        self._parts = [f"<title>{clean(title, 200)}</title><desc>{clean(summary, 2_000)}</desc>"]
        self.text(0, 12, title, bold=True)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str, *, dash: bool = False) -> None:
        """A straight line."""
        dashed = ' stroke-dasharray="4 3"' if dash else ""
        self._parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{COLOURS[colour]}"{dashed}/>'
        )

    def path(self, points: Points, colour: str, *, dash: bool = False, width: float = 1.5) -> None:
        """A line through points; it is broken where there is none, and a point alone is a dot."""
        for part in _unbroken(points):
            if len(part) == 1:
                self.dot(*part[0], colour)
                continue
            at = " ".join(f"{x:.1f},{y:.1f}" for x, y in part)
            dashed = ' stroke-dasharray="4 3"' if dash else ""
            self._parts.append(
                f'<polyline points="{at}" fill="none" stroke="{COLOURS[colour]}" stroke-width="{width}"{dashed}/>'
            )

    def dot(self, x: float, y: float, colour: str, radius: float = 2.0) -> None:
        """A point."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{COLOURS[colour]}"/>')

    def area(self, lower: Points, upper: Points, colour: str, opacity: float) -> None:
        """What lies between two lines, which have the same places."""
        both = [(x, (y0, y1)) for (x, y0), (_, y1) in zip(lower, upper, strict=True)]
        run: list[tuple[float, float, float]] = []
        for x, (y0, y1) in [*both, (0.0, (None, None))]:
            if y0 is not None and y1 is not None:
                run.append((x, y0, y1))
                continue
            if run:
                if len(run) == 1:
                    run = [(run[0][0] - 1.5, *run[0][1:]), (run[0][0] + 1.5, *run[0][1:])]
                there = " ".join(f"{x_:.1f},{y:.1f}" for x_, y, _ in run)
                back = " ".join(f"{x_:.1f},{y:.1f}" for x_, _, y in reversed(run))
                self._parts.append(
                    f'<polygon points="{there} {back}" fill="{COLOURS[colour]}" fill-opacity="{opacity}"/>'
                )
            run = []

    def rect(
        self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0, told: str = ""
    ) -> None:
        """A rectangle; ``told`` is shown where the pointer is."""
        about = f"<title>{clean(told, 200)}</title>" if told else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
            f'fill="{COLOURS[colour]}" fill-opacity="{opacity:g}">{about}</rect>'
        )

    def frame(self, x: float, y: float, width: float, height: float, colour: str, *, dash: bool = False) -> None:
        """The outline of a box."""
        dashed = ' stroke-dasharray="3 3"' if dash else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4" fill="none" '
            f'stroke="{COLOURS[colour]}"{dashed}/>'
        )

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", colour: str = "text", bold: bool = False,
        longest: int = LONGEST,
    ) -> None:  # fmt: skip
        """A text; it is escaped."""
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{COLOURS[colour]}"{weight}>'
            f"{clean(text, longest)}</text>"
        )

    def svg(self) -> str:
        """The picture."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif" font-size="{_SIZE}">'
            f"{''.join(self._parts)}</svg>"
        )


class Plot:
    """An area with two axes on a canvas: ``x`` and ``y`` are where values lie."""

    def __init__(
        self, canvas: Canvas, xs: Iterable[float], ys: Iterable[float | None], unit: str, *, left: float = LEFT
    ) -> None:
        self.canvas, self.unit = canvas, unit
        self.left, self.right = left, canvas.width - RIGHT
        self.top, self.bottom = TOP, canvas.height - BOTTOM
        self._xs = span_of(xs) or (0.0, 1.0)
        low, high = span_of(ys) or (0.0, 1.0)
        if low == high:
            spread = abs(low) * 0.05 or 0.5
            low, high = low - spread, high + spread
        self._ys = low, high
        self.x: Callable[[float], float] = _scale(*self._xs, self.left, self.right)
        self._y = _scale(low, high, self.bottom, self.top)

    def y(self, value: float | None) -> float | None:
        """Where a value lies; None if there is none."""
        known = number(value)
        return None if known is None else self._y(known)

    def points(self, xs: Sequence[float], ys: Sequence[float | None]) -> Points:
        """Where pairs of values lie."""
        return [(self.x(x), self.y(y)) for x, y in zip(xs, ys, strict=True)]

    def mark(self, spans: Sequence[Span]) -> None:
        """Shade stretches of time."""
        for span in spans:
            start, end = (min(max(self.x(at), self.left), self.right) for at in (span.start, span.end))
            wide, tall = max(end - start, 1), self.bottom - self.top
            self.canvas.rect(start, self.top, wide, tall, span.colour, 0.12, span.name)

    def values(self) -> None:
        """Draw the vertical axis, with its lines."""
        for tick in ticks(*self._ys):
            at = self._y(tick)
            self.canvas.line(self.left, at, self.right, at, "grid")
            self.canvas.text(self.left - 6, at + 4, words(tick, self.unit), anchor="end", colour="muted")

    def times(self) -> None:
        """Draw the horizontal axis, of times in seconds since 1970."""
        for tick, label in time_ticks(*self._xs):
            at = self.x(tick)
            self.canvas.line(at, self.bottom, at, self.bottom + 4, "grid")
            self.canvas.text(at, self.bottom + 16, label, anchor="middle", colour="muted")

    def numbers(self) -> None:
        """Draw the horizontal axis, of numbers."""
        for tick in ticks(*self._xs):
            self.canvas.text(self.x(tick), self.bottom + 16, words(tick), anchor="middle", colour="muted")


def legend(canvas: Canvas, entries: Sequence[tuple[str, str]]) -> None:
    """The names of what is drawn, at the upper right."""
    at = canvas.width - 8.0
    for name, colour in reversed(entries[:6]):
        canvas.text(at, 12, name, anchor="end", colour="muted", longest=20)
        at -= 6.2 * min(len(name), 21) + 8
        canvas.dot(at, 8, colour, 3.5)
        at -= 14


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Values to places; what lies far outside stays near."""
    half = (high / 2 - low / 2) or 0.5  # whose double might be infinite
    return lambda value: start + min(max((value / 2 - low / 2) / half, -1.0), 2.0) * (end - start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers in a range.

    >>> ticks(0.0, 1.0), ticks(3.0, 17.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [5.0, 10.0, 15.0])
    """
    spread = high / about - low / about
    if not (math.isfinite(spread) and spread > 0):
        return [low]
    size = 10.0 ** math.floor(math.log10(spread))
    step = next((size * m for m in (1, 2, 5) if size * m >= spread * 0.75), size * 10) if size > 0 else spread
    first = math.ceil(low / step - 1e-9)
    found = [first * step + i * step for i in range(10) if first * step + i * step <= high + step * 1e-9]
    return [float(f"{tick:.10g}") for tick in found] or [low]


def _unbroken(points: Points) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            parts.append([])
        else:
            parts[-1].append((x, y))
    return [part for part in parts if part]
