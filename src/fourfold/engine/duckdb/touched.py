"""The records of one side of a join in a change: added and removed ones, and the earlier records of their keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.engine.duckdb import sql
from fourfold.engine.duckdb.files import read, register
from fourfold.engine.protocol import ChangedLog
from fourfold.model.records import BATCH, EVENT_TIME, KEY, LOG_TIME, ROW

FIRST = f"{LOG_TIME}, {BATCH}, {ROW}"
LATEST = f"{LOG_TIME} DESC, {BATCH} DESC, {ROW} DESC"
COPIES = "_ff_copies"  # a log's column, if it has it: of how many records of a key (and version) this is the chosen one
# The parts of a changed log, and whether their records were there before the change and are there after it.
PARTS = {"before": (True, True), "added": (False, True), "removed": (True, False)}

_RECORDS = f"""
    SELECT {KEY} AS key, {EVENT_TIME} AS time {{columns}}, {{in_before}} AS in_before, {{in_after}} AS in_after
    FROM {{relation}} WHERE {KEY} IS NOT NULL {{conditions}}
"""


@dataclasses.dataclass(frozen=True)
class Side:
    """One stream of a task: its name in the SQL, its log, and what the join needs of it.

    ``columns`` are expressions over the log's columns ``names``, by the names that the join has for them. In ``order``,
    the first record of a key is chosen; of predictions that of each version.
    """

    name: str
    log: ChangedLog
    columns: Mapping[str, str]
    names: Sequence[str]

    @property
    def order(self) -> str:
        """What a key's records are put in order by."""
        return FIRST if self.name == "prediction" else LATEST

    @property
    def apart(self) -> list[str]:
        """What a key's records are told apart by, if by anything."""
        return ["version"] if "version" in self.columns else []

    def records(self, relation: str, in_before: bool, in_after: bool, conditions: str, *, ordered: bool) -> str:
        """The query of its records in a relation, with what they are ordered by only where that is wanted."""
        columns = f", {FIRST}" * ordered + f", {sql.listed(self.columns)}"
        return _RECORDS.format(
            columns=columns, relation=relation, in_before=in_before, in_after=in_after, conditions=conditions
        )


class Touched:
    """The records of one side that are of touched keys; small ones are in memory, of large ones DuckDB makes tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, side: Side) -> None:
        self._connection, self.side = connection, side
        self._tables = {part: read(side.log, files, side.names) for part, files in changed_files(side.log)}
        self.rest = False  # whether of the records before, those of touched keys have to be looked for
        self.stood = bool(side.log.removed)  # whether any of them was there before

    @property
    def small(self) -> bool:
        """Whether all of them are in memory."""
        return all(table is not None for table in self._tables.values())

    def key_chunks(self) -> list[pa.Array]:
        """The keys of those in memory."""
        return [chunk for table in self._tables.values() if table is not None for chunk in table[KEY].chunks]

    def look_up(self, keys: pa.Array | None) -> None:
        """Read what was before of some keys; None: of more than can be looked up."""
        log = self.side.log
        if not log.before:
            return
        records = log.before_with(keys, self.side.names) if keys is not None else None
        self.stood = self.stood or records is None or records.num_rows > 0
        self.rest = records is None
        self._tables["before"] = records

    def register(self) -> None:
        """Make a relation of each part."""
        for part, table in self._tables.items():
            name = f"{self.side.name}_{part}"
            if table is None:
                register(self._connection, name, self.side.log, getattr(self.side.log, part))
            else:
                self._connection.register(name, table)

    def key_queries(self) -> list[str]:
        """The queries of the keys of what came or went."""
        return [f"SELECT {KEY} FROM {self.side.name}_{part}" for part in self._tables if part != "before"]

    def query(self, conditions: str, *, every: bool = False, ordered: bool = False) -> str:
        """The query of its records, of those before only what was touched; with ``every`` of all."""
        touched = f"{conditions} AND {KEY} IN (SELECT {KEY} FROM touched)"
        queries = []
        for part in self._tables:
            in_before, in_after = PARTS[part]
            meant = touched if part == "before" and self.rest and not every else conditions
            queries.append(self.side.records(f"{self.side.name}_{part}", in_before, in_after, meant, ordered=ordered))
        return " UNION ALL ".join(queries)

    def has_repeated(self, small: bool) -> bool:
        """Whether some key has several records; if so, there is a table of these keys."""
        repeated = f"{self.side.name}_repeated"
        if small:
            counted = pc.value_counts(pa.chunked_array(self.key_chunks(), pa.string()).drop_null())
            keys = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
            if len(keys):
                self._connection.register(repeated, pa.table({"key": keys}))
            return len(keys) > 0
        # numbers in order show repetitions in a third of the time that it takes to group texts
        hashes = self._connection.sql(f"SELECT hash(key) AS hash FROM {self.side.name}").to_arrow_table()
        ordered = np.sort(hashes["hash"].to_numpy())
        if not (ordered[1:] == ordered[:-1]).any():
            return False
        self._connection.execute(
            f"CREATE TEMP TABLE {repeated} AS SELECT key FROM {self.side.name} GROUP BY key HAVING count(*) > 1"
        )
        return self._connection.execute(f"SELECT count(*) FROM {repeated}").fetchall() != [(0,)]


def changed_files(log: ChangedLog) -> list[tuple[str, Sequence[str]]]:
    """The parts of a log that came or went, with their files; of a log that is empty, too, there is one."""
    parts = [(part, files) for part, files in (("added", log.added), ("removed", log.removed)) if files]
    return parts or [("added", ())]
