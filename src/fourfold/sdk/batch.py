"""Records and frames as the batches of a stream: plain columns, with key, times, run and place beside them."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fourfold.config import PLAUSIBLE
from fourfold.errors import InputError, let_end
from fourfold.fold import to_arrow
from fourfold.fold.arrays import instant_text, numbers, repeated, texts, values_of
from fourfold.fold.frames import DEEPEST, as_given, in_plain_types, name_text, unique_names
from fourfold.model import Plausible
from fourfold.model.given import MissingColumnError, check_key, check_named, is_of_pandas
from fourfold.model.names import UNREADABLE_TIME
from fourfold.model.records import EVENT_TIME, KEY, LOG_TIME, RUN
from fourfold.sdk.host import error_text, shown, summary
from fourfold.sdk.parting import Row, parted
from fourfold.sdk.record import Record
from fourfold.sdk.rows import records_in
from fourfold.sdk.times import INSTANT, micros_of, moments_of, time_column, time_text, time_texts

UNREADABLE, IMPLAUSIBLE = "unreadable", "implausible"  # what is wrong with a record's time
_SCALARS = frozenset({str, int, float, bool, type(None)})


class Prepared(NamedTuple):
    """A batch, the names of its key and time columns, and the number of unreadable times.

    Where records were given one by one: ``mistakes`` says which rows have such a time, and in which way; ``places``,
    which of the records the rows are, in their order.
    """

    table: pa.Table
    key: str | None
    time: str | None
    unreadable: int = 0
    mistakes: Sequence[tuple[int, str]] = ()
    places: Sequence[int] = ()


Found = list[tuple[Prepared, BaseException | None]]


def prepare(
    data: Any,
    key: str | Sequence[str] | None,
    time: str | None,
    logged: int,
    run: str | None,
    times: Plausible = PLAUSIBLE,
) -> Found:
    """The data given to ``ff.log`` as batches: a list of dicts record by record, all else as one frame.

    A frame that columns cannot hold is taken record by record, too: one odd value costs only its record.

    Raises:
        InputError: see ``from_frame``.
    """
    rows: Sequence[Mapping[str, Any]] | None = None
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, dict) for row in data):
        rows = data
    else:
        try:
            return [(from_frame(data, key, time, logged, run, times), None)]
        except MissingColumnError:
            raise
        except InputError:
            rows = _rows(data)
            if rows is None:
                raise
    named = {_name(name) for name in {name for row in rows for name in row}}
    check_named(key, time, sorted(named))
    marker = None if run is None else _RunId(run)
    return from_records([Record("", row, {}, key, time, logged, marker) for row in rows], times)


def _rows(data: Any) -> Sequence[Mapping[str, Any]] | None:
    """The records of a frame, if they can be read."""
    try:
        return records_in(data)
    except BaseException as error:
        let_end(error)
        return None


def from_records(records: Sequence[Record], times: Plausible = PLAUSIBLE) -> Found:
    """Records of one stream as batches; no value raises an error, and no record affects another.

    If the types of a column conflict, records of the same types become separate batches. Those that Arrow cannot hold
    come together as texts, each with its reason, and with an error. Records of one key stay in order.
    """
    rows: list[Row] = []
    aside: dict[int, BaseException] = {}
    for place, record in enumerate(records):
        try:
            rows.append(_plain_record(place, record))
        except BaseException as error:
            let_end(error)
            aside[place] = error
    found: Found = [(batch, None) for batch in parted(_in_one_case(rows), lambda part: _batch(part, times), aside)]
    return [*found, _as_texts(records, aside)] if aside else found


class _RunId(NamedTuple):
    id: str


def _in_one_case(rows: list[Row]) -> list[Row]:
    """The records with each name in one case, as a stream's log knows one column for all.

    Where one record has several that differ by nothing else, they stay apart, in whichever order they come.
    """
    names = set[str]().union(*(row.values for row in rows))
    if len({name.casefold() for name in names}) == len(names):
        return rows
    spelled = {name.casefold(): name for name in sorted(names, reverse=True)}  # in capitals, where it comes so
    found = []
    for row in rows:
        values: dict[str, Any] = {}
        for name in sorted(row.values):
            column, number = spelled[name.casefold()], 2
            while column in values:
                column, number = f"{spelled[name.casefold()]}_{number}", number + 1
                column = spelled.get(column.casefold(), column)
            values[column] = row.values[name]
        found.append(row._replace(values=values))
    return found


def _plain_record(place: int, record: Record) -> Row:
    """A record's values in containers that are safe for Arrow.

    Raises:
        InputError: a value contains itself, or a column of the key is missing.
    """
    row = {_name(name): value for name, value in record.data.items()} if record.data is not None else {}
    key, time, key_name, time_name = record.key, record.time, None, None
    if record.data is not None:  # key and time name fields of the data, which may be the same
        if isinstance(time, str) and time in row:
            time_name, time = time, row[time]
        if isinstance(key, str):
            key_name, key = key, row.pop(key, None)
        elif isinstance(key, (list, tuple)):  # their columns stay: a query is also a column
            missing = [part for part in key if part not in row]
            if missing:
                raise InputError(f"key={missing[0]!r} is not a column of the record; there are {sorted(row)}")
            key_name, key = " × ".join(map(str, key)), tuple(row.get(part) for part in key)
        if time_name is not None:
            row.pop(time_name, None)
    row.update((_name(name), value) for name, value in record.fields.items())
    values = {name: value if type(value) in _SCALARS else _plain(value) for name, value in row.items()}
    return Row(place, record, values, key_text(key), time, key_name, time_name)


def _batch(rows: Sequence[Row], plausible_times: Plausible) -> Prepared:
    times: list[int] = []
    unreadable: list[str | None] = []
    broken = set[int]()  # whose times cannot be read
    for row in rows:
        logged = row.record.logged // 1_000 + row.later
        first, last = plausible_times.micros(logged)
        try:
            micros = micros_of(row.time)
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            micros = first - 1
            broken.add(len(times))
        plausible = micros is None or first <= micros <= last
        times.append(logged if micros is None or not plausible else micros)
        unreadable.append(None if plausible else time_text(row.time))
    table = to_arrow([row.values for row in rows]) if any(row.values for row in rows) else pa.table({})
    mistakes: Sequence[tuple[int, str]] = ()
    if wrong := len(rows) - unreadable.count(None):
        table = _beside(table, texts(unreadable))
        mistakes = [
            (place, UNREADABLE if place in broken else IMPLAUSIBLE)
            for place, said in enumerate(unreadable)
            if said is not None
        ]
    logged_at = [row.record.logged // 1_000 + row.later for row in rows]
    meta = {
        KEY: texts([row.key for row in rows]),
        EVENT_TIME: numbers(np.array(times, np.int64), INSTANT),
        LOG_TIME: numbers(np.array(logged_at, np.int64), INSTANT),
        RUN: texts([row.record.run.id if row.record.run is not None else None for row in rows]),
    }
    whole = _with_meta(table, meta)
    whole.validate(full=True)
    return Prepared(
        whole,
        next((r.key_name for r in rows if r.key_name), None),
        next((r.time_name for r in rows if r.time_name), None),
        wrong,
        mistakes,
        [row.place for row in rows],
    )


def _as_texts(records: Sequence[Record], aside: Mapping[int, BaseException]) -> tuple[Prepared, BaseException]:
    """Records that cannot be logged, each with its reason, and one error for all of them."""
    places = sorted(aside)
    reasons = [error_text(aside[place]) for place in places]
    texts = rejected(
        [shown({**(records[place].data or {}), **records[place].fields}) for place in places],
        [shown(records[place].key) for place in places], reasons,
    )  # fmt: skip
    return Prepared(texts, None, None, places=places), InputError(summary(reasons))


def rejected(records: Sequence[str], keys: Sequence[str | None], reasons: Sequence[str]) -> pa.Table:
    """Records as texts, as they are kept in quarantine."""
    return pa.table({"record": texts(records), "key": texts(keys), "reason": texts(reasons)})


def _name(name: Any) -> str:
    return _usual_name(name) if type(name) is str else name_text(name)


_usual_name = functools.lru_cache(4_096)(name_text)  # each record has them again


def _plain(value: Any, depth: int = 0) -> Any:
    """A value in plain containers; with one that contains itself, Arrow would recurse until the process dies."""
    if depth > DEEPEST:
        raise InputError(f"a value is nested more than {DEEPEST} deep, or contains itself")
    if type(value) in _SCALARS or isinstance(value, (bytes, dt.date, dt.time, dt.timedelta)):
        return None if type(value).__name__ == "NaTType" else value
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else value.astype(f"{value.dtype.kind}8[us]")
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, np.generic):
        return value
    if isinstance(value, uuid.UUID):
        return str(value)
    if type(value).__name__ == "NAType":
        return None
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if is_of_pandas(value, "Period", "Interval"):
        return str(value)
    if isinstance(value, Mapping):
        names = unique_names([_name(name) for name in value])
        return {n: _plain(v, depth + 1) for n, v in zip(names, value.values(), strict=True)} or None
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.tolist() if value.ndim != 1 else value
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_plain(entry, depth + 1) for entry in value]
    return value


def from_frame(
    data: Any,
    key: str | Sequence[str] | None,
    time: str | None,
    logged: int,
    run: str | None,
    plausible_times: Plausible = PLAUSIBLE,
) -> Prepared:
    """A dataframe as one batch; the columns of a multi-part key stay in the record.

    Raises:
        MissingColumnError: the key or time column does not exist.
        InputError: it cannot be read as columns.
    """
    try:
        given = as_given(data)
        given.validate(full=True)
        table = in_plain_types(given)
    except InputError:
        raise
    except BaseException as error:
        let_end(error)
        raise InputError(f"a {type(data).__name__} could not be read as columns: {error}") from error
    parts = [] if key is None else [key] if isinstance(key, str) else list(key)
    check_named(key, time, table.column_names)
    rows, micros = table.num_rows, logged // 1_000
    keys: Any = pa.nulls(rows, pa.string())
    if isinstance(key, str):
        keys = _key_column(table[key])
    elif parts:
        keys = pa.array(map(key_text, zip(*(values_of(table[part]) for part in parts), strict=True)), pa.string())
    logged_at = numbers(np.full(rows, micros), INSTANT)
    times: Any = logged_at
    unreadable = 0
    single = key if isinstance(key, str) else None
    table = table.drop_columns([name for name in dict.fromkeys((single, time)) if name is not None])
    if time is not None:
        column = moments_of(given[time])
        first, last = plausible_times.micros(micros)
        stamps = time_column(column, micros, first - 1)
        wrong = (stamps < first) | (stamps > last)
        if unreadable := int(wrong.sum()):
            said = np.full(rows, None, object)
            said[wrong] = time_texts(column.filter(pa.array(wrong)))
            table = _beside(table, texts(said.tolist()))
        times = numbers(np.where(wrong, micros, stamps), INSTANT)
    meta = {KEY: keys, EVENT_TIME: times, LOG_TIME: logged_at, RUN: repeated(run, rows)}
    return Prepared(_with_meta(table, meta), " × ".join(parts) or None, time, unreadable)


def _beside(table: pa.Table, said: pa.Array) -> pa.Table:
    """The table with its unreadable times as they were given."""
    names = unique_names([*table.column_names, UNREADABLE_TIME])
    return pa.table([*table.columns, said], names=names)


def key_text(key: Any, depth: int = 0) -> str | None:
    """A key as the log keeps it: its text; a whole float as an integer, null and NaN as None.

    A single record and a frame give the same text: a boolean as "true", a moment in ISO form in UTC (a date as its
    midnight), a duration in seconds, bytes as the text they hold, else in hexadecimal digits.

    A multi-part key is a JSON list of its parts' texts; if a part is missing, so is the key.

    >>> key_text(5.0), key_text("AA1"), key_text(float("nan")), key_text(("q1", 3))
    ('5', 'AA1', None, '["q1", "3"]')

    Raises:
        InputError: it is nested too deep, or contains itself.
    """
    if isinstance(key, (tuple, list)):
        check_key(depth)
        parts = [key_text(part, depth + 1) for part in key]
        return None if None in parts or not parts else json.dumps(parts, ensure_ascii=False)
    if type(key) is str:
        return key
    if key is None or type(key).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(key, (bool, np.bool_)):
        return "true" if key else "false"
    if isinstance(key, (bytes, bytearray, memoryview)):
        return _bytes_text(bytes(key))
    if isinstance(key, (dt.timedelta, np.timedelta64)):
        key = key.total_seconds() if isinstance(key, dt.timedelta) else key / np.timedelta64(1, "s")
    if isinstance(key, (dt.date, np.datetime64)):
        micros = micros_of(key)
        return None if micros is None else instant_text(micros)
    if isinstance(key, (float, np.floating)):
        number = float(key)
        if number != number:
            return None
        return str(int(number)) if math.isfinite(number) and number.is_integer() else str(number)
    if isinstance(key, np.ndarray) or key != key:
        return None if not isinstance(key, np.ndarray) else str(key.tolist())
    return str(key)


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _with_meta(table: pa.Table, meta: Mapping[str, Any]) -> pa.Table:
    """The table with fourfold's columns; a user's column with such a name is renamed, not lost."""
    own = [f"column{n}" if n.casefold().startswith("_ff_") else n for n in table.column_names]
    table = table.rename_columns(unique_names(own))
    columns = {name: table[name] for name in table.column_names}
    return pa.table({**columns, **meta})


def _key_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kinds = (pa.types.is_floating, pa.types.is_nested, pa.types.is_binary, pa.types.is_timestamp)
    if any(is_(column.type) for is_ in kinds):
        return pa.chunked_array([pa.array([key_text(v) for v in values_of(column)], pa.string())])
    return column.cast(pa.string())
