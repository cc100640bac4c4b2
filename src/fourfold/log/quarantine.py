"""Batches that do not fit their stream: kept aside with the reason, so that nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fourfold.messages import Dropped


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
    """A folder of Parquet files, each with a JSON file beside it that says why.

    In ``dropped/`` there is a JSON file for each process that has dropped records, with their number.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped_folder = folder / "dropped"

    def keep(self, stream: str, batch: str, table: pa.Table, reason: str) -> Quarantined:
        """Put a batch aside. Kept twice, it is there once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{batch}.parquet"
        pq.write_table(table, path)
        entry = Quarantined(stream, batch, table.num_rows, reason, time.time(), str(path))
        _write(path.with_suffix(".json"), entry)
        return entry

    def keep_file(self, file: Path, reason: str) -> None:
        """Put a file aside that cannot be read: it is moved here, whole."""
        self.keep("inbox", file.stem, pa.table({}), reason)
        os.replace(file, self.folder / file.name)

    def note_dropped(self, writer: str, total: Dropped) -> None:
        """Note how many records a process has dropped; in whatever order its messages come, the highest stays."""
        self.dropped_folder.mkdir(parents=True, exist_ok=True)
        path = self.dropped_folder / f"{writer}.json"
        known = _dropped(path)
        if known is None or known.records < total.records:
            _write(path, total)

    def dropped(self) -> list[Dropped]:
        """How many records each process has dropped, the newest first."""
        found = filter(None, map(_dropped, self.dropped_folder.glob("*.json")))
        return sorted(found, key=lambda total: -total.at)

    def entries(self) -> list[Quarantined]:
        """What is kept, the oldest first; an entry that cannot be read says so."""
        if not self.folder.is_dir():
            return []
        return sorted(map(_entry, self.folder.glob("*.json")), key=lambda entry: entry.at)


def _write(path: Path, entry: Quarantined | Dropped) -> None:
    hidden = path.with_suffix(".tmp")
    hidden.write_text(json.dumps(dataclasses.asdict(entry), ensure_ascii=False), encoding="utf-8")
    os.replace(hidden, path)


def _dropped(path: Path) -> Dropped | None:
    try:
        return Dropped(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):  # gone, or no such note
        return None


def _entry(path: Path) -> Quarantined:
    try:
        entry = Quarantined(**json.loads(path.read_text(encoding="utf-8")))
        return dataclasses.replace(entry, at=float(entry.at), rows=int(entry.rows))
    except (OSError, TypeError, ValueError) as error:
        reason = f"its note {path.name} cannot be read: {error}"
        return Quarantined("quarantine", path.stem, 0, reason, 0.0, str(path))
