"""Records out of quarantine: rows of its Parquet files; what cannot be read is named, or removed whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.fold.arrays import values_of
from fourfold.log.paths import StorePath, in_order, open_parquet, write_parquet, write_whole
from fourfold.log.quarantine import Quarantine
from fourfold.model.records import EVENT_TIME, META

Mask = npt.NDArray[np.bool_]


def with_keys(keys: Collection[str]) -> Callable[[pa.Table], Mask]:
    """The rows that hold one of the keys in any column: what a batch's key column was is not known of each."""

    def rows(table: pa.Table) -> Mask:
        found = np.zeros(table.num_rows, bool)
        for column in table.columns:
            found |= [any(text in keys for text in _texts(value)) for value in values_of(column)]
        return found

    return rows


def before(moment: int) -> Callable[[pa.Table], Mask]:
    """The rows whose event time, in seconds since 1970, is before a moment; of a table without event times none."""

    def rows(table: pa.Table) -> Mask:
        if EVENT_TIME not in table.column_names:
            return np.zeros(table.num_rows, bool)
        older = pc.less(table[EVENT_TIME], pa.scalar(moment * 1_000_000, META.field(EVENT_TIME).type))
        found: Mask = pc.fill_null(older, False).to_numpy()
        return found

    return rows


def erase(
    quarantine: Quarantine, rows: Callable[[pa.Table], Mask], streams: Collection[str] | None
) -> tuple[int, list[StorePath]]:
    """Remove rows from what is in quarantine of some streams (None: of all).

    Returns how many rows were removed, and the files that cannot be read and so may hold more, folders of logs that
    were set aside among them.
    """
    removed, unreadable = 0, []
    for path in in_order(quarantine.folder.iterdir()) if quarantine.folder.is_dir() else ():
        note = path.with_suffix(".json")
        if path.suffix in (".json", ".tmp") or path in quarantine.ledgers:
            continue
        if path.suffix != ".parquet":
            unreadable.append(path)
            continue
        try:
            stream = json.loads(note.read_text(encoding="utf-8"))["stream"] if note.exists() else None
            if streams is not None and stream is not None and stream not in streams:
                continue
            with open_parquet(path, at_once=True) as file:
                table = file.read()
            mask = rows(table)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            unreadable.append(path)
            continue
        if mask.any():
            removed += int(mask.sum())
            _keep(path, note, table.filter(pa.array(~mask)))
    return removed, unreadable


def _keep(path: StorePath, note: StorePath, left: pa.Table) -> None:
    """What is left of a batch; where nothing is, the batch goes with its note."""
    if left.num_rows == 0:
        path.unlink()
        note.unlink(missing_ok=True)
        return
    write_parquet(left, path)
    if note.exists():
        said = json.loads(note.read_text(encoding="utf-8"))
        write_whole(note, json.dumps({**said, "rows": left.num_rows}, ensure_ascii=False).encode())


def _texts(value: Any) -> Iterator[str]:
    """A value and all values within it as text; a whole number that came as a float as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif value is not None:
        yield str(value)
