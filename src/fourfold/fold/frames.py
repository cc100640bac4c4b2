"""Any dataframe to an Arrow table whose columns have unique names and one of few plain types."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import InputError
from fourfold.fold.arrays import array, values_of
from fourfold.model.given import DEEPEST, is_record, name_text, unique_names

__all__ = [
    "DEEPEST", "Frame", "as_given", "check_objects", "column_of", "decoded", "in_plain_types", "is_frame", "is_record",
    "name_text", "plain", "plain_type", "to_arrow", "unique_names",
]  # fmt: skip
Column: TypeAlias = pa.Array | pa.ChunkedArray
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
    a repeated one gets ``_2``, ``_3``, … Objects of several types in a column of pandas' become texts.

    Raises:
        InputError: the data is none of these, or Arrow cannot hold a column.
    """
    return in_plain_types(as_given(data, mixed=True))


def as_given(data: Frame, *, mixed: bool = False) -> pa.Table:
    """As ``to_arrow``, in the types in which the columns come.

    Args:
        data: the frame.
        mixed: whether objects of several types become texts; else they are an error.

    Raises:
        InputError: see ``to_arrow``.
    """
    try:
        table = _native_to_arrow(data, mixed)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(f"a {type(data).__name__} could not be read as columns: {error}") from error
    return table.rename_columns(unique_names([name_text(name) for name in table.column_names]))


