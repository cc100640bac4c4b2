"""Records cut in parts by the hash of their key, and held as a changed log by the task that receives a part.

Before they travel, a key's records in one table are reduced to the one that a join may choose, with the number of
those it stands for; so a key that has very many is no burden to anyone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from fourfold.engine.duckdb.connection import connected
from fourfold.engine.duckdb.touched import COPIES, Side
from fourfold.engine.protocol import ChangedLog
from fourfold.engine.spark.partial import Passed, in_parts
from fourfold.engine.spark.reading import ADDED, BEFORE, REMOVED, Records
from fourfold.engine.spark.repeated import Words, among
from fourfold.model.records import KEY, LOG_TIME

HELD, _BYTES = 1 << 20, 1 << 27  # records, or their bytes, that wait in a task to be passed on
_SIDE, _PLACE = b"side", b"place"
_CHOSEN = """
    SELECT _ff_at, copies FROM (
        SELECT _ff_at, count(*) OVER (PARTITION BY {group}) AS copies,
            row_number() OVER (PARTITION BY {group} ORDER BY {order}) AS place
        FROM records
    ) WHERE place = 1
"""


@dataclasses.dataclass(frozen=True)
class Sieve:
    """A set of hashes as bits, at most one in sixteen of which is set: few of the hashes that are none of it pass."""

    bits: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, hashes: Words) -> Sieve:
        """That of some hashes, which are not many."""
        size = max(10, (16 * len(hashes)).bit_length())
        flags = np.zeros(1 << size, bool)
        flags[hashes >> np.uint64(64 - size)] = True
        return cls(np.packbits(flags, bitorder="little"))

    def has(self, hashes: Words) -> npt.NDArray[np.bool_]:
        """Which hashes pass."""
        at = hashes >> np.uint64(65 - (8 * len(self.bits)).bit_length())
        found: npt.NDArray[np.bool_] = (self.bits[at >> np.uint64(3)] >> (at & np.uint64(7)).astype(np.uint8)) & 1 != 0
        return found


@dataclasses.dataclass(frozen=True)
class Cut:
    """Passes on the records of one side of a join that fit its conditions (each after an AND), in so many parts.

    ``group`` is what a record is chosen of, ``order`` by what. With ``touched`` keys, earlier records of most others
    stay. ``held`` records wait to be passed on together.
    """

    side: str
    group: str
    order: str
    conditions: str
    touched: Sieve | None
    parts: int
    held: int

    @classmethod
    def of(cls, side: Side, conditions: str, touched: Sieve | None, parts: int) -> Cut:
        """That of a side."""
        group = ", ".join([KEY, *(side.columns[name] for name in side.apart)])
        return cls(side.name, group, side.order, conditions, touched, parts, HELD)

    def __call__(self, records: Records) -> Iterator[Passed]:
        """See ``reading.Work``."""
        waiting: dict[str, list[pa.Table]] = {}
        for place, table in records:
            waiting.setdefault(place, []).append(table)
            if sum(t.num_rows for t in waiting[place]) >= self.held or sum(t.nbytes for t in waiting[place]) >= _BYTES:
                yield from self._passed(place, waiting.pop(place))
        for place, tables in waiting.items():
            yield from self._passed(place, tables)

    def _passed(self, place: str, tables: list[pa.Table]) -> Iterator[Passed]:
        table = pa.concat_tables(tables).combine_chunks()
        with connected() as connection:
            connection.register("records", table.select([KEY, LOG_TIME]))
            meant = f"coalesce({KEY} IS NOT NULL {self.conditions}, false)"
            found = connection.sql(f"SELECT hash({KEY}) AS hash, {meant} AS meant FROM records").to_arrow_table()
        hashes, kept = found["hash"].to_numpy(), found["meant"].to_numpy()
        if place == BEFORE and self.touched is not None:
            kept = kept & self.touched.has(hashes)
        if not kept.all():
            table, hashes = table.filter(pa.array(kept)), hashes[kept]
        table, hashes = self._reduced(table, hashes)
        table = table.replace_schema_metadata({_SIDE: self.side, _PLACE: place})
        yield from passed(table, hashes, self.parts)

    def _reduced(self, table: pa.Table, hashes: Words) -> tuple[pa.Table, Words]:
        """Of each key (and version) the record that may be chosen, with the number of all."""
        copies = np.ones(len(hashes), np.int64)
        ordered = np.sort(hashes)
        several = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(several):
            repeated = among(hashes, several)
            at = np.flatnonzero(repeated)
            with connected() as connection:
                connection.register("records", table.take(pa.array(at)).append_column("_ff_at", pa.array(at)))
                chosen = connection.sql(_CHOSEN.format(group=self.group, order=self.order)).to_arrow_table()
            at = chosen["_ff_at"].to_numpy()
            copies[at] = chosen["copies"].to_numpy()
            repeated[at] = False  # they are kept
            table, hashes, copies = table.filter(pa.array(~repeated)), hashes[~repeated], copies[~repeated]
        return table.append_column(COPIES, pa.array(copies)).combine_chunks(), hashes


def passed(table: pa.Table, hashes: Words, parts: int) -> Iterator[Passed]:
    """A table's rows, in parts by their hashes; of these the upper half, for pieces of a count go by the lower one."""
    part = ((hashes >> np.uint64(32)) % np.uint64(parts)).astype(np.uint16)
    for number, rows in in_parts(table, part):
        yield Passed(number, rows)


