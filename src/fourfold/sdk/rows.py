"""The records of a frame, one by one: for what makes no columns of them, and of columns that Arrow cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fourfold.errors import InputError
from fourfold.model.given import is_record, name_text, unique_names


def records_in(data: Any) -> list[Mapping[str, Any]] | None:
    """The records of a frame, a dict or a list of dicts; None of anything else.

    Raises:
        InputError: its columns are of unequal length.
    """
    if isinstance(data, Mapping):
        if is_record(data):
            return [data]
        columns = [list(values) for values in data.values()]
        if len({len(values) for values in columns}) > 1:
            raise InputError("a dict of columns of unequal length could not be read as columns")
        return [dict(zip(data, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(data, (list, tuple)) and all(isinstance(row, Mapping) for row in data):
        return list(data)
    reader = reader_of(data)
    return None if reader is None else reader()


def reader_of(data: Any) -> Callable[[], list[Mapping[str, Any]]] | None:
    """What gives a frame's records: of Polars, PyArrow or pandas, none of which is loaded for that."""
    module = type(data).__module__.partition(".")[0]
    match module, type(data).__name__:
        case "polars", "DataFrame":
            return lambda: list(data.to_dicts())
        case "polars", "LazyFrame":
            return lambda: list(data.collect().to_dicts())
        case "pyarrow", "Table" | "RecordBatch":
            return lambda: list(data.to_pylist())
        case "pandas", "DataFrame":
            return lambda: _of_pandas(data)
    return None


def _of_pandas(frame: Any) -> list[Mapping[str, Any]]:
    """The records of a frame, in which NaN is a missing value, except in a plain column of floats."""
    names = unique_names([name_text(name) for name in frame.columns])
    columns = []
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position]
        values = series.tolist()
        if getattr(series.dtype, "kind", "") != "f" or not type(series.dtype).__module__.startswith("numpy"):
            values = [None if missing else value for value, missing in zip(values, series.isna(), strict=True)]
        columns.append(values)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
