"""Plain Python values as Arrow arrays, made from buffers.

``pyarrow.array`` loads pandas where it is installed, whatever it is given: a third of a second and 35 MB, which a
service that only logs would pay for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_NONE = type(None)
_NUMBERS: dict[type, tuple[pa.DataType, Any]] = {
    int: (pa.int64(), np.int64), float: (pa.float64(), np.float64), bool: (pa.bool_(), np.bool_),
}  # fmt: skip


def array(values: Sequence[Any]) -> pa.Array | pa.ChunkedArray:
    """Values as ``pyarrow.array`` has them.

    Raises:
        pyarrow.ArrowException, OverflowError: Arrow cannot hold them together.
    """
    kinds = set(map(type, values))
    kinds.discard(_NONE)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        try:
            if kind is str:
                return texts(values)
            if kind in _NUMBERS:
                return _numbers(values, *_NUMBERS[kind])
        except (ValueError, OverflowError):  # what no buffer can hold: Arrow's own error says it
            pass
    return pa.array(values) if kinds else pa.nulls(len(values))


def numbers(values: npt.NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Numbers of 64 bits, without nulls, as integers or a type of their width."""
    return pa.Array.from_buffers(kind or pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def repeated(text: str | None, number: int) -> pa.Array:
    """One text, so many times."""
    return pa.nulls(number, pa.string()) if text is None else texts([text]).take(numbers(np.zeros(number, np.int64)))


def _numbers(values: Sequence[Any], kind: pa.DataType, dtype: Any) -> pa.Array:
    present, validity = _validity(values)
    held = np.zeros(len(values), dtype)
    held[present] = [value for value in values if value is not None] if validity else values
    data = np.packbits(held, bitorder="little") if dtype is np.bool_ else held
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(data)])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts, any of which may be missing.

    Raises:
        UnicodeEncodeError: UTF-8 cannot hold one.
        OverflowError: they are more than an array can hold.
    """
    _, validity = _validity(values)
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError("more text than an array of Arrow's can hold")
    buffers = [validity, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """The values as Python has them; a moment that it has none for, beyond the years 1 to 9999, as its text."""
    try:
        found: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        found = [_value_of(scalar) for scalar in column]
    return found


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table, each with its values as ``values_of`` has them."""
    values = zip(*map(values_of, table.columns), strict=True)
    return [dict(zip(table.column_names, row, strict=True)) for row in values]


def _value_of(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        kind = scalar.type
        if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
            unit: Any = "D" if pa.types.is_date32(kind) else kind.unit
            return f"{np.datetime64(scalar.value, unit)}".removesuffix(".000000") + "Z"
        if pa.types.is_struct(kind):
            return {name: _value_of(value) for name, value in scalar.items()}
        if pa.types.is_map(kind):
            return [tuple(_value_of(pair).values()) for pair in scalar.values]
        if pa.types.is_nested(kind):
            return [_value_of(value) for value in scalar.values]
        raise


def instant_text(micros: int) -> str:
    """A moment in ISO form, in UTC; ``micros`` is in microseconds since 1970.

    >>> instant_text(1_710_037_800_000_000)
    '2024-03-10T02:30:00Z'
    """
    return f"{np.datetime64(micros, 'us')}".removesuffix(".000000") + "Z"


def _validity(values: Sequence[Any]) -> tuple[Any, pa.Buffer | None]:
    """Which values are there, and the bits that say so; no bits where all are."""
    if None not in values:
        return slice(None), None
    present = np.array([value is not None for value in values])
    return present, pa.py_buffer(np.packbits(present, bitorder="little"))