def hashes_of(records: pa.Table, text: str) -> Words:
    """The hash of an expression over each of some records."""
    with connected() as connection:
        connection.register("records", records)
        found: Words = connection.sql(f"SELECT hash({text}) AS hash FROM records").to_arrow_table()["hash"].to_numpy()
    return found


@dataclasses.dataclass(frozen=True)
class Part:
    """The records that were passed on of one side, as a changed log."""

    schema: pa.Schema
    tables: Mapping[str, pa.Table]

    @property
    def before(self) -> Sequence[str]:
        """See ``ChangedLog``; a part of it is one file."""
        return self._file(BEFORE)

    @property
    def added(self) -> Sequence[str]:
        """See ``ChangedLog``."""
        return self._file(ADDED)

    @property
    def removed(self) -> Sequence[str]:
        """See ``ChangedLog``."""
        return self._file(REMOVED)

    def rows(self) -> int:
        """See ``ChangedLog``."""
        return sum(table.num_rows for table in self.tables.values())

    def dataset(self, files: Sequence[str]) -> pds.Dataset:
        """See ``ChangedLog``."""
        return pds.dataset([self._table(file) for file in files])

    def read(self, files: Sequence[str], columns: Sequence[str], most: int) -> pa.Table | None:
        """See ``ChangedLog``."""
        tables = [self._table(file).select(list(columns)) for file in files]
        if sum(table.num_rows for table in tables) > most:
            return None
        return pa.concat_tables([self.schema.empty_table().select(list(columns)), *tables])

    def before_with(self, keys: pa.Array, columns: Sequence[str], most: int | None = None) -> pa.Table | None:
        """See ``ChangedLog``."""
        table = self._table(*self.before).select(list(columns))
        found = table.filter(pc.is_in(table[KEY], keys))
        return None if most is not None and found.num_rows > most else found

    def _file(self, place: str) -> Sequence[str]:
        return (f"part://{place}",) if place in self.tables else ()

    def _table(self, file: str) -> pa.Table:
        return self.tables[file.removeprefix("part://")]


def held(tables: Iterable[pa.Table], schemas: Mapping[str, pa.Schema]) -> dict[str, ChangedLog]:
    """What was passed on of one part as a log of each side, of so many columns."""
    found: dict[tuple[str, str], list[pa.Table]] = {}
    for table in tables:
        told = {name: text.decode() for name, text in table.schema.metadata.items()}
        found.setdefault((told[_SIDE], told[_PLACE]), []).append(table.replace_schema_metadata(None))
    return {
        side: Part(schema, {place: pa.concat_tables(parts) for (of, place), parts in found.items() if of == side})
        for side, schema in schemas.items()
    }