def in_plain_types(table: pa.Table) -> pa.Table:
    """The table with each column as ``plain`` makes it."""
    if not table.num_columns:  # it still has a number of rows
        return table
    return pa.table([plain(column) for column in table.columns], names=table.column_names)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in the type that the log keeps: int64, float64, decimal, string, bool, timestamp, or nested.

    Of extension types, UUIDs and pandas' periods and intervals are their texts, and bytes of booleans are booleans.
    All others are as they are stored: JSON as text, tensors as lists, what only its package knows as bytes, say.
    """
    column = decoded(column)
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name not in _AS_TEXT:
            return plain(column.cast(pa.bool_() if kind.extension_name == "arrow.bool8" else kind.storage_type))
        values = column.to_pandas() if kind.extension_name.startswith("pandas.") else column.to_pylist()
        texts = [None if value is None or value != value else str(value) for value in values]
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
        return pa.chunked_array([pa.array([None if v is None else str(v) for v in values_of(column)], pa.string())])


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose values are written out: not as runs, nor as numbers of those of an extension type."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        return decoded(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_dictionary(kind) and isinstance(kind.value_type, pa.BaseExtensionType):
        return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], kind.value_type)
    return column


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


_AS_TEXT = ("arrow.uuid", "pandas.period", "pandas.interval")
_SCALARS = frozenset({str, int, float, bool, type(None), bytes})
_OBJECT = np.dtype(object)
_CONTAINERS = (list, tuple, set, frozenset, Mapping)
_SORTS = {
    "datetime.datetime": "moments", "numpy.datetime64": "moments", "datetime.date": "dates",
    "datetime.time": "times of day",
    "datetime.timedelta": "durations", "numpy.timedelta64": "durations", "uuid.UUID": "UUIDs",
    "builtins.bytes": "bytes", "builtins.bytearray": "bytes", "builtins.memoryview": "bytes", "builtins.str": "texts",
    "builtins.int": "numbers", "builtins.float": "numbers", "decimal.Decimal": "numbers", "numpy.generic": "numbers",
}  # fmt: skip
_REFUSED = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError)


def check_objects(values: Iterable[Any]) -> None:
    """Reject Python objects that are not safe for Arrow.

    Arrow follows a value that contains itself until the process dies, and crashes on one whose class cannot be read,
    and on NumPy's times before other values of NumPy's. It takes a number after a moment for microseconds since 1970.
    The check goes level by level, and into each container once, so that it costs little beside the conversion.

    Raises:
        InputError: a value is nested too deep, or contains itself.
        pyarrow.ArrowTypeError: values of sorts that Arrow confuses are together.
        Exception: whatever an object raises when its class is read.
    """
    level: Iterable[Any] = values
    mixed = False
    for _ in range(DEEPEST + 1):
        kinds = set(map(type, level))
        mixed = mixed or _are_confused(
            {_sort(value) for value in level} if np.ndarray in kinds else map(_sort_of, kinds)
        )
        if kinds <= _SCALARS:
            if mixed:
                _check_sorts(values)
            return
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


def _check_sorts(values: Iterable[Any], beside: Iterable[str | None] = ()) -> None:
    """Reject values of several sorts where they would be in one array: see ``check_objects``.

    Args:
        values: those of one place.
        beside: the sorts of what else is there.
    """
    kinds = set(map(type, values))
    sorts = {*map(_sort_of, kinds), *beside}
    if _are_confused(sorts):
        raise pa.ArrowTypeError(f"{' and '.join(sorted(filter(None, sorts)))} stand in one column; log them apart")
    if kinds <= _SCALARS:
        return
    inside: list[Any] = []
    arrays: set[str | None] = set()
    fields: dict[Any, list[Any]] = {}
    for value in values:
        kind = type(value)
        if issubclass(kind, Mapping):
            for name, each in value.items():
                fields.setdefault(name, []).append(each)
        elif issubclass(kind, _CONTAINERS) or (kind is np.ndarray and value.dtype == object):
            inside += value
        elif kind is np.ndarray:
            arrays.add(_sort(value))
    for several in fields.values():
        _check_sorts(several)
    if inside or arrays:
        _check_sorts(inside, arrays)


def _are_confused(sorts: Iterable[str | None]) -> bool:
    """Whether Arrow takes values of one of these sorts for those of another one, rather than refuse them."""
    several = {sort for sort in sorts if sort}
    return len(several) > 1 and several != {"numbers", "texts"}


def _sort(value: Any) -> str | None:
    return _sort_of(value.dtype.type if type(value) is np.ndarray else type(value))


def _sort_of(kind: type) -> str | None:
    named = (_SORTS.get(f"{base.__module__}.{base.__qualname__}") for base in kind.__mro__)
    return next((sort for sort in named if sort is not None), None)


def _native_to_arrow(data: Frame, mixed: bool) -> pa.Table:
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
        return _pandas_to_arrow(data, mixed)
    if nw.dependencies.is_polars_dataframe(data) or nw.dependencies.is_polars_lazyframe(data):
        return _polars_to_arrow(data.lazy().collect(), mixed)
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


def column_of(values: Sequence[Any]) -> Column:
    """The values of one field of several records, as Arrow has them; whole numbers beside others as fractions.

    Raises:
        InputError, pyarrow.ArrowException, OverflowError: Arrow cannot hold them together.
    """
    try:
        return _exactly(values)
    except (pa.ArrowInvalid, OverflowError):  # 1 beside 2.5, or integers beyond 64 bits
        if all(v is None or isinstance(v, (int, float, np.number)) for v in values):
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
        raise


def _exactly(values: Sequence[Any]) -> Column:
    check_objects(values)
    return array(values)


def _pandas_to_arrow(frame: Any, mixed: bool) -> pa.Table:
    """A pandas frame column by column: repeated names, which ``pa.Table`` refuses, are taken.

    NaN in a float column stays NaN (it is counted as such, beside null); the index is left out.
    """
    columns = [_series_to_arrow(frame.iloc[:, position], mixed) for position in range(frame.shape[1])]
    return pa.table(columns, names=[name_text(name) for name in frame.columns])


def _polars_to_arrow(frame: Any, mixed: bool) -> pa.Table:
    """A Polars frame; of objects, Polars itself would give where they are in memory."""
    objects = [name for name, kind in frame.schema.items() if kind.is_object()]
    if not objects:
        return frame.to_arrow()
    columns = [
        _objects_to_arrow(series.to_list(), mixed) if series.name in objects else series.to_arrow() for series in frame
    ]
    return pa.table(columns, names=frame.columns)


def _series_to_arrow(series: Any, mixed: bool) -> Column:
    if hasattr(series, "sparse"):
        return _series_to_arrow(series.sparse.to_dense(), mixed)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
        return pa.array(series.to_numpy())
    try:
        if series.dtype != _OBJECT:
            return pa.array(series, from_pandas=True)
        kinds = set(map(type, series.to_numpy())) - {type(None)}
        if len(kinds) <= 1 or kinds == {str, float} or kinds == {int, float}:  # NaN is what is missing
            if not kinds <= _SCALARS:
                check_objects(series.to_numpy())
            return pa.array(series, from_pandas=True)
    except _REFUSED:
        pass
    values = [None if missing else value for value, missing in zip(series, series.isna(), strict=True)]
    return _objects_to_arrow(values, mixed)


def _objects_to_arrow(values: Sequence[Any], mixed: bool) -> Column:
    try:
        return column_of(values) if mixed else _exactly(values)
    except _REFUSED:
        kinds = {type(value) for value in values if value is not None}
        if not mixed and any(map(_is_logged, kinds)):
            raise
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _is_logged(kind: type) -> bool:
    """Whether a record may have a value of this type. If it may of none in a column, these are at least texts."""
    inside = (enum.Enum, np.ndarray, *_CONTAINERS)
    return _sort_of(kind) is not None or issubclass(kind, inside) or kind.__name__ == "Period"
