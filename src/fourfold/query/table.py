"""Answers as tables, with the same methods in Python and in a notebook."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

T = TypeVar("T")
_SHOWN = 50  # rows that a notebook shows


class Tabular(ABC):
    """A table: of a metric, a trace, a comparison, a report."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """As a PyArrow table."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict a row; times as aware datetimes."""
        dicts: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return dicts

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas frame (needs pandas)."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """As a Polars frame (needs the extra ``fourfold[polars]``)."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _repr_html_(self) -> str:
        """The table for a notebook: no scripts, all text escaped."""
        return as_html(self.to_arrow())


class Table(Tabular, Sequence[T], Generic[T]):
    """The rows of a report: frozen records, by index; as a table, a column for each field."""

    def __init__(self, rows: Sequence[T], columns: Callable[[T], Mapping[str, Any]] | None = None) -> None:
        self._rows, self._columns = tuple(rows), columns or _fields

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._rows)) or "(no rows)"

    def to_arrow(self) -> pa.Table:
        """As a PyArrow table: a column for each field; fields other than numbers, texts and times become texts."""
        return arrow_of([self._columns(row) for row in self._rows])


def arrow_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table: numbers, booleans, texts and times stay; other values and mixed columns become text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([_cell(row.get(name)) for row in rows]) for name in names})


def as_html(table: pa.Table, shown: int = _SHOWN) -> str:
    """A table in HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.column_names)
    rows = table.slice(0, shown).to_pylist()
    body = "".join(f"<tr>{''.join(f'<td>{_text(row[name])}</td>' for name in table.column_names)}</tr>" for row in rows)
    more = f"<p>… {table.num_rows - shown:,} more rows</p>" if table.num_rows > shown else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def moment(seconds: float | None) -> dt.datetime | None:
    """Seconds since 1970 as an aware datetime."""
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)


def _fields(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, dt.datetime)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (list, tuple, dict)) for item in value):
            return json.dumps(value, ensure_ascii=False, default=str)
        return ", ".join(map(str, value))
    return str(value)


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            pass
    return pa.array([None if value is None else _printable(str(value)) for value in values], pa.string())


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return html.escape(str(value))
