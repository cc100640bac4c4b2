"""Records and frames as the batches of a stream: plain columns, with key, times, run and place beside them."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import InputError
from fourfold.fold import to_arrow
from fourfold.records import BATCH, EVENT_TIME, KEY, LOG_TIME, META, ROW, RUN

_INSTANT = pa.timestamp("us", "UTC")


class Record(NamedTuple):
    """One record as it was handed to ``ff.log``; worked on later, in the background."""

    stream: str
    data: dict[str, Any] | None
    fields: dict[str, Any]
    key: Any
    time: Any
    logged: int  # nanoseconds since 1970
    run: Any  # the run it was logged in, or None


class Prepared(NamedTuple):
    """A batch without its identity, and the names that its key and time columns had."""

    table: pa.Table
    key: str | None
    time: str | None


def from_records(records: Sequence[Record]) -> list[tuple[Prepared, Exception | None]]:
    """Records of one stream as batches.

    Where values of a column do not go together, records of the same types become batches of their own; those that
    cannot be held at all come as text, with the error.
    """
    rows, keys, times = [], [], []
    name_of_key = name_of_time = None
    for record in records:
        row = dict(record.data) if record.data is not None else {}
        key, time = record.key, record.time
        if record.data is not None:  # key and time name fields of the data
            if isinstance(key, str):
                name_of_key, key = key, row.pop(key, None)
            elif isinstance(key, (list, tuple)):  # their columns stay: a query is one
                name_of_key, key = " × ".join(map(str, key)), tuple(row.get(part) for part in key)
            if isinstance(time, str) and time in row:
                name_of_time, time = time, row.pop(time)
        row.update(record.fields)
        rows.append(row)
        keys.append(key_text(key))
        times.append(_micros(time, record.logged))
    logged = [record.logged // 1_000 for record in records]
    runs = [record.run.id if record.run is not None else None for record in records]
    try:
        table = to_arrow(rows) if any(rows) else pa.table({})
    except InputError as error:
        alike: dict[tuple[tuple[str, str], ...], list[Record]] = {}
        for record, row in zip(records, rows, strict=True):
            shape = tuple(sorted((name, type(value).__name__) for name, value in row.items() if value is not None))
            alike.setdefault(shape, []).append(record)
        if len(alike) == 1:
            text = pa.table({"record": [shown(row) for row in rows]})
            return [(Prepared(text, None, None), error)]
        return [part for group in alike.values() for part in from_records(group)]
    meta = {KEY: keys, EVENT_TIME: times, LOG_TIME: logged, RUN: runs}
    return [(Prepared(_with_meta(table, meta), name_of_key, name_of_time), None)]


def from_frame(
    data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: str | None
) -> Prepared:  # fmt: skip
    """A dataframe as one batch; the columns of a key of several parts stay among the record's.

    Raises:
        InputError: where the key or time column does not exist, or times cannot be read.
    """
    table = to_arrow(data)
    parts = [] if key is None else [key] if isinstance(key, str) else list(key)
    for field, name in (*(("key", part) for part in parts), ("time", time)):
        if name is not None and name not in table.column_names:
            raise InputError(f"{field}={name!r} is not a column of the frame; there are {table.column_names}")
    rows, micros = table.num_rows, logged // 1_000
    keys: Any = pa.nulls(rows, pa.string())
    if isinstance(key, str):
        keys = _key_column(table[key])
    elif parts:
        keys = pa.array(map(key_text, zip(*(table[part].to_pylist() for part in parts), strict=True)), pa.string())
    times = _time_column(table[time], micros, time) if time is not None else pa.array(np.full(rows, micros), _INSTANT)
    single = key if isinstance(key, str) else None
    table = table.drop_columns([name for name in dict.fromkeys((single, time)) if name is not None])
    meta = {KEY: keys, EVENT_TIME: times, LOG_TIME: np.full(rows, micros), RUN: pa.array([run] * rows, pa.string())}
    return Prepared(_with_meta(table, meta), " × ".join(parts) or None, time)


def is_record(data: Any, key: Any) -> bool:
    """Whether a dict is one record, rather than columns: its key, or else all its values, are no sequences."""
    if not isinstance(data, Mapping):
        return False
    sequences = (list, tuple, np.ndarray, pa.Array, pa.ChunkedArray)
    parts = [key] if isinstance(key, str) else key if isinstance(key, (list, tuple)) else []
    if parts and all(isinstance(part, str) and part in data for part in parts):
        return not isinstance(data[parts[0]], sequences)
    return not any(isinstance(value, sequences) for value in data.values())


def with_batch(table: pa.Table, batch: str) -> pa.Table:
    """The batch's identity and each record's place in it."""
    rows = table.num_rows
    place = pa.array(np.arange(rows), pa.int64())
    return table.append_column(BATCH, pa.array([batch] * rows, pa.string())).append_column(ROW, place)


def key_text(key: Any) -> str | None:
    """A key as the log keeps it: its text, a whole float as an integer's, and nothing for null or NaN.

    A key of several parts is a JSON list of their texts; one whose part is missing is missing.

    >>> key_text(5.0), key_text("AA1"), key_text(float("nan")), key_text(("q1", 3))
    ('5', 'AA1', None, '["q1", "3"]')
    """
    if isinstance(key, (tuple, list)):
        parts = [key_text(part) for part in key]
        return None if None in parts or not parts else json.dumps(parts, ensure_ascii=False)
    if key is None or key != key:
        return None
    if isinstance(key, (float, np.floating)) and math.isfinite(key) and float(key).is_integer():
        return str(int(key))
    return str(key)


def shown(value: Any) -> str:
    """A value as text, whatever it does when asked for it."""
    try:
        return repr(value)[:100_000]
    except Exception as error:
        return f"a {type(value).__name__} that cannot be shown: {type(error).__name__}"


def _with_meta(table: pa.Table, meta: Mapping[str, Any]) -> pa.Table:
    """The table with fourfold's own columns; a user's column of such a name is renamed, not lost."""
    table = table.rename_columns([f"column{n}" if n.startswith("_ff_") else n for n in table.column_names])
    columns = {name: table[name] for name in table.column_names}
    columns |= {name: _as(values, META.field(name).type) for name, values in meta.items()}
    return pa.table(columns)


def _as(values: Any, kind: pa.DataType) -> Any:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, kind)


def _key_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        return pa.chunked_array([pa.array([key_text(v) for v in column.to_pylist()], pa.string())])
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return pa.chunked_array([pa.array([key_text(v) for v in column.to_pylist()], pa.string())])
    return column.cast(pa.string())


def _time_column(column: pa.ChunkedArray, logged: int, name: str) -> pa.ChunkedArray:
    """Event times; seconds since 1970 where they are numbers, the log time where there is none."""
    try:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            numbers = column.to_numpy().astype(np.float64)
            whole = np.where(np.isfinite(numbers), numbers, logged / 1e6)
            return pa.chunked_array([pa.array((whole * 1e6).astype(np.int64), _INSTANT)])
        if pa.types.is_string(column.type):
            try:
                times = column.cast(_INSTANT)
            except pa.ArrowInvalid:
                times = column.cast(pa.timestamp("us")).cast(_INSTANT)
        else:
            times = column.cast(_INSTANT)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"time={name!r}: its values cannot be read as times: {error}") from error
    return pc.fill_null(times, pa.scalar(logged, pa.int64()).cast(_INSTANT))


def _micros(time: Any, logged: int) -> int:
    """A moment in microseconds since 1970; the log time where there is none or it cannot be read."""
    if isinstance(time, str):
        try:
            time = dt.datetime.fromisoformat(time)
        except ValueError:
            time = None
    if isinstance(time, np.datetime64):
        time = None if np.isnat(time) else int(time.astype("datetime64[us]").astype(np.int64)) / 1e6
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return round(aware.timestamp() * 1e6)
    if isinstance(time, dt.date):
        return int(dt.datetime(time.year, time.month, time.day, tzinfo=dt.UTC).timestamp() * 1e6)
    if isinstance(time, (int, float, np.number)) and math.isfinite(time):
        return int(float(time) * 1e6)
    return logged // 1_000
