"""All columns of a table of records: the series that each type of column becomes, and their counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import KINDS, heaviest
from fourfold.counts.binning import Binning, Floats, Ints
from fourfold.errors import InputError
from fourfold.fold.category import fold_category, fold_identifier
from fourfold.fold.counted import Counted, counts_table
from fourfold.fold.frames import Frame, to_arrow
from fourfold.fold.groups import Groups, event_seconds, group_records
from fourfold.fold.numeric import choose_binning, fold_numeric, needs_new_binning
from fourfold.fold.vector import first_width, is_vector, vector_parts
from fourfold.model import DAY, HOUR

BUCKETS = {"hour": HOUR, "1h": HOUR, "day": DAY, "1d": DAY}
MOST_SMALL_INTEGERS = 256
LEAST_OF_IDENTIFIER, DISTINCT_OF_IDENTIFIER = 500, 0.9  # values, and the share of them that are distinct
ALWAYS, NEVER = -(2**62), 2**62  # before and after all event times


@dataclasses.dataclass(frozen=True)
class Plan:
    """The choices fixed when a stream's columns were first seen.

    ``binnings`` holds each numeric series' binnings, each with the bucket from which it is in force, the oldest
    first; ``small`` names the integer columns that are also counted as categories, since they had at most 256 distinct
    values. ``identifiers`` holds for each text column the event time from which it is not counted by value, since
    nearly all are distinct; ``NEVER`` if it is. ``widths`` holds the length of each vector column's first vector, which
    is fixed for one fold only: nothing keeps it.
    """

    binnings: Mapping[str, Sequence[tuple[int, Binning]]] = dataclasses.field(default_factory=dict)
    small: frozenset[str] = frozenset()
    identifiers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    widths: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def binning(self, series: str, second: int) -> Binning:
        """The binning in force at an event time; the unit binning for a series that has none yet."""
        versions = self.binnings.get(series)
        if not versions:
            return Binning(0.0, 1.0)
        return next((b for start, b in reversed(versions) if start <= second), versions[0][1])

    def by_version(self) -> dict[tuple[str, int], Binning]:
        """All binnings, by series and version."""
        return {(name, b.version): b for name, versions in self.binnings.items() for _, b in versions}

    def changes(self) -> list[int]:
        """The event times at which some column begins to be counted otherwise."""
        rebinned = {start for versions in self.binnings.values() for start, _ in versions[1:]}
        return sorted(rebinned | {start for start in self.identifiers.values() if ALWAYS < start < NEVER})

    def adding(self, new: Mapping[str, Binning], start: int = 0) -> Plan:
        """The plan with further binnings, in force from ``start`` on."""
        binnings = {**self.binnings}
        for name, binning in new.items():
            binnings[name] = sorted([*binnings.get(name, ()), (start, binning)], key=lambda entry: entry[1].version)
        return dataclasses.replace(self, binnings=binnings)

    def identifier(self, column: str, second: int = NEVER - 1) -> bool:
        """Whether a column counts as an identifier at an event time; without it: at any."""
        return self.identifiers.get(column, NEVER) <= second


def fold(
    frame: Frame,
    *,
    time: str | None = None,
    every: str = "1d",
    by: Sequence[str] = (),
    plan: Plan | None = None,
) -> pa.Table:
    """The counts of all columns of a dataframe, by time bucket and by each of the slices in ``by``.

    Args:
        frame: any dataframe (see ``to_arrow``).
        time: the event-time column; without it all records are in the bucket at 1970-01-01.
        every: the bucket, "1h" or "1d".
        by: columns by whose values the records are counted too.
        plan: the binnings to use; without it they are chosen from this frame.

    Raises:
        InputError: where a column that is named does not exist, or ``every`` is no bucket.
    """
    table = to_arrow(frame)
    if every not in BUCKETS:
        raise InputError(f"every={every!r} is not a bucket; use one of {sorted(BUCKETS)}")
    for name in [*by, *([time] if time is not None else [])]:
        if name not in table.column_names:
            raise InputError(f"there is no column {name!r}; there are {table.column_names}")
    plan = plan or plan_columns(table, Plan())
    if time is None:
        seconds = np.zeros(table.num_rows, np.int64)
    elif table[time].null_count:
        raise InputError(f"the time column {time!r} holds {table[time].null_count} nulls; fill or drop these records")
    else:
        seconds = event_seconds(table[time])
        table = table.drop_columns([time])
    groups = group_records(seconds // BUCKETS[every] * BUCKETS[every], table.select(list(by)) if by else None)
    return heaviest(fold_columns(table, seconds, groups, plan))


def plan_columns(table: pa.Table, known: Plan, seconds: Ints | None = None) -> Plan:
    """The plan with what ``known`` lacks chosen from this table."""
    new, small, identifiers, widths = {}, set(known.small), {**known.identifiers}, {**known.widths}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_integer(column.type) and name not in known.binnings and _is_small(column):
            small.add(name)
        if pa.types.is_string(column.type) and name not in identifiers and column.null_count < len(column):
            identifiers[name] = ALWAYS if _is_identifier(column) else NEVER
        if is_vector(column.type) and name not in widths and (width := first_width(column.combine_chunks())):
            widths[name] = width
        if name in known.binnings and not (pa.types.is_nested(column.type) or pa.types.is_binary(column.type)):
            continue  # it becomes one series of its own name, which is planned
        for series, values, valid in _numeric_series(name, column.combine_chunks(), seconds, widths.get(name, 0)):
            if series not in known.binnings:
                present = values if valid is None else values[valid]
                if len(present):
                    new[series] = choose_binning(present)
    known = dataclasses.replace(known, small=frozenset(small), identifiers=identifiers, widths=widths)
    return known.adding(new)


def unplanned(schema: pa.Schema, plan: Plan) -> list[str]:
    """The columns for which ``plan_columns`` has found no value yet."""
    return [field.name for field in schema if not _is_planned(field, plan)]


def _is_planned(field: pa.Field, plan: Plan) -> bool:
    kind, types = field.type, pa.types
    if types.is_string(kind):
        return field.name in plan.identifiers
    if is_vector(kind):
        return field.name in plan.widths
    if types.is_list(kind) or types.is_map(kind) or types.is_binary(kind):
        return f"{field.name}.length" in plan.binnings
    return field.name in plan.binnings or types.is_null(kind) or types.is_nested(kind)


def fold_columns(table: pa.Table, seconds: Ints, groups: Sequence[Groups], plan: Plan) -> pa.Table:
    """The counts of each column of a table of plain types, in each of the groups, with all labels.

    ``seconds`` are the records' event times; timestamps are counted as seconds behind these.
    """
    changes = plan.changes()
    stages = np.searchsorted(changes, seconds, side="right") if changes else seconds[:0]
    present = np.unique(stages)
    if len(present) > 1:  # the way to count changes within these records: fold each side of the change by itself
        parts = []
        for stage in present:
            mask = stages == stage
            part = table.filter(pa.array(mask))
            parts.append(fold_columns(part, seconds[mask], [g.where(mask).used() for g in groups], plan))
        return pa.concat_tables(parts)
    moment = int(seconds[0]) if len(seconds) else 0
    return counts_table(
        [
            part
            for name in table.column_names
            for part in _fold_column(name, table[name].combine_chunks(), seconds, moment, groups, plan)
        ]
    )


def _fold_column(
    name: str, array: pa.Array, seconds: Ints, moment: int, groups: Sequence[Groups], plan: Plan
) -> Iterator[Counted]:
    """The counts of one column in each of the groups, as it is counted at one moment."""
    texts = _texts(name, array, plan)
    numeric = list(_numeric_series(name, array, seconds, plan.widths.get(name, 0)))
    fold_texts = fold_identifier if plan.identifier(name, moment) else fold_category
    for grouping in groups:
        if texts is not None:
            yield fold_texts(texts, grouping, name)
        for series, values, valid in numeric:
            yield fold_numeric(values, valid, grouping, series, plan.binning(series, moment))
        if texts is None and all(series != name for series, _, _ in numeric):
            yield _fold_opaque(array, grouping, name)


def better_binnings(table: pa.Table, seconds: Ints, plan: Plan) -> dict[str, Binning]:
    """New binnings for the numeric series in which these records use far too few or too many bins."""
    moment = int(seconds[-1]) if len(seconds) else 0
    found = {}
    for name in table.column_names:
        array = table[name].combine_chunks()
        for series, values, valid in _numeric_series(name, array, seconds, plan.widths.get(name, 0)):
            present = values if valid is None else values[valid]
            if series in plan.binnings:
                better = needs_new_binning(present, plan.binning(series, moment))
                if better is not None:
                    found[series] = better
    return found


def _texts(name: str, array: pa.Array, plan: Plan) -> pa.Array | None:
    """The column's values as text where it is counted as categories."""
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_boolean(kind) or pa.types.is_null(kind) or (pa.types.is_integer(kind) and name in plan.small):
        return array.cast(pa.string())
    return None


