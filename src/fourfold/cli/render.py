"""Values as people read them: numbers with their interval, times ago, histories as a line of blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fourfold.cli.screen import Words
from fourfold.model import Run, RunStatus, Status, Value

_BLOCKS = "▁▂▃▄▅▆▇█"
_MARKS = {
    RunStatus.SUCCEEDED: ("● ok", "green"), RunStatus.RUNNING: ("◐ running", "cyan"),
    RunStatus.FAILED: ("✖ failed", "red"), RunStatus.LOST: ("? lost", "yellow"),
}  # fmt: skip


def number(value: float | None) -> str:
    """A number in three significant digits, thousands apart.

    >>> number(0.61234), number(12345.0), number(None)
    ('0.612', '12,345', '–')
    """
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def some(names: Sequence[str], most: int = 4) -> str:
    """The first of some names.

    >>> some(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


def with_interval(value: Value) -> Words:
    """The number and half its 95 % interval's width, yellow while labels can still come; or the reason for no data."""
    if value.value is None:
        return Words("no data", style="dim")
    text = Words(number(value.value), style="bold yellow" if value.status is Status.PROVISIONAL else "bold")
    if value.low is not None and value.high is not None and value.high > value.low:
        text.append(f" ±{(value.high - value.low) / 2:.2g}", style="dim")
    return text


def rate(value: Value) -> Words:
    """A value between 0 and 1 in a fixed width, as ``with_interval``."""
    if value.value is None or value.low is None or value.high is None:
        return with_interval(value)
    half = f"{(value.high - value.low) / 2:.3f}".removeprefix("0")
    text = Words(f"{value.value:.3f}", style="bold yellow" if value.status is Status.PROVISIONAL else "bold")
    return text.append(f" ±{half}", style="dim")


def sparkline(values: Sequence[Value]) -> Words:
    """A history as blocks, from its lowest to its highest value; a dot for no data."""
    known = [v.value for v in values if v.value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    line = Words()
    for value in values:
        if value.value is None:
            line.append("·", style="dim")
            continue
        place = int((value.value - low) / (high - low) * (len(_BLOCKS) - 1) + 0.5) if high > low else 3
        line.append(_BLOCKS[place], style="yellow" if value.status is Status.PROVISIONAL else "cyan")
    return line


def ago(moment: float | None, now: float | None = None) -> str:
    """How long ago a moment was.

    >>> ago(940, 1000), ago(1000 - 7300, 1000), ago(None)
    ('1 min ago', '2 h ago', 'never')
    """
    if moment is None:
        return "never"
    passed = (time.time() if now is None else now) - moment
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if passed >= size:
            return f"{passed / size:.0f} {'day' if unit == 'days' and round(passed / size) == 1 else unit} ago"
    return "just now" if passed >= 0 else "in the future"


def span(seconds: float) -> str:
    """How much later (or earlier) something was.

    >>> span(90_000), span(-30), span(0)
    ('25 h later', '30 s earlier', 'at the same moment')
    """
    if not seconds:
        return "at the same moment"
    size, unit = next(
        (size, unit)
        for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"), (0, "s"))
        if abs(seconds) >= 2 * size
    )
    return f"{abs(seconds) / (size or 1):.3g} {unit} {'later' if seconds > 0 else 'earlier'}"


def duration(seconds: float | None) -> str:
    """A duration in its natural unit.

    >>> duration(0.0123), duration(75.0), duration(None)
    ('12 ms', '1.2 min', 'running')
    """
    if seconds is None:
        return "running"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def day(second: int | None) -> str:
    """A day by its first second."""
    return "–" if second is None else time.strftime("%Y-%m-%d", time.gmtime(second))


def health(run: Run) -> Words:
    """A run's state as a mark and a word."""
    mark, colour = _MARKS[run.status]
    return Words(mark, style=colour)


def shortened(text: str, most: int = 12) -> str:
    """A text cut to a length.

    >>> shortened("2013-09-13T12:00:00Z")
    '2013-09-13T…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"
