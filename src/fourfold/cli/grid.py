"""A table that fits the width of its screen: numbers are never cut, and cuts are visible."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fourfold.cli.screen import Words, visible

_GAP = 2  # between columns
_LEAST = 10  # the least width of a column that wraps, and
_LONGEST = 16  # the length up to which its words are not cut
_EMPTY = ("", visible("–"), "–")
Row = Sequence[Words]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: numbers are right-aligned; long texts wrap, and leave room to the others.

    A ``spare`` column is left out, with a note, if a row would not fit a line otherwise.
    """

    name: str
    right: bool = False
    wraps: bool = False
    spare: bool = False


def right(name: str) -> Column:
    """A column of numbers."""
    return Column(name, right=True)


def wide(name: str) -> Column:
    """A column of long texts."""
    return Column(name, wraps=True)


def spare(name: str) -> Column:
    """A column that can be left out."""
    return Column(name, spare=True)


class Grid:
    """An unframed table.

    If it is too wide, its spare columns are left out, the last first. If that is not enough, the columns are laid out
    in several parts, one below the other, each beginning with the ``keys`` (so many of the first columns); if the keys
    alone take too much room, or do not identify the rows, each row becomes a block of lines.
    """

    def __init__(self, *columns: Column | str, keys: int = 1) -> None:
        self.columns = [Column(column) if isinstance(column, str) else column for column in columns]
        self.keys, self.rows = keys, list[Row]()

    def add_row(self, *cells: Words | str) -> None:
        """Add a row: a cell for each column."""
        assert len(cells) == len(self.columns)
        self.rows.append([Words(cell) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = self._parts(options.max_width)
        if parts is None:
            yield from self._blocks(console, options.max_width)
            return
        for i, part in enumerate(parts):
            if i:
                yield Text()
            yield from self._lines(console, part, self._widths(part, options.max_width))
        left_out = [column.name for i, column in enumerate(self.columns) if not any(i in part for part in parts)]
        if left_out:
            yield Words(f"too narrow for {' and '.join(left_out)}", "dim")

    def _parts(self, width: int) -> list[list[int]] | None:
        """The columns of each part, or None if there is no room for parts."""
        everything = list(range(len(self.columns)))
        shown = list(everything)
        for i in [None, *reversed([i for i in everything if self.columns[i].spare])]:
            shown = [j for j in shown if j != i]
            if self._least(shown) <= width:
                return [shown]
        keys, others = everything[: self.keys], everything[self.keys :]
        told_apart = len({tuple(row[i].plain for i in keys) for row in self.rows}) == len(self.rows)
        if not keys or not told_apart or any(self._least([*keys, i]) > width for i in others):
            return None
        parts: list[list[int]] = []
        for i in others:
            if parts and self._least([*parts[-1], i]) <= width:
                parts[-1].append(i)
            else:
                parts.append([*keys, i])
        return parts

    def _natural(self, i: int) -> int:
        return max(cell.cell_len for cell in [Words(self.columns[i].name), *(row[i] for row in self.rows)])

    def _narrowest(self, i: int) -> int:
        if not self.columns[i].wraps:
            return self._natural(i)
        cells = [Words(self.columns[i].name), *(row[i] for row in self.rows)]
        longest = max(cell_len(word) for cell in cells for word in cell.plain.split(" "))
        return min(self._natural(i), max(_LEAST, min(longest, _LONGEST)))

    def _least(self, columns: Sequence[int]) -> int:
        """The least width for these columns."""
        return sum(map(self._narrowest, columns)) + _GAP * (len(columns) - 1)

    def _widths(self, columns: Sequence[int], width: int) -> dict[int, int]:
        """Each column's width: those that wrap share the rest, the narrowest first."""
        widths = {i: self._narrowest(i) for i in columns}
        left = width - self._least(columns)
        wrapping = sorted((i for i in columns if self.columns[i].wraps), key=self._natural)
        for place, i in enumerate(wrapping):
            more = min(self._natural(i) - widths[i], left // (len(wrapping) - place))
            widths[i], left = widths[i] + more, left - more
        return widths

    def _lines(self, console: Console, columns: Sequence[int], widths: dict[int, int]) -> Iterator[Text]:
        yield from _beside(
            console, [(Words(self.columns[i].name, "dim"), widths[i], self.columns[i].right) for i in columns]
        )
        for row in self.rows:
            yield from _beside(console, [(row[i], widths[i], self.columns[i].right) for i in columns])

    def _blocks(self, console: Console, width: int) -> Iterator[Text]:
        """Each row by itself: its keys, and below them a line for each other cell with text."""
        others = range(self.keys, len(self.columns))
        longest = max((self._title(i).cell_len for i in others), default=0)
        indent = _GAP if self.keys else 0
        for number, row in enumerate(self.rows):
            if number:
                yield Text()
            heading = Words("  ").join(cell for cell in row[: self.keys] if cell.plain not in _EMPTY)
            if heading.plain:
                yield from _beside(console, [(heading, width, False)])
            for i in others:
                if row[i].plain in _EMPTY:
                    continue
                room = width - indent - longest - _GAP
                cells = [(self._title(i), longest, False), (row[i], room, False)]
                for line in _beside(console, cells):
                    yield Text(" " * indent).append_text(line)

    def _title(self, i: int) -> Words:
        return Words(self.columns[i].name, "dim")


def _beside(console: Console, cells: Sequence[tuple[Text, int, bool]]) -> Iterator[Text]:
    """The lines of adjacent cells, each with its width and its alignment."""
    wrapped = [
        _unbroken(cell, width).wrap(console, width, justify="right" if right else "left", overflow="fold")
        for cell, width, right in cells
    ]
    for lines in itertools.zip_longest(*wrapped):
        whole = Text(no_wrap=True, overflow="ignore")
        for (_, width, _), line in zip(cells, lines, strict=True):
            part = line.copy() if line is not None else Text()
            part.rstrip()
            whole.append_text(part)
            whole.append(" " * (width - part.cell_len + _GAP))
        whole.rstrip()
        yield whole


def _unbroken(cell: Text, width: int) -> Text:
    """A cell whose words need not be broken: words that are too long are visibly shortened."""
    words = cell.plain.split(" ")
    if all(cell_len(word) <= width for word in words):
        return cell
    return Text(" ".join(squeezed(word, width) for word in words), cell.style)


def squeezed(text: str, most: int) -> str:
    """A text cut in its middle to a number of cells.

    >>> squeezed("join_weather.output", 12)
    'join_w…utput'
    """
    if cell_len(text) <= most:
        return text
    mark = visible("…")
    kept = max(most - cell_len(mark), 0)
    head, tail = set_cell_size(text, (kept + 1) // 2), set_cell_size(text[::-1], kept // 2)[::-1]
    return head + mark + tail
