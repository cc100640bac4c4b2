"""Repetitions of a key in a stream, found by what tasks read themselves: all of its records but the first one logged.

First the tasks that count records pass on the hashes of their keys, in parts, to tasks that find those that came more
than once: mostly there are none, and nothing more is to be done. Where there are, the records of such keys are read
again. All that changed are counted as repetitions; of each table, the first record of each key is passed on, so that
a key with very many is no burden to anyone, and the keys' first ones are subtracted again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.engine.drive import count_repetitions, divided
from fourfold.engine.duckdb import parts_of
from fourfold.engine.duckdb.connection import BATCH_ROWS, batches, connected
from fourfold.engine.duckdb.touched import FIRST, PARTS
from fourfold.engine.protocol import Batch, ChangedLog, Extent, Splits
from fourfold.engine.spark.partial import Passed, in_parts
from fourfold.engine.spark.reading import ADDED, BEFORE, Records, still_open
from fourfold.fold.category import hash_texts
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, ROW

Words = npt.NDArray[np.uint64]

_HELD = 1 << 22  # hashes that wait in a task to be passed on
_ROWS_A_PART = 1 << 20  # firsts that one task puts in order
FEW = 1 << 20  # hashes that are sent to every task; where there are more, the records of all keys are looked at
_FIRSTS = f"SELECT * FROM records QUALIFY row_number() OVER (PARTITION BY {KEY} ORDER BY {FIRST}) = 1"
_DIFFERENT = f"""
    SELECT * FROM (
        SELECT *,
            was AND row_number() OVER (PARTITION BY {KEY}, was ORDER BY {FIRST}) = 1 AS first_before,
            now AND row_number() OVER (PARTITION BY {KEY}, now ORDER BY {FIRST}) = 1 AS first_after
        FROM firsts
    ) WHERE first_before <> first_after
"""


class Hashes:
    """The hashes of a task's keys, of each at most twice: that it has come more than once is all that is asked."""

    def __init__(self, parts: int) -> None:
        self._bounds = np.array([-(-(i << 64) // parts) for i in range(1, parts)], np.uint64)
        self._waiting: dict[bool, list[Words]] = {False: [], True: []}
        self._held = 0

    def add(self, keys: pa.ChunkedArray, *, earlier: bool) -> Iterator[Passed]:
        """Add those of some keys, of records that changed or of earlier ones; what is passed on of them."""
        found = hash_texts(keys.combine_chunks().drop_null())
        self._waiting[earlier].append(found)
        self._held += len(found)
        if self._held > _HELD:
            yield from self.passed()

    def passed(self) -> Iterator[Passed]:
        """What is passed on of all that wait."""
        for earlier, waiting in self._waiting.items():
            if not waiting:
                continue
            ordered = np.sort(np.concatenate(waiting))
            third = np.zeros(len(ordered), bool)
            third[2:] = ordered[2:] == ordered[:-2]
            ordered = ordered[~third]
            for part, some in enumerate(np.split(ordered, np.searchsorted(ordered, self._bounds))):
                if len(some):
                    yield Passed(part, pa.table({"hash": some, "earlier": np.full(len(some), earlier)}))
            waiting.clear()
        self._held = 0


@dataclasses.dataclass(frozen=True)
class Compare:
    """Finds the hashes of changed records that came more than once, or earlier, too.

    Of more than ``most`` none is told, but that they are many: a table without a column.
    """

    most: int

    def __call__(self, tables: list[pa.Table]) -> Iterator[Passed]:
        """The hashes among those of one part."""
        whole = pa.concat_tables(tables).combine_chunks()
        hashes, earlier = whole["hash"].to_numpy(), whole["earlier"].to_numpy()
        changed = np.sort(hashes[~earlier], kind="stable")  # quick, as it consists of runs
        several = changed[1:][changed[1:] == changed[:-1]]
        if earlier.any():
            several = np.concatenate([several, changed[among(changed, np.unique(hashes[earlier]))]])
        several = np.unique(several)
        if len(several):
            yield Passed(0, pa.table({"hash": several} if len(several) <= self.most else {}))


def several_of(passed: list[pa.Table]) -> Words | None:
    """The hashes that ``Compare`` has found, in order; None where they are many."""
    if any(not table.num_columns for table in passed):
        return None
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *(table["hash"].to_numpy() for table in passed)]))


@dataclasses.dataclass(frozen=True)
class CountRepetitions:
    """Counts the changed records of the keys with some hashes (None: of all), and passes on the first of each key."""

    extent: Extent
    splits: Splits
    several: Words | None
    parts: int

    def __call__(self, found: Records) -> Iterator[pa.Table | Passed]:
        """See ``reading.Work``."""
        for place, table in found:
            was, now = PARTS[place]
            table, hashes = self._sought(table.filter(table[KEY].is_valid()).combine_chunks())
            if not table.num_rows:
                continue
            records = table.select([KEY, EVENT_TIME, LOG_TIME, BATCH, ROW])
            parts = parts_of(table, divided(self.splits))
            for name in parts.column_names:
                records = records.append_column(name, parts[name])
            if place != BEFORE:
                yield from _counted(1 if place == ADDED else -1, still_open(records, self.extent), self.splits)
            records = records.append_column("was", pa.array(np.full(len(hashes), was)))
            yield from self._firsts(records.append_column("now", pa.array(np.full(len(hashes), now))), hashes)

    def _sought(self, table: pa.Table) -> tuple[pa.Table, Words]:
        hashes = hash_texts(table[KEY].combine_chunks())
        if self.several is None:
            return table, hashes
        sought = among(hashes, self.several)
        return table.filter(pa.array(sought)).combine_chunks(), hashes[sought]

    def _firsts(self, records: pa.Table, hashes: Words) -> Iterator[Passed]:
        """The first record of each key, in parts by its hash."""
        if len(np.unique(hashes)) < len(hashes):
            with connected() as connection:
                connection.register("records", records)
                records = connection.sql(_FIRSTS).to_arrow_table().combine_chunks()
            hashes = hash_texts(records[KEY].combine_chunks())
        for number, rows in in_parts(records, hashes % np.uint64(self.parts)):
            yield Passed(number, rows)


@dataclasses.dataclass(frozen=True)
class SubtractFirsts:
    """Subtracts the first record of each key, before the change and after it, from the repetitions."""

    extent: Extent
    splits: Splits

    def __call__(self, tables: list[pa.Table]) -> Iterator[pa.Table]:
        """The counts of those of one part."""
        with connected() as connection:
            connection.register("firsts", pa.concat_tables(tables))
            for table in batches(connection, _DIFFERENT):
                for sign, side in ((-1, "first_after"), (1, "first_before")):
                    yield from _counted(sign, still_open(table.filter(table[side]), self.extent), self.splits)


def parts_of_firsts(log: ChangedLog, several: Words | None) -> int:
    """In how many parts first records are put in order."""
    rows, files = log.rows(), len(log.added) + len(log.removed) + len(log.before)
    most = rows if several is None else min(rows, len(several) * (rows // BATCH_ROWS + files))
    return 1 + most // _ROWS_A_PART


def _counted(sign: int, records: pa.Table, splits: Splits) -> Iterator[pa.Table]:
    if records.num_rows:
        times = records.select([EVENT_TIME]).rename_columns(["time"]).combine_chunks()
        yield from count_repetitions(Batch(sign, times, records.combine_chunks()), splits)


def among(hashes: Words, ordered: Words) -> npt.NDArray[np.bool_]:
    """Which hashes are among others, that are in order."""
    if not len(ordered):
        return np.zeros(len(hashes), bool)
    found: npt.NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)] == hashes
    return found
