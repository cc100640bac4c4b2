"""What a message must be to be taken, so that no message harms its stream.

A message from a folder was written by somebody who may write there; one that came over a network may be anything: a few
bytes can claim a billion records.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import KEYS, KINDS, SCHEMA
from fourfold.log.messages import Content, Counted, Records, UnreadableMessageError
from fourfold.model import limits
from fourfold.model.records import EVENT_TIME, LOG_TIME, META, PLACE, SET_ASIDE

_MOMENTS = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # the years 1 to 9999, in microseconds since 1970
_TIMES = (EVENT_TIME, LOG_TIME)  # what each record has
_SENT = [field for field in META if field.name not in PLACE]  # what a message of records has
# the tables of Arrow's format and the numbers of their fields: Message.fbs and Schema.fbs of Apache Arrow
_HEADER_TYPE, _HEADER, _SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 1, 2, 3
_ENDIANNESS = 0  # of a Schema, which leaves it out where the lowest byte comes first
_COMPRESSION = 3  # of a RecordBatch


def check(content: Content, table: pa.Table) -> None:
    """Reject a message that would harm its stream: of records without what each record has, or with impossible times.

    Raises:
        UnreadableMessageError: says what is wrong.
    """
    if isinstance(content, Counted):
        _check_counts(table)
    elif isinstance(content, Records):
        _check_meta(table.schema)
        _check_records(table)


def _check_meta(schema: pa.Schema) -> None:
    for field in _SENT:
        number = schema.get_field_index(field.name)
        if number < 0:
            raise UnreadableMessageError(f"its records have no {field.name}: they are none of fourfold's")
        if (found := schema.field(number).type) != field.type:
            raise UnreadableMessageError(f"the column {field.name} is of the type {found}, and not {field.type}")


def _check_records(table: pa.Table) -> None:
    first, last = _MOMENTS
    for name in _TIMES:
        for part in table.column(table.schema.get_field_index(name)).chunks:
            if part.null_count:
                raise UnreadableMessageError(f"the column {name} has nulls; each record needs a value")
            since = part.to_numpy().view(np.int64).view(np.uint64) - np.int64(first).view(np.uint64)
            if np.count_nonzero(since > last - first):  # what is before the first moment wraps around
                raise UnreadableMessageError(f"the column {name} has times that are outside of the years 1 to 9999")


def check_sent(content: Content, table: pa.Table, nested: Sequence[int]) -> None:
    """Reject a message from a network that is too large, or contradicts itself, or is as ``check`` rejects.

    Args:
        content: what it says.
        table: its data.
        nested: its columns as ``check_columns`` found them.

    Raises:
        UnreadableMessageError: says what is wrong.
    """
    if table.num_rows > limits.RECORDS:
        raise UnreadableMessageError(f"it has {table.num_rows:,} records; send at most {limits.RECORDS:,} at once")
    if (cells := table.num_rows * table.num_columns) > limits.CELLS:
        raise UnreadableMessageError(
            f"it has {table.num_rows:,} records of {table.num_columns:,} columns, so {cells:,} values; send at most "
            f"{limits.CELLS:,} at once"
        )
    try:
        table.validate(full=True)  # that each column is as long as it claims, and its texts are texts
    except pa.ArrowException as error:
        raise UnreadableMessageError(f"its columns contradict themselves: {error}") from error
    for number in nested:
        for part in table.column(number).chunks:
            _check_length(part)
    if isinstance(content, Records):
        _check_records(table)
    else:
        check(content, table)


def check_columns(content: Content, schema: pa.Schema) -> tuple[int, ...]:
    """Reject a message from a network by what it begins with; returns its columns of lists, structs and maps.

    Raises:
        UnreadableMessageError: says what is wrong.
    """
    for text in filter(None, (getattr(content, name, None) for name in ("project", "stream", "key", "time", "name"))):
        _check_name("the name", text)
    if len(schema) > limits.COLUMNS:
        raise UnreadableMessageError(f"it has {len(schema):,} columns; {limits.COLUMNS:,} are possible")
    for field in schema:
        _check_field(field)
    if isinstance(content, Records):
        if content.once:
            raise UnreadableMessageError("it names what counts once, which a collector alone does")
        _check_meta(schema)
        for name in schema.names:
            if name == SET_ASIDE.name or (name not in META.names and name.casefold().startswith("_ff_")):
                raise UnreadableMessageError(f"the column {name!r} has a name that is fourfold's own")
    return tuple(number for number, field in enumerate(schema) if pa.types.is_nested(field.type))


def refuse_compressed(metadata: memoryview | bytes) -> None:
    """Reject a part of an Arrow stream whose own buffers are compressed, or that has a dictionary.

    A few bytes of either can claim to be billions; fourfold writes neither, since requests are compressed as a whole.

    Args:
        metadata: of the part, as Arrow's format has it (flatbuffers).

    Raises:
        UnreadableMessageError: it is, or cannot be read.
    """
    kind, header = _header(metadata)
    if kind == _DICTIONARY:
        raise UnreadableMessageError("its columns are encoded by dictionaries: send them plain")
    if kind == _RECORDS and _field(metadata, header, _COMPRESSION) is not None:
        raise UnreadableMessageError(
            "its columns are compressed one by one: send them plain, and compress the request as a whole "
            "(Content-Encoding: zstd)"
        )


def refuse_foreign(metadata: bytes) -> None:
    """Reject the schema of an Arrow stream whose numbers begin with their highest byte.

    Args:
        metadata: of the stream's first part, as Arrow's format has it (flatbuffers).

    Raises:
        UnreadableMessageError: it is such a schema, or none.
    """
    kind, header = _header(metadata)
    if kind != _SCHEMA:
        raise UnreadableMessageError("it is no stream of Arrow's format")
    at = _field(metadata, header, _ENDIANNESS)
    if at is not None and metadata[at]:
        raise UnreadableMessageError("its numbers begin with their highest byte: send them with the lowest byte first")


def _header(metadata: memoryview | bytes) -> tuple[int, int]:
    """What a part of an Arrow stream is, and where its table begins.

    Raises:
        UnreadableMessageError: it cannot be read.
    """
    try:
        root = struct.unpack_from("<I", metadata, 0)[0]
        kind, at = _field(metadata, root, _HEADER_TYPE), _field(metadata, root, _HEADER)
        if kind is not None and at is not None:
            return metadata[kind], at + struct.unpack_from("<I", metadata, at)[0]
    except (struct.error, IndexError) as error:
        raise UnreadableMessageError("it is no stream of Arrow's format") from error
    raise UnreadableMessageError("it is no stream of Arrow's format")


def _field(data: memoryview | bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffers table is; None where it has none."""
    entries = table - struct.unpack_from("<i", data, table)[0]
    place = 4 + 2 * number
    if entries < 0 or place >= struct.unpack_from("<H", data, entries)[0]:
        return None
    offset = struct.unpack_from("<H", data, entries + place)[0]
    return table + offset if offset else None


