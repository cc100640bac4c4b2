"""Any dataframe to an Arrow table whose columns have unique names and one of few plain types."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import InputError
from fourfold.fold.arrays import array
from fourfold.model.given import DEEPEST, is_record, name_text, unique_names

__all__ = [
    "DEEPEST", "Frame", "check_objects", "column_of", "is_frame", "is_record", "name_text", "plain", "plain_type",
    "to_arrow", "unique_names",
]  # fmt: skip
Frame = Any  # pandas, Polars, PyArrow, DuckDB, or anything with the Arrow C stream interface


def is_frame(value: object) -> bool:
    """Whether ``to_arrow`` takes the value for a dataframe (a dict or list of dicts is data, not a frame)."""
    if isinstance(value, (pa.Table, pa.RecordBatch)) or nw.dependencies.is_pandas_dataframe(value):
        return True
    native = nw.from_native(value, pass_through=True, allow_series=True)
    if isinstance(native, nw.Series):
        return False
    return isinstance(native, (nw.DataFrame, nw.LazyFrame)) or hasattr(value, "__arrow_c_stream__")


def to_arrow(data: Frame) -> pa.Table:
    """A dataframe, a dict of columns or a list of dicts as an Arrow table of plain types.

    No copy is made where the data is Arrow already (Polars, PyArrow, DuckDB) or a plain NumPy column. Names are
    made unique regardless of case, as SQL engines and Delta tables demand: an empty name becomes ``unnamed``,
    a repeated one gets ``_2``, ``_3``, …

    Raises:
        InputError: the data is none of these, or Arrow cannot hold a column.
    """
    try:
        table = _native_to_arrow(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(f"a {type(data).__name__} could not be read as columns: {error}") from error
    names = unique_names([name_text(name) for name in table.column_names])
    columns = [plain(column) for column in table.columns]
    if not columns:  # a table of no columns still has a number of rows
        return table
    return pa.table(columns, names=names)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in the type that the log keeps: int64, float64, decimal, string, bool, timestamp, or nested."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name != "arrow.uuid":
            return plain(column.cast(kind.storage_type))
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    target = plain_type(kind)
    if kind == target:
        return column
    if pa.types.is_null(target):
        return pa.chunked_array([pa.nulls(len(column))])
    if pa.types.is_uint64(kind):
        largest = pc.max(column).as_py()
        if largest is not None and largest > np.iinfo(np.int64).max:
            return column.cast(pa.decimal128(20, 0))
    if pa.types.is_time(kind):
        return column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.int64())
    if pa.types.is_duration(kind):
        seconds = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), seconds)
    try:
        return column.cast(target, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that ``plain`` casts a type to."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_integer(kind):
        return pa.int64()
    if types.is_floating(kind) or types.is_duration(kind):
        return pa.float64()
    if types.is_decimal(kind):
        return kind if types.is_decimal128(kind) and kind.scale >= 0 else pa.float64()
    if types.is_timestamp(kind) or types.is_date(kind):
        return pa.timestamp("us", "UTC")
    if types.is_time(kind):
        return pa.int64()
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_struct(kind):
        if kind.num_fields == 0:  # which no Parquet file can hold
            return pa.null()
        return pa.struct([(field.name, plain_type(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_boolean(kind) or types.is_string(kind) or types.is_binary(kind) or types.is_null(kind):
        return kind
    return pa.string()


_SCALARS = frozenset({str, int, float, bool, type(None), bytes})
_OBJECT = np.dtype(object)
_NUMPY = (np.generic, np.ndarray)
_CONTAINERS = (list, tuple, set, frozenset, Mapping)


def check_objects(values: Iterable[Any]) -> None:
    """Reject Python objects that are not safe for Arrow.

    Arrow follows a value that contains itself until the process dies, and crashes on one whose class cannot be read,
    and on NumPy's times before other values of NumPy's. The check goes level by level, and into each container once,
    so that it costs little beside the conversion.

    Raises:
        InputError: a value is nested too deep, or contains itself; or times are among other values.
        Exception: whatever an object raises when its class is read.
    """
    level: Iterable[Any] = values
    mixed = False
    for _ in range(DEEPEST + 1):
        if set(map(type, level)) <= _SCALARS:
            if mixed:
                _check_times(values)
            return
        mixed = mixed or len({_is_time(value) for value in level if issubclass(type(value), _NUMPY)}) > 1
        containers = {}
        for value in level:
            kind = type(value)
            if issubclass(kind, _CONTAINERS) or (kind is np.ndarray and value.dtype == object):
                containers[id(value)] = value
            elif kind not in _SCALARS:
                value.__class__  # noqa: B018 - Arrow will ask for it
        level = list(
            itertools.chain.from_iterable(
                value.values() if issubclass(type(value), Mapping) else value for value in containers.values()
            )
        )
    raise InputError(f"a value is nested more than {DEEPEST} deep, or contains itself")


def _check_times(values: Iterable[Any]) -> None:
    """Reject NumPy's times beside other values of NumPy's where both would be in one array: see ``check_objects``."""
    found: dict[tuple[Any, ...], bool] = {}
    left: list[tuple[tuple[Any, ...], Any]] = [((), value) for value in values]
    while left:
        place, value = left.pop()
        kind = type(value)
        if issubclass(kind, Mapping):
            left += [((*place, name), each) for name, each in value.items()]
        elif issubclass(kind, _CONTAINERS) or (kind is np.ndarray and value.dtype == object):
            left += [((*place, None), each) for each in value]
        elif issubclass(kind, _NUMPY):
            inside = (*place, None) if kind is np.ndarray else place
            if found.setdefault(inside, _is_time(value)) != _is_time(value):
                raise InputError("NumPy's times (datetime64) stand beside other values of NumPy's; log them apart")


def _is_time(value: Any) -> bool:
    return bool(value.dtype.kind == "M")


def _native_to_arrow(data: Frame) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, Mapping):
        if is_record(data):
            return _records_to_arrow([data])
        return pa.table([_column(values) for values in data.values()], names=[name_text(name) for name in data])
    if isinstance(data, (list, tuple)) and all(isinstance(row, Mapping) for row in data):
        return _records_to_arrow(data)
    if nw.dependencies.is_pandas_dataframe(data):
        return _pandas_to_arrow(data)
    native = nw.from_native(data, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        return native.collect(backend="pyarrow").to_native()
    if isinstance(native, nw.DataFrame):
        return native.to_arrow()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise InputError(
        f"data is a {type(data).__name__}; expected a pandas, Polars, PyArrow or DuckDB frame, a dict, "
        "or a list of dicts"
    )


def _column(values: Any) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if getattr(values, "dtype", _OBJECT) == _OBJECT:
        check_objects(values)
    return pa.array(values)


def _records_to_arrow(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = [column_of([record.get(name) for record in records]) for name in names]
    return pa.table(columns, names=[name_text(name) for name in names])


def column_of(values: Sequence[Any]) -> pa.Array | pa.ChunkedArray:
    """The values of one field of several records, as Arrow has them; whole numbers beside others as fractions.

    Raises:
        InputError, pyarrow.ArrowException, OverflowError: Arrow cannot hold them together.
    """
    check_objects(values)
    try:
        return array(values)
    except (pa.ArrowInvalid, OverflowError):  # 1 beside 2.5, or integers beyond 64 bits
        if all(v is None or isinstance(v, (int, float, np.number)) for v in values):
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
        raise


def _pandas_to_arrow(frame: Any) -> pa.Table:
    """A pandas frame column by column: repeated names and mixed objects, which ``pa.Table`` refuses, are taken.

    NaN in a float column stays NaN (it is counted as such, beside null); the index is left out.
    """
    columns = []
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position]
        plain_float = isinstance(series.dtype, np.dtype) and series.dtype.kind == "f"
        values = series.to_numpy() if plain_float else series
        if series.dtype == _OBJECT:
            check_objects(series.to_numpy())
        try:
            array = pa.array(values, from_pandas=not plain_float)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            texts = [None if value is None or value != value else str(value) for value in series]
            array = pa.array(texts, pa.string())
        columns.append(array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array]))
    return pa.table(columns, names=[name_text(name) for name in frame.columns])
