"""Records out of data files, in the types of their log; a column that a file lacks is null."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.dataset as pds
from pyarrow import fs

from fourfold.errors import StoreError
from fourfold.log.bucket import ROUNDS, located, of_client, tried
from fourfold.log.paths import open_parquet, path_of
from fourfold.log.recent import RECENT


@contextmanager
def readable(path: str, what: str = "") -> Iterator[None]:
    """Errors of reading data files as our own.

    Args:
        path: the file's, or its folder's.
        what: what it is called, before its path.

    Raises:
        BucketError: a bucket could not be asked for it.
        StoreError: what is to be read cannot be.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if (asked := of_client(path_of(path), error)) is not None:
            raise asked from error
        raise StoreError(f"{what}{path} cannot be read: {str(error).splitlines()[0]}") from error


def size(file: str) -> int:
    """How many records a data file holds.

    Raises:
        StoreError: it cannot be read.
    """
    with readable(file):
        if (rows := RECENT.rows(file)) is not None:
            return rows
        with open_parquet(file) as data:
            return int(data.metadata.num_rows)


def read(files: Sequence[str], schema: pa.Schema, columns: Sequence[str], most: int) -> pa.Table | None:
    """Some columns of all records of some files; None where there are more than ``most``."""
    rows = 0
    for file in files:
        rows += size(file)
        if rows > most:
            return None
    wanted = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables([wanted.empty_table(), *(read_file(file, schema, columns) for file in files)])


def read_file(file: str, schema: pa.Schema, columns: Sequence[str], groups: Sequence[int] | None = None) -> pa.Table:
    """Some columns of a data file: of some of its row groups, or of all."""
    wanted = pa.schema([schema.field(name) for name in columns])
    if groups is None and (kept := RECENT.get(file, wanted)) is not None:
        return kept
    with readable(file):
        return tried(lambda: _read_file(file, schema, columns, groups, wanted), ROUNDS if "://" in file else 1)


def _read_file(
    file: str, schema: pa.Schema, columns: Sequence[str], groups: Sequence[int] | None, wanted: pa.Schema
) -> pa.Table:
    with open_parquet(file) as data:
        own = data.schema_arrow
        if all(name in own.names and own.field(name).type == wanted.field(name).type for name in columns):
            groups = range(data.num_row_groups) if groups is None else groups
            return data.read_row_groups(list(groups), list(columns), use_threads=False).select(columns).cast(wanted)
    layout, (key, client) = pds.ParquetFileFormat(), located(file)
    system = client or fs.LocalFileSystem()
    fragment = layout.make_fragment(key, system, row_groups=groups)
    return pds.FileSystemDataset([fragment], schema, layout, system).to_table(list(columns))