def _check_field(field: pa.Field, depth: int = 1) -> None:
    """Reject types that can claim more than they hold: plain ones and lists, structs and maps of them are taken."""
    _check_name("the column", field.name)
    kind = field.type
    if depth > limits.NESTING:
        raise UnreadableMessageError(f"the column {field.name[:200]!r} is nested more than {limits.NESTING} deep")
    nested = _parts(kind)
    if nested is None:
        raise UnreadableMessageError(f"the column {field.name[:200]!r} is of the type {kind}, which is not taken")
    for part in nested:
        _check_field(part, depth + 1)


def _parts(kind: pa.DataType) -> Iterator[pa.Field] | list[pa.Field] | None:
    """The fields of a type, none of a plain one; None where it is not taken."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return [kind.value_field]
    if types.is_map(kind):
        return [kind.key_field, kind.item_field]
    if types.is_struct(kind):
        return list(kind)
    plain = (
        types.is_primitive, types.is_null, types.is_decimal, types.is_string, types.is_large_string, types.is_binary,
        types.is_large_binary, types.is_fixed_size_binary,
    )  # fmt: skip
    return [] if any(is_(kind) for is_ in plain) and not types.is_date(kind) else None  # dates are kept as moments


def _check_length(array: pa.Array) -> None:
    """Reject lists of more values than any message needs: values that are null take no room."""
    if len(array) > limits.VALUES:
        raise UnreadableMessageError(f"a column of lists has {len(array):,} values; {limits.VALUES:,} are possible")
    kind = array.type
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            _check_length(array.field(number))
    elif pa.types.is_map(kind):
        _check_length(array.keys)
        _check_length(array.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _check_length(array.values)


def _check_name(what: str, name: str) -> None:
    if "\0" in name:
        raise UnreadableMessageError(f"{what} {name[:100]!r} has the character 0, which ends a name elsewhere")
    if len(name) > limits.NAME:
        raise UnreadableMessageError(
            f"{what} {name[:100]!r}… has {len(name):,} characters; {limits.NAME:,} are possible"
        )


def _check_counts(table: pa.Table) -> None:
    """Reject counts that cannot be added: of other columns than counts have, or of other lengths than their kind's."""
    try:
        counts = table.select(SCHEMA.names).cast(SCHEMA)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise UnreadableMessageError(f"its counts are none of fourfold's: {error}") from error
    if any(counts[name].null_count for name in KEYS):
        raise UnreadableMessageError("its counts do not say of what they are")
    for text in pc.unique(counts["slice"]).to_pylist():
        _check_slice(text)
    lengths: Mapping[str, Any] = {
        name: pc.fill_null(pc.list_value_length(counts[name]), 0).to_numpy()
        for name in ("tallies", "sums", "bins", "labels", "counts")
    }
    named = np.maximum(lengths["bins"], lengths["labels"])
    both = (lengths["bins"] > 0) & (lengths["labels"] > 0)
    if both.any() or not np.array_equal(named, lengths["counts"]):
        raise UnreadableMessageError("its counts have not one bin or label each")
    for number, kind in enumerate(counts["kind"].to_pylist()):
        if kind not in KINDS:
            raise UnreadableMessageError(f"its counts are of the kind {kind!r}, which is unknown")
        known = KINDS[kind]
        if lengths["labels" if not known.labelled else "bins"][number]:
            raise UnreadableMessageError(f"its counts of the kind {kind!r} are named otherwise than that kind's")
        if lengths["tallies"][number] != len(known.tallies) or lengths["sums"][number] != len(known.sums):
            raise UnreadableMessageError(f"its counts of the kind {kind!r} do not have that kind's tallies and sums")


def _check_slice(text: str) -> None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(value is None or isinstance(value, str) for value in values.values()):
        raise UnreadableMessageError(f"{text[:100]!r} is no slice")