_Series = tuple[str, Floats, npt.NDArray[np.bool_] | None]


def _numeric_series(name: str, array: pa.Array, seconds: Ints | None, width: int) -> Iterator[_Series]:
    """The numeric series that a column becomes: values, and which records are not null (None: all).

    ``width`` is how long vectors have to be.
    """
    kind, types = array.type, pa.types
    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        yield name, _floats(array), _valid(array)
    elif types.is_timestamp(kind):
        micros = _floats(array.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
        event = seconds if seconds is not None else np.zeros(len(micros), np.int64)
        yield name, event - micros / 1e6, _valid(array)
    elif is_vector(kind):
        for part, values, valid in vector_parts(array, width):
            yield f"{name}.{part}", values, valid
    elif types.is_list(kind) or types.is_map(kind):
        lengths = pc.list_value_length(array) if types.is_list(kind) else pa.array(np.diff(array.offsets.to_numpy()))
        yield f"{name}.length", _floats(lengths.fill_null(0)), _valid(array)
    elif types.is_binary(kind):
        yield f"{name}.length", _floats(pc.binary_length(array)), _valid(array)


def _floats(array: pa.Array) -> Floats:
    """The values as floats; values at nulls do not matter."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if array.type != pa.float64():
        array = array.cast(pa.float64(), safe=False)
    values: Floats = (array.fill_null(0.0) if array.null_count else array).to_numpy(zero_copy_only=False)
    return values


def _valid(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    return array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None


def _is_small(column: pa.ChunkedArray) -> bool:
    return len(column) > column.null_count and len(pc.unique(column)) <= MOST_SMALL_INTEGERS


def nearly_all_distinct(values: int, distinct: float) -> bool:
    """Whether so many values, so many of them distinct, make a column an identifier."""
    return values >= LEAST_OF_IDENTIFIER and distinct > DISTINCT_OF_IDENTIFIER * values


def _is_identifier(column: pa.ChunkedArray) -> bool:
    values = len(column) - column.null_count
    if values < LEAST_OF_IDENTIFIER:
        return False
    return nearly_all_distinct(values, pc.count_distinct(column).as_py())


def _fold_opaque(array: pa.Array, groups: Groups, name: str) -> Counted:
    """A nested or vector column itself: how many records, and how many are null."""
    size = groups.size
    nulls = np.bincount(groups.ids[array.is_null().to_numpy(zero_copy_only=False)], minlength=size)
    assert KINDS["opaque"].tallies == ("rows", "null")
    return Counted(name, "opaque", groups, np.column_stack([groups.sizes, nulls]))
