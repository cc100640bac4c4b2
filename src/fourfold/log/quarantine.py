"""Batches that do not fit their stream: kept aside with the reason, so that nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch kept aside."""

    stream: str
    batch: str
    rows: int
    reason: str
    at: float  # seconds since 1970
    path: str


class Quarantine:
    """A folder of Parquet files, each with a JSON file beside it that says why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, stream: str, batch: str, table: pa.Table, reason: str) -> Quarantined:
        """Put a batch aside. Kept twice, it is there once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{batch}.parquet"
        pq.write_table(table, path)
        entry = Quarantined(stream, batch, table.num_rows, reason, time.time(), str(path))
        hidden = path.with_suffix(".tmp")
        hidden.write_text(json.dumps(dataclasses.asdict(entry), ensure_ascii=False), encoding="utf-8")
        os.replace(hidden, path.with_suffix(".json"))
        return entry

    def entries(self) -> list[Quarantined]:
        """What is kept, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [Quarantined(**json.loads(p.read_text(encoding="utf-8"))) for p in self.folder.glob("*.json")]
        return sorted(found, key=lambda entry: entry.at)
