"""Batches on their way into a stream's log: brought to its columns, which they may widen."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema

from fourfold.errors import SchemaError
from fourfold.log.schema import Conflict, cast, conform, undecided, wider
from fourfold.log.wire import Message
from fourfold.model.records import SET_ASIDE


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Batches as a log can hold them, in one schema, and the columns whose values it cannot."""

    records: pa.Table
    schema: pa.Schema  # of the log once it holds them
    conflicts: Sequence[tuple[Message, Conflict]]


def fit(messages: Sequence[Message], known: pa.Schema | None, stream: str) -> Fitted:
    """Bring batches to the columns that a stream has, and these to what holds them all.

    Args:
        messages: one at least.
        known: the stream's columns; None where it has no log yet.
        stream: its name.

    Raises:
        SchemaError: a batch cannot be held by the log at all.
    """
    batches, conflicts = [], []
    held = known  # the columns that the table has, of which it is known that it can
    if len(messages) > 1:
        known = _by_most(messages, known)
    plain: pa.Schema | None = None  # the columns of a batch that fitted as it was: those like it do, too
    for message in messages:
        batch = message.table
        if plain is not None and batch.schema == plain:
            with _held(stream):
                batch.validate(full=True)
            batches.append(batch)
            continue
        with _held(stream):
            _check_fields("the batch", list(batch.schema))
        if known is not None:
            batch, set_aside = conform(batch, known, stream)
            conflicts += [(message, conflict) for conflict in set_aside]
            batch = _naming(batch, set_aside)
        batch = undecided(batch, known)
        check_writable(batch, stream, plain=held is not None and _is_part(batch.schema, held))
        known = widened(known, batch.schema)
        batches.append(batch)
        fits = batch.schema == message.table.schema and not contradicts(batch.schema, known)
        plain = batch.schema if fits else None
    assert known is not None
    tables = [in_schema(batch, known) for batch in batches]
    return Fitted(pa.concat_tables(tables, promote_options="default").combine_chunks(), known, conflicts)


def _by_most(messages: Sequence[Message], known: pa.Schema | None) -> pa.Schema | None:
    """The columns that a stream has, and the new ones of several batches as the one with the most values has them."""
    fields = {} if known is None else {field.name.casefold(): field for field in known}
    found: dict[str, tuple[int, pa.Field]] = {}
    for message in messages:
        names = [name for name in message.table.column_names if name.casefold() not in fields]
        table = undecided(message.table.select(names), None)
        for field, column in zip(table.schema, table.columns, strict=True):
            values = len(column) - column.null_count
            if values > found.get(field.name.casefold(), (-1, None))[0]:
                found[field.name.casefold()] = values, field
    new = {name: field for name, (_, field) in found.items()}
    return pa.schema([*fields.values(), *new.values()]) if fields or new else known


def check_writable(table: pa.Table, stream: str, *, plain: bool = False) -> None:
    """Reject a batch that no Delta table can hold, before trying it on the stream's table.

    ``plain`` says that the stream has such columns already, so that only the values are looked at.

    Raises:
        SchemaError: names the stream and the reason.
    """
    with _held(stream):
        table.validate(full=True)
        if not table.column_names:
            raise pa.ArrowInvalid("it has no columns")
        if not plain:
            _check_fields("the batch", list(table.schema))
            Schema.from_arrow(table.schema)
            pq.write_table(table.slice(0, 1), pa.BufferOutputStream())


def widened(known: pa.Schema | None, new: pa.Schema) -> pa.Schema:
    """The schema that holds both; the columns of ``new`` are those that ``conform`` gave."""
    if known is None:
        return new
    fields = {field.name: field for field in known}
    for field in new:
        mine = fields.get(field.name)
        kind = field.type if mine is None else wider(mine.type, field.type)
        assert kind is not None
        fields[field.name] = pa.field(field.name, kind)
    return pa.schema(list(fields.values()))


def contradicts(known: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether some column of a table has to be brought to another type."""
    return any(wanted.field(field.name).type != field.type for field in known)


def in_schema(table: pa.Table, schema: pa.Schema, *, missing: bool = False) -> pa.Table:
    """The table's columns in the types of a schema; with ``missing``, those it lacks as nulls."""
    names = schema.names if missing else table.column_names
    columns = [
        cast(table[name], schema.field(name).type)
        if name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, schema.field(name).type)])
        for name in names
    ]
    return pa.table(columns, schema=pa.schema([schema.field(name) for name in names]))


@contextlib.contextmanager
def _held(stream: str) -> Iterator[None]:
    """The reason why the log cannot hold a batch, as our own error with the stream's name."""
    try:
        yield
    except Exception as error:
        raise SchemaError(f"stream {stream!r}: the batch cannot be held by the log: {error}") from error


def _is_part(schema: pa.Schema, known: pa.Schema) -> bool:
    """Whether a schema's columns are all known, with their types."""
    types = {field.name: field.type for field in known}
    return all(types.get(field.name) == field.type for field in schema)


def _check_fields(what: str, fields: Sequence[pa.Field]) -> None:
    """Reject names that differ only by case, on any level."""
    seen: set[str] = set()
    for field in fields:
        if field.name.casefold() in seen:
            raise pa.ArrowInvalid(f"{what} has the field {field.name!r} twice but for its case")
        if "\0" in field.name:  # at which Arrow's interface to the engine would end it
            raise pa.ArrowInvalid(f"{what} has the field {field.name[:100]!r}, with the character 0 in its name")
        seen.add(field.name.casefold())
        inner = field.type
        while pa.types.is_list(inner):
            inner = inner.value_type
        if pa.types.is_struct(inner):
            _check_fields(field.name, [inner.field(i) for i in range(inner.num_fields)])


def _naming(batch: pa.Table, conflicts: Sequence[Conflict]) -> pa.Table:
    """The batch whose records say which of their values were set aside."""
    if not conflicts:
        return batch
    names = pa.nulls(batch.num_rows, SET_ASIDE.type).to_pylist()
    for conflict in conflicts:
        for i in np.flatnonzero(conflict.values.is_valid().to_numpy()):
            names[i] = [*(names[i] or []), conflict.column]
    return batch.append_column(SET_ASIDE, pa.array(names, SET_ASIDE.type))
