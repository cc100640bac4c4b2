"""A stream's columns over time: new ones and wider types widen it; values that contradict a column are set aside."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.compute as pc

types = pa.types
_UNKNOWN = pa.date32()  # the type in lists that are all empty so far: no value has it, as dates are kept as moments


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A column of a batch whose values do not go with those that the stream has: set aside, null in the log."""

    column: str
    values: pa.ChunkedArray
    reason: str


def conform(table: pa.Table, known: pa.Schema, stream: str) -> tuple[pa.Table, list[Conflict]]:
    """The table with its columns in types that the stream's can be brought to, and what cannot be.

    A column comes in the stream's own type where every value survives that, as whole numbers that come as floats do
    (pandas' integers with nulls), or as texts. Else both are brought to a wider type: integers and decimals to floats,
    booleans to integers, structs to one with the fields of both. Columns that the stream does not have yet stay.
    """
    by_fold = {field.name.casefold(): field for field in known}
    names, columns, conflicts = [], [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        field = by_fold.get(name.casefold())
        if field is None:
            names.append(name)
            columns.append(column)
            continue
        names.append(field.name)
        fitted = _fitted(column, field.type)
        if fitted is None:
            expected = str(field.type).replace(str(_UNKNOWN), "of any type")
            reason = (
                f"stream {stream!r}, column {field.name!r}: the batch has type {column.type}, the stream {expected}. "
                f"These values are set aside. Log them under another name, or cast them to {expected}."
            )
            conflicts.append(Conflict(field.name, column, reason))
            fitted = _nulls(column, field.type)
        columns.append(fitted)
    return pa.table(columns, names=names), conflicts


def wider(known: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """The type that the values of both can be brought to, or None.

    >>> wider(pa.int64(), pa.float64()), wider(pa.bool_(), pa.int64()), wider(pa.int64(), pa.string())
    (DataType(double), DataType(int64), None)
    """
    if known == new or types.is_null(new):
        return known
    if types.is_null(known):
        return new
    if _is_number(known) and _is_number(new):
        whole = (types.is_integer, types.is_boolean)
        return pa.int64() if all(any(is_(t) for is_ in whole) for t in (known, new)) else pa.float64()
    if types.is_list(known) and types.is_list(new):
        entries = [pa.null() if kind.value_type == _UNKNOWN else kind.value_type for kind in (known, new)]
        inner = wider(*entries)
        return None if inner is None else pa.list_(_UNKNOWN if types.is_null(inner) else inner)
    if types.is_struct(known) and types.is_struct(new):
        fields = {field.name.casefold(): field for field in known}
        for field in new:
            mine = fields.get(field.name.casefold(), field)
            inner = wider(mine.type, field.type)
            if inner is None:
                return None
            fields[field.name.casefold()] = pa.field(mine.name, inner)
        return pa.struct(list(fields.values()))
    return None


def cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column in a wider type (see ``wider``); Arrow alone would drop the fields of a struct by their place."""
    if column.type == kind:
        return column
    return pa.chunked_array([_cast(chunk, kind) for chunk in column.chunks], kind)


def undecided(table: pa.Table, known: pa.Schema | None) -> pa.Table:
    """Without what is new and all null, also within structs: it has no type yet, and what is missing reads as null.

    What is in lists that are all empty has none either; such a list is one of ``_UNKNOWN`` until a value comes.
    """
    known_types = {} if known is None else {field.name: field.type for field in known}
    names, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        decided = _decided(field.type)
        if types.is_null(decided) and field.name not in known_types:
            continue
        names.append(field.name)
        columns.append(column if decided == field.type else cast(column, decided))
    return pa.table(columns, names=names)


def _decided(kind: pa.DataType) -> pa.DataType:
    """A type without nulls' own type inside it, which no Parquet file can hold."""
    if types.is_list(kind):
        inner = _decided(kind.value_type)
        return pa.list_(_UNKNOWN if types.is_null(inner) else inner)
    if types.is_struct(kind):
        fields = [(field.name, _decided(field.type)) for field in kind]
        decided = [(name, inner) for name, inner in fields if not types.is_null(inner)]
        return pa.struct(decided) if decided else pa.null()
    return kind


def _fitted(column: pa.ChunkedArray, known: pa.DataType) -> pa.ChunkedArray | None:
    """The column in the known type or in one wider than both; None where there is none."""
    if column.type == known:
        return column
    if types.is_null(column.type) or column.null_count == len(column):
        return _nulls(column, known)
    if types.is_floating(column.type) and types.is_integer(known):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    kind = wider(known, column.type)
    if kind is None and types.is_string(column.type) and _is_number(known):
        return _numbers_of(column, known)
    if kind is None:
        return pa.chunked_array([pa.nulls(len(column), known)]) if _is_empty_list(column) else None
    if _is_number(known) and not types.is_floating(known):
        try:  # every value survives
            found = column.cast(known)
            back = found.cast(pa.int64() if types.is_boolean(known) else column.type)  # to a decimal, Arrow rounds
            if pc.all(pc.equal(back, column)).as_py() is not False:
                return found
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    try:
        return cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _numbers_of(column: pa.ChunkedArray, known: pa.DataType) -> pa.ChunkedArray | None:
    """Texts as the numbers that they are; None where one is none, or would lose something, as 007 and long ones do."""
    try:
        found = column.cast(known)
        if types.is_floating(known):
            loses = pc.match_substring_regex(column, "^[^0-9.]*0[0-9]|[0-9]{16}")
            same = pc.and_(pc.is_finite(found), pc.invert(loses))
        else:
            same = pc.equal(found.cast(column.type), column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return None if pc.all(same).as_py() is False else found


def _is_empty_list(column: pa.ChunkedArray) -> bool:
    """Whether all lists of a column are empty, so that their values contradict nothing."""
    return types.is_list(column.type) and (pc.max(pc.list_value_length(column)).as_py() or 0) == 0


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if array.null_count == len(array) or kind == _UNKNOWN:
        return pa.nulls(len(array), kind)
    if types.is_struct(kind) and types.is_struct(array.type):
        places = {field.name.casefold(): i for i, field in enumerate(array.type)}
        children = [
            _cast(array.field(places[field.name.casefold()]), field.type)
            if field.name.casefold() in places
            else pa.nulls(len(array), field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    if types.is_list(kind) and types.is_list(array.type):
        offsets = pc.list_value_length(array).fill_null(0)
        ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(offsets).cast(pa.int32())])
        return pa.ListArray.from_arrays(ends, _cast(array.flatten(), kind.value_type), type=kind, mask=array.is_null())
    return array.cast(kind, safe=not types.is_floating(kind))


def _nulls(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(column), kind)])


def _is_number(kind: pa.DataType) -> bool:
    return any(is_(kind) for is_ in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean))
