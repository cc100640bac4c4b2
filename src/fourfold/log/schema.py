"""A stream's columns over time: new ones widen it, safe changes of type are cast, others are refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import SchemaError


def conform(table: pa.Table, known: pa.Schema, stream: str) -> pa.Table:
    """The table with its columns in the stream's types; columns that the stream does not have yet stay.

    A cast is made where every value survives it: whole numbers that come as floats (pandas' integers with nulls),
    integers into a float column, and columns that are all null.

    Raises:
        SchemaError: where a column's values do not fit its type; names the column and both types.
    """
    by_fold = {field.name.casefold(): field for field in known}
    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        field = by_fold.get(name.casefold())
        if field is None:
            names.append(name)
            columns.append(column)
            continue
        names.append(field.name)
        columns.append(_cast(column, field, stream))
    return pa.table(columns, names=names)


def undecided(table: pa.Table, known: pa.Schema | None) -> pa.Table:
    """Without columns that are all null and new: they have no type yet, and a missing column reads as null.

    Lists that are all empty are lists of text, which anything that comes later can be cast to.
    """
    known_names = set(known.names) if known is not None else set()
    table = table.select([f.name for f in table.schema if not pa.types.is_null(f.type) or f.name in known_names])
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type) and pa.types.is_null(field.type.value_type):
            table = table.set_column(i, field.name, table[i].cast(pa.list_(pa.string())))
    return table


def _cast(column: pa.ChunkedArray, field: pa.Field, stream: str) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), field.type)])
    if pa.types.is_floating(column.type) and pa.types.is_integer(field.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    numbers = any(is_(column.type) for is_ in number) and any(is_(field.type) for is_ in number)
    nested = pa.types.is_nested(column.type) and pa.types.is_nested(field.type)
    if numbers or nested:
        try:
            return column.cast(field.type, safe=not pa.types.is_floating(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    raise SchemaError(
        f"stream {stream!r}, column {field.name!r}: the batch has type {column.type}, the stream {field.type}. "
        f"Log it under another name, or cast it to {field.type}."
    )
